"""The supervisor, in this process or in the background.

In the background it tells its starter what it does through a pipe, one JSON object a line:
`{"phase": …}`, then `{"ready": {addresses}}` or `{"error": …}`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Final

from spendstream.deploy import failures
from spendstream.deploy.console import CommandError
from spendstream.deploy.home import Addresses, Home
from spendstream.deploy.processes import last_words
from spendstream.deploy.settings import Settings

SUPERVISOR: Final = "supervisor"
STOP_S: Final = 150.0
"""More than the stack may take to drain and to end every process."""


def supervise(
    settings: Settings, phase: Callable[[str], None], on_ready: Callable[[Addresses], None]
) -> None:
    """Run the stack in this process until SIGTERM or Ctrl-C.

    Raises:
        HomeLocked, and what `EmbeddedStack.run` raises.
    """
    from spendstream.deploy.stack import EmbeddedStack, signals

    home = Home(settings.home)
    home.create()
    lock = home.lock()
    try:
        _log_to(home)
        stopping, hurrying = threading.Event(), threading.Event()
        with signals(stopping, hurrying):
            EmbeddedStack(settings, stopping, hurrying, phase).run(on_ready)
    finally:
        lock.release()


def supervise_for(status_fd: int, settings: Settings) -> None:
    """`supervise` for a starter that reads the other end of `status_fd`."""
    status = os.fdopen(status_fd, "w", buffering=1)

    def tell(**message: object) -> None:
        with contextlib.suppress(OSError):  # the starter has gone; the stack stays
            status.write(json.dumps(message) + "\n")

    def ready(addresses: Addresses) -> None:
        tell(ready=asdict(addresses))
        status.close()

    def phase(text: str) -> None:
        if not status.closed:
            tell(phase=text)
        logging.getLogger("spendstream.supervisor").info("%s", text)

    try:
        supervise(settings, phase, ready)
    except Exception as error:
        code = failures.exit_code(error)
        if status.closed:
            logging.getLogger("spendstream.supervisor").error("%s", error)
        else:
            tell(error=str(error), code=code or failures.UNEXPECTED)
        raise


def start(settings: Settings, phase: Callable[[str], None]) -> Addresses:
    """Start the supervisor in the background; returns when all is ready. Raises CommandError."""
    home = Home(settings.home)
    home.create()
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "spendstream.deploy.cli", "up", "--status-fd", str(writing)]
    with home.log(SUPERVISOR).open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[writing],
            start_new_session=True,
            env={**os.environ, **_as_environment(settings)},
        )
    os.close(writing)
    with os.fdopen(reading) as status:
        try:
            for line in status:
                message = json.loads(line)
                if "phase" in message:
                    phase(message["phase"])
                elif "ready" in message:
                    return Addresses(**message["ready"])
                elif "error" in message:
                    process.wait()
                    raise CommandError(message["error"], message["code"])
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise
    process.wait()
    raise CommandError(
        f"the supervisor died at start. Its last words:\n{last_words(home.log(SUPERVISOR))}",
        failures.UNAVAILABLE,
    )


def stop(home: Home, timeout: float = STOP_S) -> bool:
    """Stop the supervisor of a home and wait. False: none was running. Raises CommandError."""
    pid = home.holder()
    if pid is None:
        return False
    if pid:
        os.kill(pid, 15)
    deadline = time.monotonic() + timeout
    while home.holder() is not None:
        if time.monotonic() > deadline:
            raise CommandError(
                f"process {pid} did not stop in {timeout:g} s; {home.log(SUPERVISOR)} says why",
                failures.UNAVAILABLE,
            )
        time.sleep(0.05)
    return True


def _as_environment(settings: Settings) -> dict[str, str]:
    """What the command line changed must reach the other process too."""
    return {
        "SPENDSTREAM_HOME": str(settings.home.resolve()),
        "SPENDSTREAM_KAFKA_PORT": str(settings.kafka_port),
        "SPENDSTREAM_CLICKHOUSE_PORT": str(settings.clickhouse_port),
    }


def _log_to(home: Home) -> None:
    handler = logging.FileHandler(home.log(SUPERVISOR))
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("spendstream.supervisor")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    logger.propagate = False

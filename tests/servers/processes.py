"""A server that is a process of ours: started, killed and waited for by its id."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.servers.base import ServerUnavailableError, last_words


class ServerProcess:
    """One child process at a time, its output in `log`."""

    def __init__(self, name: str, log: Path) -> None:
        self._name = name
        self._log = log
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._child is None:
            raise RuntimeError(f"{self._name} is not running")
        return self._child.pid

    def start(self, command: Sequence[str], answers: Callable[[], bool], timeout: float) -> None:
        """Start and wait until it answers. Raises ServerUnavailableError with its last words."""
        with self._log.open("ab") as output:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # out of reach of the terminal's Ctrl-C: whoever started it ends it
                start_new_session=True,
            )
        deadline = time.monotonic() + timeout
        while not answers():
            died = self._child.poll() is not None
            if died or time.monotonic() > deadline:
                self.end(signal.SIGKILL)
                why = "died at start" if died else f"did not answer within {timeout:g} s"
                raise ServerUnavailableError(f"{self._name} {why}:\n{last_words(self._log)}")
            time.sleep(0.05)

    def end(self, sign: signal.Signals, timeout: float = 30.0) -> None:
        """Send `sign` and wait; kill -9 what does not go. Nothing where nothing runs."""
        child, self._child = self._child, None
        if child is None:
            return
        child.send_signal(sign)
        try:
            child.wait(timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def kill_by_id(pid: int) -> None:
    """Kill a process that another process of this test run started."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return

"""The stream worker and the sink as child processes, to be killed at will."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from spendstream.sinks.late.window import RESEND_SECONDS
from tests.support.waiting import until

_STREAM = """
import sys
from pathlib import Path
from spendstream.streams import runner
from spendstream.streams.worker import WorkerConfig, run
runner._HALTED_RETRY_S = 3.0  # half a minute for people; here it would be most of a test
ready, bootstrap, group, session = sys.argv[1:]
run(WorkerConfig(bootstrap, group, Path(ready), session_timeout_s=float(session)))
"""
_SINK = """
import sys
from pathlib import Path
from spendstream.sinks.clickhouse.loader import LoaderConfig, run
from spendstream.sinks.late import window
ready, bootstrap, group, url, database, session, resend = sys.argv[1:]
window.RESEND_SECONDS = float(resend)
run(LoaderConfig(bootstrap, url, database, group, Path(ready), session_timeout_s=float(session)))
"""


class Worker:
    """One process of ours; its log is kept beside its ready file."""

    def __init__(self, program: str, directory: Path, name: str, *arguments: str) -> None:
        self.ready_file = directory / f"{name}.ready"
        self.log_file = directory / f"{name}.log"
        with self.log_file.open("wb") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-c", program, str(self.ready_file), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @classmethod
    def stream(
        cls, directory: Path, name: str, bootstrap: str, group: str, session_s: float
    ) -> Worker:
        return cls(_STREAM, directory, name, bootstrap, group, str(session_s))

    @classmethod
    def sink(
        cls,
        directory: Path,
        name: str,
        bootstrap: str,
        group: str,
        url: str,
        database: str,
        session_s: float,
        resend_s: float = RESEND_SECONDS,
    ) -> Worker:
        """`resend_s`: how long a worker's mark stands still until late rows are sent again."""
        arguments = (bootstrap, group, url, database, str(session_s), str(resend_s))
        return cls(_SINK, directory, name, *arguments)

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    @property
    def pid(self) -> int:
        return self._child.pid

    def running(self) -> bool:
        return self._child.poll() is None

    def wait_ready(self, timeout: float = 60) -> Worker:
        until(self.ready_file.exists, timeout, lambda: f"not ready:\n{self.log[-3000:]}")
        return self

    def pause(self) -> None:
        os.kill(self._child.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self._child.pid, signal.SIGCONT)

    def kill(self) -> None:
        """kill -9, also of one that is paused."""
        self._child.kill()
        self._child.wait()

    def stop(self, timeout: float = 30) -> int:
        """SIGTERM; the exit code."""
        self._child.terminate()
        return self._child.wait(timeout)

"""Workers as processes on a broker, what is sent to them, and what they have written.

Nothing is imported from the worker but its entry point, in the child: a test sees what any reader
of the topics sees.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from spendstream.deploy import topics_admin
from tests.support.records import Call, Headers

PARTITIONS = 3
SESSION_S = 6
_PROGRAM = """
import sys
from pathlib import Path
from spendstream.streams.worker import WorkerConfig, run
run(WorkerConfig(sys.argv[1], ready_file=Path(sys.argv[2]), session_timeout_s=float(sys.argv[3])))
"""


class Worker:
    """A stream worker as a child process; its log is kept in `log`."""

    def __init__(self, bootstrap: str, directory: Path, number: int, session_s: float) -> None:
        self.ready_file = directory / f"worker-{number}.ready"
        self.log_file = directory / f"worker-{number}.log"
        with self.log_file.open("wb") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, bootstrap, str(self.ready_file), str(session_s)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def running(self) -> bool:
        return self._child.poll() is None

    def wait_settled(self, timeout: float = 60) -> dict[str, int]:
        """Wait until every committed record of both inputs has its outcome."""
        events = len(self.read("usage.events"))

        def settled() -> bool:
            checkpoints = self.checkpoints().values()
            taken = {
                topic: sum(int(c["outcomes"][topic]["read"]) for c in checkpoints)
                for topic in ("usage.events", "workspace.commands")
            }
            if taken["usage.events"] < events:
                return False
            return taken["workspace.commands"] >= len(self.read("workspace.commands"))

        until(settled, timeout, lambda: f"{self.outcomes()} of {events}\n{self._logs()}")
        return self.outcomes()

    @contextmanager
    def consumer(self, *, uncommitted: bool = False) -> Iterator[Consumer]:
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": "tests",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_uncommitted" if uncommitted else "read_committed",
                "log_level": 3,
            }
        )
        try:
            yield consumer
        finally:
            consumer.close()

    def _logs(self) -> str:
        return "\n".join(worker.log[-2000:] for worker in self._workers)


def until(
    holds: Callable[[], bool], timeout: float, otherwise: Callable[[], str] = lambda: ""
) -> None:
    """Wait for something to hold. Fails the test with the reason where it does not."""
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, f"not within {timeout:g} s. {otherwise()}"
        time.sleep(0.1)

"""Seeing from outside what the processes do: their logs, and the transactions open in a topic."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from confluent_kafka import IsolationLevel, KafkaException
from confluent_kafka.admin import AdminClient

from tests.support.transactions import OpenTransactions
from tests.support.workers import Worker

BROKER_S: Final = 60.0


@dataclass(slots=True)
class Watched:
    """A process of ours and what it logged. `began`: seconds since 1970."""

    process: Worker
    name: str
    began: float = field(default_factory=time.time)
    _read: int = 0
    _lines: list[dict[str, Any]] = field(default_factory=list)

    def lines(self, event: str = "", since: float = 0) -> list[dict[str, Any]]:
        """What it logged since then, of one kind or of all; `at` is when."""
        with self.process.log_file.open("rb") as log:
            log.seek(self._read)
            new = log.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        for text in whole.splitlines():
            try:
                line = json.loads(text)
                line["at"] = datetime.fromisoformat(line["timestamp"]).timestamp()
            except (ValueError, KeyError, TypeError):
                continue  # Faust's own lines
            self._lines.append(line)
        return [
            line for line in self._lines if line["at"] >= since and event in ("", line["event"])
        ]

    def starts(self, event: str, since: float = 0) -> dict[int, float]:
        """Of each partition, when it last began (`partition_runs`, `reading`)."""
        return {line["partition"]: line["at"] for line in self.lines(event, since)}


def owners(processes: Iterable[Watched], event: str) -> dict[int, Watched]:
    """Who began each partition last."""
    found: dict[int, tuple[float, Watched]] = {}
    for process in processes:
        for partition, at in process.starts(event).items():
            if at > found.get(partition, (0.0, process))[0]:
                found[partition] = (at, process)
    return {partition: process for partition, (_, process) in found.items()}


class Transactions(OpenTransactions):
    """Those of single partitions; a broker that has just come back is waited for."""

    def __init__(self, bootstrap: str, topic: str, partitions: int) -> None:
        super().__init__(bootstrap, topic, partitions)
        self._bootstrap = bootstrap
        self._connect()

    def _connect(self) -> None:
        self._admin = AdminClient({"bootstrap.servers": self._bootstrap, "log_level": 0})

    def _ends(self, level: IsolationLevel) -> dict[int, int]:
        deadline = time.monotonic() + BROKER_S
        while True:
            try:
                return super()._ends(level)
            except KafkaException:  # no leaders yet, or those from before
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
                self._connect()

    def held(self, partitions: set[int], seconds: float = 0.4) -> set[tuple[int, int]]:
        """(partition, first offset) of those that are open and stay open for so long."""
        open_ = self.open_of(partitions)
        if open_:
            time.sleep(seconds)
            open_ &= self.open_of(partitions)
        return open_

    def stable_ends(self) -> dict[int, int]:
        """Where readers of committed records stand."""
        return self._ends(IsolationLevel.READ_COMMITTED)

    def open_of(self, partitions: set[int]) -> set[tuple[int, int]]:
        return {place for place in self._open() if place[0] in partitions}

"""The control topics' log, in memory: for commands and writers where no broker is needed.

It stands in for Kafka alone. What is read from it and written to it goes through the product's own
reader, checks and records.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from spendstream.api.jobs import control, control_log, control_prices
from spendstream.api.jobs.control_writer import Append


class Record(NamedTuple):
    """Of Kafka, as far as it is looked at."""

    at: int
    data: bytes | None

    def offset(self) -> int:
        return self.at

    def value(self) -> bytes | None:
        return self.data


class ControlLog:
    """All control topics; `author` is who edits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, author: str = "anna") -> None:
        self._records: defaultdict[str, list[Record]] = defaultdict(list)
        control_log._say.cache_clear()
        monkeypatch.setattr(control_log, "read_to_end", self._read)
        for job in (control, control_prices):
            monkeypatch.setattr(job, "only_writer", self._writer)
        monkeypatch.setenv("LOGNAME", author)
        monkeypatch.setenv("SPENDSTREAM_BOOTSTRAP_SERVERS", "nobody:9092")

    def put(self, topic: str, *records: Record) -> None:
        """Whatever is in there."""
        self._records[topic] += records

    def _read(self, servers: str, topic: str, timeout: float = 0) -> Iterator[Record]:
        yield from self._records[topic]

    @contextmanager
    def _writer(self, servers: str, what: str, timeout: float) -> Iterator[Append]:
        yield self._append

    def _append(self, topic: str, records: Iterable[tuple[bytes, bytes]]) -> None:
        log = self._records[topic]
        log += [Record(len(log) + n, value) for n, (_, value) in enumerate(records)]

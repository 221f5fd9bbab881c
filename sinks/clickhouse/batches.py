"""A batch: consecutive records of one topic and partition on their way into one insert. Pure.

Only `seq` and `partition` are decoded; the bytes go to ClickHouse as they are. `seq` is the
high-water mark: what is not above it is a repeat and dropped (counted), what leaves a gap is an
alarm. So the rows of a batch are decided by its records and by `seq_before` alone, and reading the
same range again gives the same rows.
"""

from __future__ import annotations

import msgspec

from spendstream.sinks.clickhouse.errors import Gap, Unreadable
from spendstream.sinks.clickhouse.ranges import Range

_STRANGER = (
    "Only workers may write there: see who else did, take that away from them, and restore the"
    " topic without it; or update the sink, where the worker is of a newer version"
)


class _Row(msgspec.Struct, gc=False):
    seq: int
    partition: int


decode_row = msgspec.json.Decoder(_Row).decode


class Batch:
    """Grows by `add`. `n` counts the records read, `rows` holds those that are new."""

    __slots__ = ("_start", "end", "n", "oldest_ms", "partition", "rows", "seq", "seq_before", "size", "topic")  # noqa: E501  # fmt: skip

    def __init__(self, topic: str, partition: int, seq_before: int) -> None:
        self.topic = topic
        self.partition = partition
        self.seq_before = seq_before
        self.seq = seq_before
        self.rows: list[bytes] = []
        self.n = 0
        self.size = 0
        self.oldest_ms = 0
        self._start = -1
        self.end = -1

    @property
    def range(self) -> Range:
        """From the first record to the last. Raises ValueError where there is none."""
        return Range(self._start, self.end)

    @property
    def repeats(self) -> int:
        return self.n - len(self.rows)

    def add(self, offset: int, value: bytes | None, timestamp_ms: int) -> None:
        """Take the next record. Raises Gap or Unreadable; the batch is then as it was."""
        try:
            row = decode_row(value or b"")
        except msgspec.DecodeError as error:
            raise Unreadable(f"{self._where(offset)} is not a row: {error}. {_STRANGER}") from None
        if row.partition != self.partition:
            raise Unreadable(
                f"{self._where(offset)} says it is of partition {row.partition}. {_STRANGER}"
            )
        if row.seq > self.seq + 1:
            missing = row.seq - self.seq - 1
            raise Gap(
                f"{self._where(offset)} has seq {row.seq} after {self.seq}: {missing} rows are"
                " missing. Retention deleted them before they were loaded, or ClickHouse was"
                " restored from too old a backup. Restore the topic, or ClickHouse from a backup"
                f" that reaches seq {row.seq - 1}, then `spendstream partitions reload"
                f" {self.partition}`, and restart the sink: nothing is skipped"
            )
        if self._start < 0:
            self._start = offset
            self.oldest_ms = timestamp_ms
        self.n += 1
        self.end = offset + 1
        if row.seq > self.seq:
            assert value is not None  # a row was decoded from it
            self.seq = row.seq
            self.rows.append(value)
            self.size += len(value)

    def _where(self, offset: int) -> str:
        return f"{self.topic}[{self.partition}]@{offset}"

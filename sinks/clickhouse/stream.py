"""One topic of one partition between Kafka and its table. Pure.

Normally records gather in a batch that the next flush takes. After a crash the first batch is the
last intent's range again, no more and no less.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from confluent_kafka import Message

from spendstream.sinks.clickhouse.batches import Batch
from spendstream.sinks.clickhouse.intents import Intent
from spendstream.sinks.clickhouse.ranges import Relation
from spendstream.sinks.clickhouse.tables import Table

MAX_BATCH_BYTES: Final = 32 * 1_048_576
"""Of one insert: it is held in memory here and in ClickHouse."""


@dataclass(frozen=True, slots=True)
class Work:
    """A batch to insert under its intent; `again` where the intent is an earlier run's."""

    table: Table
    batch: Batch
    intent: Intent
    again: bool


class Stream:
    """`seq` is what is in ClickHouse, `last` the intent that is not known to be done.

    `complete`: up to here every view has the rows, too. An earlier run's insert may have been cut
    off between two of them.
    """

    def __init__(
        self, table: Table, partition: int, epoch: str, seq: int, pending: Intent | None
    ) -> None:
        """`seq` is ClickHouse's; with `pending`, records must come from its start on."""
        self.table = table
        self.epoch = epoch
        self.seq = seq
        self.last = pending
        self._pending = pending
        self._again: Work | None = None
        before = pending.seq_before if pending else seq
        self.complete = before
        self._batch = Batch(table.topic, partition, before)

    def add(self, messages: Sequence[Message]) -> None:
        """Take the next records. Raises Gap, Unreadable or Changed."""
        arrived_ms = messages[0].timestamp()[1]  # of the others only the first could matter
        for message in messages:
            offset = message.offset()
            assert offset is not None
            self._batch.add(offset, message.value(), arrived_ms)
            if self._pending is not None:
                self._complete(self._pending)

    def _complete(self, intent: Intent) -> None:
        """See whether the intent's range has been read."""
        if self._batch.range.compare(intent.range) is Relation.PREFIX:
            return
        intent.check(self._batch)
        self._again = Work(self.table, self._batch, intent, again=True)
        self._pending = None
        self._renew()

    def take(self, inserts: int) -> tuple[Work | None, int]:
        """What to insert next, if anything, and how many repeats were dropped on the way.

        `inserts` is how many ClickHouse has seen. The work taken must be inserted, or the stream
        thrown away.
        """
        work, batch = self._again, self._batch
        if work is not None:
            self._again = None
            return work, work.batch.repeats
        if self._pending is not None or not batch.n:
            return None, 0
        self._renew()
        if not batch.rows:
            return None, batch.repeats
        intent = Intent(
            epoch=self.epoch,
            start=batch.range.start,
            end=batch.range.end,
            n=batch.n,
            seq_before=batch.seq_before,
            seq=batch.seq,
            inserts=inserts,
            at_ms=time.time_ns() // 1_000_000,
        )
        return Work(self.table, batch, intent, again=False), batch.repeats

    def _renew(self) -> None:
        self._batch = Batch(self.table.topic, self._batch.partition, self._batch.seq)

    @property
    def next_seq(self) -> int:
        """That ClickHouse would have after a `take`."""
        return self._again.intent.seq if self._again is not None else self._batch.seq

    @property
    def rows(self) -> int:
        """That a `take` would hand out; an intent to insert again counts from when it is whole."""
        if self._again is not None:
            return len(self._again.batch.rows)
        return 0 if self._pending is not None else len(self._batch.rows)

    @property
    def reading_again(self) -> bool:
        """An earlier run's intent is not inserted yet."""
        return self._pending is not None or self._again is not None

    def full(self, max_rows: int) -> bool:
        """Whether to read no further for now."""
        return len(self._batch.rows) >= max_rows or self._batch.size >= MAX_BATCH_BYTES

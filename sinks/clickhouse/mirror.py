"""What a broker without a disk would lose, kept in ClickHouse (the embedded stack).

Three tables: `mirror_checkpoint` (state and checkpoint, whole batches), `mirror_control` (control
topics) and `mirror_positions` (intents). All are upserts, so writing again is harmless.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from spendstream.sinks.clickhouse import intents
from spendstream.sinks.clickhouse.holdback import Held
from spendstream.sinks.clickhouse.intents import Intent
from spendstream.sinks.clickhouse.store import Store

_OFFSET_BITS: Final = 48
"""`version` = ordinal of the epoch, then the offset: 65,536 restarts of 281 trillion records."""


class Mirror:
    """One partition's mirrors. Every method may raise Retry or Refused."""

    def __init__(self, store: Store, partition: int) -> None:
        self._store = store
        self._partition = partition
        self._epoch = ""
        self._ordinal = 0

    def open(self, epoch: str) -> int:
        """Start with workspace.checkpoint's epoch; returns the offset to read it from.

        A new epoch's records get a higher ordinal, so that its offset 0 wins over all before.
        """
        newest = self._store.query(
            "SELECT version, epoch FROM mirror_checkpoint"
            " WHERE partition = {partition:UInt32} ORDER BY version DESC LIMIT 1",
            {"partition": self._partition},
        )
        version, seen = (int(str(newest[0][0])), str(newest[0][1])) if newest else (0, "")
        ordinal, offset = divmod(version, 1 << _OFFSET_BITS)
        self._epoch = epoch
        self._ordinal = ordinal if seen == epoch else ordinal + 1
        # a batch goes in whole and its checkpoint is its last record
        return offset + 1 if seen == epoch else 0

    def checkpoint(self, records: Iterable[Held]) -> None:
        """Put whole batches in; one insert, so that a reader sees all of it or nothing."""
        self._store.put(
            "mirror_checkpoint",
            ["partition", "key", "value", "epoch", "offset", "version"],
            [
                [self._partition, held.key, held.value, self._epoch, held.offset,
                 (self._ordinal << _OFFSET_BITS) + held.offset]
                for held in records
            ],
        )  # fmt: skip

    def control(self, topic: str, records: Iterable[Held]) -> None:
        """Put records of a control topic in."""
        self._store.put(
            "mirror_control",
            ["topic", "partition", "offset", "key", "value"],
            [[topic, self._partition, held.offset, held.key, held.value] for held in records],
        )

    def positions(self, entries: Mapping[str, Intent]) -> None:
        """Put intents in, before their inserts."""
        self._store.put(
            "mirror_positions",
            ["topic", "partition", "value", "version"],
            [
                [topic, self._partition, intents.encode(intent).decode(), intent.seq]
                for topic, intent in entries.items()
            ],
        )

    def last_intents(self) -> dict[str, Intent]:
        """The last intent of each topic, of whatever epoch."""
        rows = self._store.query(
            "SELECT topic, value FROM mirror_positions FINAL WHERE partition = {partition:UInt32}",
            {"partition": self._partition},
        )
        return {str(topic): intents.decode(str(value).encode()) for topic, value in rows}

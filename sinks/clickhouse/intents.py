"""The intent: what is about to be inserted, written to `sink.positions` before it is.

After a crash the last intent's range is read and inserted again, as it was: same records, same
rows, same token. Deduplication by token then leaves what is there and adds what is missing.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

import msgspec

from spendstream.sinks.clickhouse.batches import Batch
from spendstream.sinks.clickhouse.errors import Ahead, Behind, Changed, Unreadable
from spendstream.sinks.clickhouse.ranges import Range

TRUST_INSERTS: Final = 25_000
"""A token is trusted for this many later inserts, of the 100,000 blocks that the tables remember:
an insert whose rows lie in several months is up to three blocks in the raw table."""
TRUST_MS: Final = 302_400_000
"""And for 3.5 days, half of the seven that replicated tables remember."""


class Standing(Enum):
    """Where ClickHouse stands beside an intent."""

    BEHIND = "behind"  # rows before the intent are gone
    BEFORE = "before"  # nothing of it is there
    THERE = "there"  # its rows are there; its rollups may be not
    AHEAD = "ahead"  # something else was inserted


class Intent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One value of `sink.positions`; its key is the topic, its partition the partition.

    `epoch` is the topic's id; once its log was cut short and offsets came again, with `@` and the
    seq that was stored then: another token for other rows.

    `n` records lie in the range, of which the rows (`seq_before`, `seq`] are new. `inserts` is
    how many inserts ClickHouse had seen, `at_ms` when it was written. `done`: all of it is in.
    """

    epoch: str
    start: int = msgspec.field(name="from")
    end: int = msgspec.field(name="to")
    n: int
    seq_before: int
    seq: int
    inserts: int
    at_ms: int
    done: bool = False

    @property
    def range(self) -> Range:
        return Range(self.start, self.end)

    @property
    def rows(self) -> int:
        return self.seq - self.seq_before

    def belongs_to(self, topic_id: str) -> bool:
        """Whether its offsets are that topic's."""
        return self.epoch == topic_id or self.epoch.startswith(f"{topic_id}@")

    def token(self, topic: str, partition: int) -> str:
        """The same insert has the same token, whoever does it and however often."""
        return f"{topic}:{partition}:{self.epoch}:{self.start}:{self.end}"

    def finished(self) -> Intent:
        """The same, done."""
        return msgspec.structs.replace(self, done=True)

    def standing(self, stored_seq: int) -> Standing:
        """What the highest seq in ClickHouse says about this intent."""
        if stored_seq < self.seq_before or (self.done and stored_seq < self.seq):
            return Standing.BEHIND
        if stored_seq == self.seq:
            return Standing.THERE
        return Standing.BEFORE if stored_seq == self.seq_before else Standing.AHEAD

    def check_stored(self, topic: str, partition: int, stored_seq: int) -> None:
        """Raise Behind or Ahead where ClickHouse does not stand beside this intent."""
        standing = self.standing(stored_seq)
        where = f"{topic}[{partition}]: the last intent goes to seq {self.seq}, ClickHouse has"
        if standing is Standing.BEHIND:
            raise Behind(
                f"{where} only {stored_seq}: it lost data. Restore it from a backup, if there is"
                f" one; then `spendstream partitions reload {partition}` loads again what Kafka"
                " still has; then restart the sink"
            )
        if standing is Standing.AHEAD:
            raise Ahead(
                f"{where} {stored_seq}: somebody else wrote into it, or sink.positions is an older"
                " one. See that no other sink or group writes into this database; then restore it"
                f" from a backup, `spendstream partitions reload {partition}`, and restart the sink"
            )

    def trusts_token(self, inserts: int, now_ms: int, migrated_ms: int) -> bool:
        """Whether ClickHouse still remembers the token, by a wide margin.

        A view that a migration has made anew does not know the tokens from before it (seen on
        26.9): the raw table would refuse the rows, and the view count them twice. No insert was
        under way in the migration, so one from before it is in or is not.
        """
        return (
            inserts - self.inserts <= TRUST_INSERTS
            and now_ms - self.at_ms <= TRUST_MS
            and self.at_ms > migrated_ms
        )

    def check(self, read: Batch) -> None:
        """Raise Changed unless `read` is what the intent was written for."""
        if read.range != self.range or read.n != self.n or read.seq != self.seq:
            raise Changed(
                f"{read.topic}[{read.partition}]: an intent stands for {self.n} records in"
                f" {self.range} up to seq {self.seq}; read again there are {read.n} in"
                f" {read.range} up to seq {read.seq}. The topic is not the one that was loaded:"
                " restore it, or restore ClickHouse to before this intent, then `spendstream"
                f" partitions reload {read.partition}`, and restart the sink"
            )


_decoder = msgspec.json.Decoder(Intent)
_encoder = msgspec.json.Encoder()


def decode(value: bytes) -> Intent:
    """Raises Unreadable."""
    try:
        return _decoder.decode(value)
    except msgspec.DecodeError as error:
        raise Unreadable(
            f"sink.positions holds what is no intent: {error}. It was written by a newer version,"
            " then update this sink; or by somebody else: stop the sinks, delete the topic, make it"
            " anew by `spendstream topics create`, and start them again. They read again what Kafka"
            " has, and drop what is stored"
        ) from None


def encode(intent: Intent) -> bytes:
    return _encoder.encode(intent)

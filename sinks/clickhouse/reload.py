"""Loading again what ClickHouse has lost: a position in `sink.positions` that goes back to there.

A sink that finds less in ClickHouse than it had reported done stops (Behind): nothing tells it
whether the rest was lost, or is somebody else's. A person who has looked says so by this. The
sink then reads all that Kafka has from its start; what is stored is known by its `seq`. Where rows
are missing below others (Hole), that cannot be: what is above them would be doubled.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, KafkaError, TopicPartition

from spendstream.sinks.clickhouse.batches import decode_row
from spendstream.sinks.clickhouse.config import LoaderConfig
from spendstream.sinks.clickhouse.epochs import bounds, epochs
from spendstream.sinks.clickhouse.errors import Gap, Retry, Unfinished
from spendstream.sinks.clickhouse.intents import Intent, Standing
from spendstream.sinks.clickhouse.positions import Positions, committed
from spendstream.sinks.clickhouse.store import Store, Stored
from spendstream.sinks.clickhouse.tables import TABLES

_TIMEOUT_S: Final = 10.0
_ALL: Final = 1 << 62
_LOOKS: Final = 10
_LOOK_AGAIN_S: Final = 0.3


class Loaded(NamedTuple):
    """One topic of a partition: its last intent, and what ClickHouse has."""

    topic: str
    intent: Intent
    stored: Stored

    def check(self, partition: int) -> None:
        """Raise what stops a sink that starts now: Hole, Behind or Ahead."""
        self.stored.check_whole(self.topic, partition)
        self.intent.check_stored(self.topic, partition, self.stored.seq)


def look(config: LoaderConfig, partition: int) -> list[Loaded]:
    """How far a partition was loaded, and how far it is stored; fences nobody. Raises Retry."""
    written = _patiently(Positions(config, partition).read)
    return _beside(Store(config), partition, written)


def behind(config: LoaderConfig, partition: int) -> list[Loaded]:
    """The topics of which ClickHouse has less than was loaded. Raises Hole and Retry."""
    return _behind(look(config, partition), partition)


def reload(config: LoaderConfig, partition: int) -> list[Loaded]:
    """Let the sink load again what ClickHouse has lost; returns of which topics.

    Where it has lost nothing nothing is written, and no sink is disturbed.

    Raises:
        Gap: Kafka no longer has all of it; nothing was written.
        Hole: ClickHouse lacks rows below others that it has; nothing was written.
        Lost: a sink took the partition at the same moment; nothing was written.
        Retry: Kafka or ClickHouse does not answer.
    """
    store, positions = Store(config), Positions(config, partition)
    if not behind(config, partition):
        return []  # and nobody was fenced
    lost = _behind(_beside(store, partition, _patiently(positions.open)), partition)
    topics = [one.topic for one in lost]
    ids, logs = epochs(config, topics), bounds(config, topics, partition)
    entries = {}
    for topic, intent, stored in lost:
        begin = logs[topic].begin
        _see_that_it_is_whole(config, store, topic, partition, stored.seq)
        entries[topic] = Intent(
            epoch=intent.epoch if intent.belongs_to(ids[topic]) else ids[topic],
            start=begin,
            end=begin,
            n=0,
            seq_before=stored.seq,
            seq=stored.seq,
            inserts=0,
            at_ms=time.time_ns() // 1_000_000,
            done=True,
        )
    if entries:
        positions.write(entries)
    return lost


def _patiently(read: Callable[[], dict[str, Intent]]) -> dict[str, Intent]:
    """The last intents; a sink that commits one right now is waited for."""
    for _ in range(_LOOKS):
        try:
            return read()
        except Unfinished:
            time.sleep(_LOOK_AGAIN_S)  # a commit tells nobody
    return read()


def _beside(store: Store, partition: int, written: dict[str, Intent]) -> list[Loaded]:
    stored = store.positions(partition) if written else {}
    return [Loaded(topic, written[topic], stored.get(topic, Stored())) for topic in sorted(written)]


def _behind(seen: list[Loaded], partition: int) -> list[Loaded]:
    for one in seen:
        one.stored.check_whole(one.topic, partition)
    return [one for one in seen if one.intent.standing(one.stored.seq) is Standing.BEHIND]


def _see_that_it_is_whole(
    config: LoaderConfig, store: Store, topic: str, partition: int, stored: int
) -> None:
    """Raise Gap unless ClickHouse has nothing above `stored`, and Kafka all of it."""
    table = TABLES[topic]
    above = store.count(table, partition, stored, _ALL)
    if above:
        raise Gap(
            f"{topic}[{partition}]: positions says that ClickHouse has seq {stored}, but"
            f" {table.name} holds {above} rows above it, which would be doubled: restore all of the"
            " database's tables from one backup"
        )
    first = _first_seq(config, topic, partition)
    if first is None or first > stored + 1:
        has = "no rows" if first is None else f"them only from seq {first} on"
        raise Gap(
            f"{topic}[{partition}]: ClickHouse has seq {stored}, and Kafka has {has}: what lies"
            " between is lost to both. Restore the database from a backup that has it"
        )


def _first_seq(config: LoaderConfig, topic: str, partition: int) -> int | None:
    """Of the first row that the topic still has. Raises Retry."""
    what = f"{topic}[{partition}]"
    with committed(config, what) as consumer:
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING)])
        message = consumer.poll(_TIMEOUT_S)
        error = message.error() if message is not None else None
        if error is not None and error.code() == KafkaError._PARTITION_EOF:
            return None
        if message is None or error is not None:
            raise Retry(f"cannot read {what}: {error or 'no answer'}")
        return decode_row(message.value() or b"").seq

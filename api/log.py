"""Read Kafka topics from here to an end: no group, nothing committed, committed records only.

The end of a partition is what readers of committed records take for it at the call: the log's end,
or the first transaction that is still open (librdkafka asks the broker by its isolation level).
The last offsets may hold no record at all (transaction markers, aborted records), so a reader that
waits for "the record before the end" waits for ever. librdkafka's end-of-partition event carries
the position *behind* such offsets; that is what is compared here.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

POLL_S = 0.1
REQUEST_TIMEOUT_S = 10.0
_NO_LEADER = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)


class LogUnavailable(RuntimeError):
    """A topic could not be read; the sentence says which, and what to look at."""


@contextmanager
def reader(bootstrap_servers: str) -> Iterator[Consumer]:
    """A consumer to `assign`; closed at the end of the block."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            # required by librdkafka, never joined: only `assign` is used
            "group.id": "spendstream-reader",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 50,
        }
    )
    try:
        yield consumer
    finally:
        consumer.close()


def partitions_of(consumer: Consumer, topic: str) -> list[int]:
    """Partition numbers of a topic. Raises LogUnavailable where broker or topic is missing."""
    try:
        metadata = consumer.list_topics(topic, timeout=REQUEST_TIMEOUT_S).topics[topic]
    except KafkaException as error:
        raise LogUnavailable(f"no Kafka broker answers: {error.args[0].str()}") from error
    if metadata.error is not None or not metadata.partitions:
        raise LogUnavailable(
            f"topic {topic} is missing: create it with `spendstream topics create`"
        )
    return sorted(metadata.partitions)


def bounds(consumer: Consumer, topic: str, partition: int) -> tuple[int, int]:
    """(first offset kept, end of what is committed)."""
    place = TopicPartition(topic, partition)
    deadline = time.monotonic() + REQUEST_TIMEOUT_S
    while True:
        try:
            offsets = consumer.get_watermark_offsets(place, timeout=REQUEST_TIMEOUT_S)
            break
        except KafkaException as error:
            # a topic that was created a moment ago is still choosing its leader
            if error.args[0].code() not in _NO_LEADER or time.monotonic() > deadline:
                raise LogUnavailable(f"{topic}/{partition}: {error.args[0].str()}") from error
            time.sleep(POLL_S)  # the broker tells nobody when it has chosen one
    if offsets is None:
        raise LogUnavailable(f"{topic}/{partition}: the broker did not say where it ends")
    return offsets


def read_between(
    consumer: Consumer, topic: str, ranges: dict[int, tuple[int, int]], timeout: float
) -> Iterator[Message]:
    """Committed records of `topic` in [from, to) per partition, in each partition's order.

    Args:
        ranges: with ends that `bounds` told, or places before them: no open transaction stands in
            front of those, so that they can be reached.

    Raises:
        LogUnavailable: no record for `timeout` seconds, and an end was not reached.
    """
    open_ends = {p: end for p, (start, end) in ranges.items() if start < end}
    if not open_ends:
        return
    consumer.assign([TopicPartition(topic, p, ranges[p][0]) for p in open_ends])
    deadline = time.monotonic() + timeout
    try:
        while open_ends:
            message = consumer.poll(POLL_S)
            if message is None:
                if time.monotonic() > deadline:
                    raise LogUnavailable(_stuck(topic, open_ends, timeout))
                continue
            partition, offset = message.partition(), message.offset()
            assert partition is not None
            assert offset is not None
            error = message.error()
            if error is not None and error.code() == KafkaError._PARTITION_EOF:
                if offset >= open_ends.get(partition, 0):
                    open_ends.pop(partition, None)
                continue
            if error is not None:
                raise LogUnavailable(f"{topic}/{partition}: {error.str()}")
            end = open_ends.get(partition)
            if end is None:
                continue  # written after the call
            if offset < end:
                deadline = time.monotonic() + timeout
                yield message
            if offset + 1 >= end:
                del open_ends[partition]
    finally:
        consumer.unassign()


def read_to_end(
    bootstrap_servers: str,
    topic: str,
    partitions: list[int] | None = None,
    timeout: float = 30.0,
) -> Iterator[Message]:
    """All records that readers of committed ones can see of a topic at the call: up to the first
    transaction that is open then.

    Raises:
        LogUnavailable: broker or topic is missing, or the end stays out of reach.
    """
    with reader(bootstrap_servers) as consumer:
        wanted = partitions_of(consumer, topic) if partitions is None else partitions
        ranges = {p: bounds(consumer, topic, p) for p in wanted}
        yield from read_between(consumer, topic, ranges, timeout)


def last_records(
    consumer: Consumer,
    topic: str,
    partitions: Iterable[int],
    key: bytes | None = None,
    timeout: float = 30.0,
) -> dict[int, Message]:
    """The newest committed record (with `key`) of each partition, looked for from the end back.

    Partitions that hold none are left out. Raises LogUnavailable.
    """
    found: dict[int, Message] = {}
    floors, tops = {}, {}
    for partition in partitions:
        floors[partition], tops[partition] = bounds(consumer, topic, partition)
    step = 16
    while tops := {p: top for p, top in tops.items() if p not in found and floors[p] < top}:
        ranges = {p: (max(floors[p], top - step), top) for p, top in tops.items()}
        for message in read_between(consumer, topic, ranges, timeout):
            number = message.partition()
            assert number is not None
            if key is None or message.key() == key:
                found[number] = message
        tops = {p: start for p, (start, _) in ranges.items()}
        step *= 4
    return found


def _stuck(topic: str, open_ends: dict[int, int], timeout: float) -> str:
    where = ", ".join(f"{topic}/{p} (to {end})" for p, end in sorted(open_ends.items()))
    return f"no progress for {timeout:g} s in reading {where}: does the broker still answer?"

"""Reading a partition from an offset to its end, once; and which topic an offset belongs to."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
)
from confluent_kafka import TopicPartition as Partition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from spendstream.streams.errors import HangingTransaction, Recoverable

TIMEOUT_S: Final = 10.0
_STALL_S: Final = 20.0
_POLL: Final = 5_000
_EARLIEST: Final = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST: Final = OffsetSpec.latest()  # type: ignore[no-untyped-call]


class Watermarks(NamedTuple):
    """First offset that is there, and the next to be written (of any transaction)."""

    low: int
    high: int


class LogReader:
    """Reads what is committed, and knows where logs end whether it is or not.

    Two clients, because a consumer of committed records takes the first open transaction for the
    end of the log, also where it is asked for the high watermark (librdkafka 2.16).
    """

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.committed = consumer(bootstrap_servers)
        self.admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 3})

    def close(self) -> None:
        self.committed.close()


def consumer(bootstrap_servers: str, isolation: str = "read_committed") -> Consumer:
    """A reader of committed records, for `assign`, without a group's offsets."""
    return Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "spendstream-reader",  # librdkafka demands one; nothing is committed to it
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": isolation,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 50,
            "log_level": 3,
        }
    )


def watermarks(reader: LogReader, topic: str, partition: int) -> Watermarks:
    """Raises Recoverable where the broker does not answer."""
    where = Partition(topic, partition)
    try:
        low, high = (
            reader.admin.list_offsets(
                {where: spec},
                isolation_level=IsolationLevel.READ_UNCOMMITTED,
                request_timeout=TIMEOUT_S,
            )[where]
            .result()
            .offset
            for spec in (_EARLIEST, _LATEST)
        )
    except KafkaException as error:
        raise Recoverable(f"{topic}/{partition}: no watermarks: {error}") from error
    return Watermarks(low, high)


def ever_written(reader: LogReader, topic: str, partition: int) -> bool:
    """Whether a record was ever written there, committed or not.

    A transaction's marker is none: the end of one that was open when the topic was made anew lands
    in the new topic, because the coordinator knows topics by their names.

    Raises Recoverable.
    """
    low, high = watermarks(reader, topic, partition)
    if low or not high:
        return low > 0
    all_records = consumer(reader.bootstrap_servers, "read_uncommitted")
    try:
        all_records.assign([Partition(topic, partition, low)])
        deadline = time.monotonic() + _STALL_S
        while time.monotonic() < deadline:
            message = all_records.poll(1.0)
            error = message.error() if message is not None else None
            if message is not None and error is None:
                return True
            if error is not None and error.code() == KafkaError._PARTITION_EOF:
                return False
            if error is not None and (error.fatal() or not error.retriable()):
                raise Recoverable(f"{topic}/{partition}: {error}")
    finally:
        all_records.close()
    raise Recoverable(f"{topic}/{partition}: nothing read for {_STALL_S:.0f} s")


def read_to_end(reader: LogReader, topic: str, partition: int, start: int) -> Iterator[Message]:
    """Committed records from `start` (or the log's start) up to the high watermark at the call.

    Raises:
        HangingTransaction: an open transaction hides the end.
        Recoverable: the broker is away, or does not get on.
    """
    low, high = watermarks(reader, topic, partition)
    if low >= high:
        return
    committed = reader.committed
    committed.assign([Partition(topic, partition, max(start, low))])
    progress = time.monotonic()
    try:
        while True:
            # asking for many waits for all of them, mostly in vain: for one, then for what is there
            messages = committed.consume(1, timeout=1.0)
            if messages:
                messages += committed.consume(_POLL, timeout=0)
                progress = time.monotonic()
            elif time.monotonic() - progress > _STALL_S:
                raise Recoverable(f"{topic}/{partition}: nothing read for {_STALL_S:.0f} s")
            for message in messages:
                error = message.error()
                if error is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    end = message.offset()
                    if end is not None and end >= high:
                        return
                    raise HangingTransaction(
                        f"{topic}/{partition}: committed records end at {end}, the log at {high}"
                    )
                elif error.fatal() or not error.retriable():
                    raise Recoverable(f"{topic}/{partition}: {error}")
    finally:
        committed.unassign()


def topic_ids(bootstrap_servers: str, topics: Iterable[str]) -> dict[str, str]:
    """The id of each topic: it changes when a topic is deleted and created again."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 3})
    described = admin.describe_topics(TopicCollection(list(topics)), request_timeout=TIMEOUT_S)
    try:
        return {name: str(future.result().topic_id) for name, future in described.items()}
    except KafkaException as error:
        raise Recoverable(f"topics cannot be described: {error}") from error


def partition_count(bootstrap_servers: str, topic: str) -> int:
    """How many partitions a topic has. Raises Recoverable where it is missing."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 3})
    try:
        metadata = admin.list_topics(topic, timeout=TIMEOUT_S).topics[topic]
    except KafkaException as error:
        raise Recoverable(f"no answer from {bootstrap_servers}: {error}") from error
    denied = metadata.error
    if denied is not None and denied.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
        raise Recoverable(f"DESCRIBE on {topic} is missing: grant it to the worker's user")
    if denied is not None or not metadata.partitions:
        raise Recoverable(f"topic {topic} is missing; `spendstream topics create` makes it")
    return len(metadata.partitions)

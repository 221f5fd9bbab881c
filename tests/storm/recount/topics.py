"""What a recount reads: topics from beginning to end, record by record, without keeping them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Protocol

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from tests.support.rig import Rig


class Record(Protocol):
    """What is asked of a record (confluent-kafka's has this shape)."""

    def offset(self) -> int | None: ...
    def key(self) -> Any: ...
    def value(self) -> Any: ...
    def headers(self) -> Any: ...
    def timestamp(self) -> tuple[int, int]: ...


class Log(Protocol):
    """Where they lie."""

    partitions: int

    def committed(self, topic: str, partition: int) -> Iterator[Record]:
        """The committed records of a partition, in order, up to its end."""
        ...


def read_committed(rig: Rig, topic: str, partition: int) -> Iterator[Record]:
    with rig.consumer() as consumer:
        consumer.assign([TopicPartition(topic, partition, 0)])
        while True:
            for message in consumer.consume(10_000, 0.2):
                error = message.error()
                if error is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    return
                elif error.fatal():
                    raise KafkaException(error)


def rows(log: Log, topic: str, partition: int) -> Iterator[dict[str, Any]]:
    for record in log.committed(topic, partition):
        yield json.loads(record.value() or b"")

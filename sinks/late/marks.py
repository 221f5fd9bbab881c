"""How far the workers have resolved: `late_resolved` of the heartbeats in `workspace.state`.

Only the next heartbeat is of interest, and a worker that lives sends one every five seconds. So a
partition is read from its end, and only while late rows of it are open.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Final

import msgspec
from confluent_kafka import OFFSET_END, Consumer, KafkaException, TopicPartition

from spendstream.schemas.topics import WORKSPACE_STATE
from spendstream.sinks.clickhouse.config import LoaderConfig

_RECORDS: Final = 5_000


class _Heartbeat(msgspec.Struct, gc=False):
    late_resolved: int | None = None


_decode: Final = msgspec.json.Decoder(_Heartbeat).decode


class Marks:
    """Used by one thread. Every method may raise KafkaException; `close` makes it fit again."""

    def __init__(self, config: LoaderConfig) -> None:
        self._settings = {
            "fetch.min.bytes": 1_048_576,
            "fetch.wait.max.ms": 100,
            "queued.max.messages.kbytes": 4_096,
            **config.client_settings(),
            "group.id": f"{config.group}-late",  # librdkafka wants one; it is not joined
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "auto.offset.reset": "latest",
        }
        self._consumer: Consumer | None = None
        self._followed: set[int] = set()

    def follow(self, partitions: Set[int]) -> None:
        """Read these partitions, and no others, from now on."""
        new, gone = partitions - self._followed, self._followed - partitions
        if self._consumer is None:
            if not new:
                return
            self._consumer = Consumer(self._settings)
        if gone:
            self._consumer.incremental_unassign(
                [TopicPartition(WORKSPACE_STATE, number) for number in gone]
            )
        if new:
            self._consumer.incremental_assign(
                [TopicPartition(WORKSPACE_STATE, number, OFFSET_END) for number in new]
            )
        self._followed = set(partitions)

    def poll(self, seconds: float) -> dict[int, int]:
        """The newest mark of each partition that was heard within this time."""
        marks: dict[int, int] = {}
        if self._consumer is None:
            return marks
        for message in self._consumer.consume(_RECORDS, seconds):
            error = message.error()
            if error is not None:
                raise KafkaException(error)
            if message.key():
                continue  # a workspace's
            mark = _decode(message.value() or b"").late_resolved
            partition = message.partition()
            # a worker that says nothing of it is an older one, and would refuse the commands
            if mark is not None and partition is not None:
                marks[partition] = mark
        return marks

    def close(self) -> None:
        consumer, self._consumer = self._consumer, None
        self._followed = set()
        if consumer is not None:
            consumer.close()

"""A broker with the topics, what is sent to it, and what any reader of the topics sees there."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from spendstream.sinks.late.window import RESEND_SECONDS
from tests.support import header_names, topics
from tests.support.groups import leave_for
from tests.support.records import Call, Headers
from tests.support.waiting import until
from tests.support.workers import Worker

PARTITIONS = 3
SESSION_S = 6.0
CHECKPOINT = b'["","checkpoint"]'


class Rig:
    """The workers that a test starts on a broker end with `close`."""

    def __init__(
        self,
        bootstrap: str,
        directory: Path,
        partitions: int = PARTITIONS,
        *,
        new_topics: bool = True,
    ) -> None:
        self.bootstrap = bootstrap
        self.partitions = partitions
        self.directory = directory
        self.workers: list[Worker] = []
        self.group = f"g-{uuid.uuid4().hex[:8]}"  # nobody waits for the last test's members
        if new_topics:
            self.make_anew()

    def worker(self, session_s: float = SESSION_S) -> Worker:
        name = f"worker-{len(self.workers)}"
        worker = Worker.stream(self.directory, name, self.bootstrap, self.group, session_s)
        self.workers.append(worker)
        return worker

    def sink(
        self,
        url: str,
        database: str,
        session_s: float = 10.0,
        resend_s: float = RESEND_SECONDS,
    ) -> Worker:
        name = f"sink-{len(self.workers)}"
        arguments = (self.bootstrap, f"{self.group}-sink", url, database, session_s, resend_s)
        sink = Worker.sink(self.directory, name, *arguments)
        self.workers.append(sink)
        return sink

    def close(self) -> None:
        for worker in self.workers:
            if worker.running():
                worker.kill()

    def kill_all(self) -> None:
        """kill -9, and nobody waits for the end of their sessions: their group hears of it."""
        self.close()
        leave_for(self.bootstrap, self.group)

    def make_anew(self, *names: str) -> None:
        """Topics of ours, all where none is named."""
        topics.make_anew(self.bootstrap, self.partitions, *names)

    # --- writing ---

    def producer(self, **settings: Any) -> Producer:
        return Producer(
            {
                "bootstrap.servers": self.bootstrap,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "linger.ms": 5,
                "compression.type": "lz4",
                "queue.buffering.max.messages": 1_000_000,
                "log_level": 3,
            }
            | settings
        )

    def send(self, calls: Iterable[Call]) -> None:
        """Well-formed events, each to the partition of its key."""
        self.send_raw((c.workspace_id.encode(), c.value(), c.headers()) for c in calls)

    def send_raw(
        self,
        records: Iterable[tuple[bytes | None, bytes | None, Headers]],
        partition: int | None = None,
    ) -> None:
        """Records as they are, to a partition or to that of their keys.

        Those whose headers' names are not UTF-8 go in one batch, to partition 0 if none is given.
        """
        producer = self.producer()
        failed: list[KafkaError] = []
        by_hand: list[tuple[bytes | None, bytes | None, Headers]] = []

        def delivered(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                failed.append(error)

        where: dict[str, Any] = {} if partition is None else {"partition": partition}
        for key, value, headers in records:
            if not header_names.are_text(headers):
                by_hand.append((key, value, headers))
                continue
            producer.produce(
                "usage.events", value, key, headers=list(headers), on_delivery=delivered, **where
            )
            producer.poll(0)
        assert producer.flush(60) == 0
        assert not failed, failed[:3]
        if by_hand:
            header_names.send_in_one_batch(self.bootstrap, partition or 0, by_hand)

    # --- reading ---

    def read(self, topic: str, last: int | None = None) -> list[Message]:
        """All committed records of a topic by partition and offset, or the last offsets of each."""
        with self.consumer() as consumer:
            count = len(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
            starts = dict.fromkeys(range(count), 0)
            if last is not None:
                for p in starts:
                    low, high = consumer.get_watermark_offsets(TopicPartition(topic, p), 10)
                    starts[p] = max(low, high - last)
            consumer.assign([TopicPartition(topic, p, start) for p, start in starts.items()])
            messages: list[Message] = []
            unread = set(range(count))
            while unread:
                for message in consumer.consume(5_000, 0.05):
                    error = message.error()
                    if error is None:
                        messages.append(message)
                    elif error.code() == KafkaError._PARTITION_EOF:
                        unread.discard(message.partition() or 0)
            return sorted(messages, key=lambda m: (m.partition() or 0, m.offset() or 0))

    def rows(self, topic: str) -> list[dict[str, Any]]:
        return [json.loads(message.value() or b"") for message in self.read(topic)]

    def checkpoints(self) -> dict[int, dict[str, Any]]:
        """The last one of each partition."""
        return dict(self.all_checkpoints())

    def all_checkpoints(self) -> list[tuple[int, dict[str, Any]]]:
        """Partition and checkpoint, in the order written; compaction has not come by yet."""
        return [
            (message.partition() or 0, json.loads(message.value() or b""))
            for message in self.read("workspace.checkpoint")
            if message.key() == CHECKPOINT
        ]

    def outcomes(self) -> dict[str, dict[str, int]]:
        """Of each input, over all partitions."""
        total: dict[str, dict[str, int]] = {"usage.events": {}, "workspace.commands": {}}
        for checkpoint in self.checkpoints().values():
            for topic, counts in checkpoint["outcomes"].items():
                for name, count in counts.items():
                    total[topic][name] = total[topic].get(name, 0) + int(count)
        return total

    def state(self) -> dict[str, dict[str, Any]]:
        """The newest saved state of each workspace."""
        records = [
            json.loads(message.value() or b"")
            for message in self.read("workspace.checkpoint")
            if message.key() != CHECKPOINT
        ]
        return {record["workspace_id"]: record["state"] for record in records}

    def wait_taken(self, count: int, timeout: float = 60, *, topic: str = "usage.events") -> None:
        """Wait until so many records of an input have their outcome."""

        def taken() -> bool:
            return self.outcomes()[topic].get("read", 0) >= count

        until(taken, timeout, self._complaint)

    def wait_settled(self, timeout: float = 60) -> dict[str, dict[str, int]]:
        """Wait until every committed record of both inputs has its outcome."""
        self.wait_taken(len(self.read("usage.events")), timeout)

        def settled() -> bool:
            taken = self.outcomes()["workspace.commands"]["read"]
            return taken >= len(self.read("workspace.commands"))

        until(settled, timeout, self._complaint)
        return self.outcomes()

    @contextmanager
    def consumer(self) -> Iterator[Consumer]:
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": "tests",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 20,
                "log_level": 3,
            }
        )
        try:
            yield consumer
        finally:
            consumer.close()

    def _complaint(self) -> str:
        logs = "\n".join(worker.log[-2000:] for worker in self.workers)
        return f"{self.outcomes()}\n{logs}"

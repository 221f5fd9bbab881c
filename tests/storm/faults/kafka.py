"""The broker goes away; strangers' transactions hang; aborted records show."""

from __future__ import annotations

import math
import time
from typing import ClassVar

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from tests.storm.faults.base import LOOK_S, PATIENCE_S, Fault, all_again
from tests.storm.faults.workers import _OnWorker
from tests.storm.rig import Storm, seen
from tests.storm.watch import Transactions
from tests.support.rig import CHECKPOINT


class BrokerStopped(Fault):
    """In order; recovered when readers see newer rows than before in every partition."""

    kind: ClassVar[str] = "broker stopped"

    def strike(self, storm: Storm) -> None:
        partitions = set(range(storm.partitions))
        seen(lambda: storm.priced.open_of(partitions), LOOK_S, 0.02)
        open_ = storm.priced.open_of(partitions)
        self.now()
        self.end(storm)
        time.sleep(self.random.uniform(0, 3))
        storm.broker.start()
        storm.priced.stable_ends()  # it answers before it leads its partitions
        if open_:
            self.evidence = f"it went with {len(open_)} transactions open"

    def end(self, storm: Storm) -> None:
        storm.broker.stop()

    def recovered(self, storm: Storm) -> float | None:
        ends = storm.priced.stable_ends()

        def moved() -> bool:
            now = storm.priced.stable_ends()
            return sum(now[p] > end for p, end in ends.items()) >= storm.partitions - 1

        return time.time() - self.struck_at if seen(moved, PATIENCE_S, 0.2) else math.inf


class BrokerKilled(BrokerStopped):
    kind: ClassVar[str] = "broker killed"

    def end(self, storm: Storm) -> None:
        storm.broker.kill()


class HangingInput(Fault):
    """Somebody's transaction in `usage.events` hides what comes after it, for a while."""

    kind: ClassVar[str] = "foreign transaction hangs"

    def strike(self, storm: Storm) -> None:
        call = storm.traffic.call(storm.extra_number(), time.time_ns() // 10**6)
        stranger = _stranger(storm)
        # where its key belongs: the broker's own partitioner decides
        stranger.produce(
            "usage.events", call.value(), call.workspace_id.encode(), headers=list(call.headers())
        )
        stranger.flush(10)
        self.now()
        events = Transactions(storm.bootstrap, "usage.events", storm.partitions)
        time.sleep(self.random.uniform(2, 6))
        hidden = events.open_of(set(range(storm.partitions)))
        if self.random.random() < 0.5:
            stranger.commit_transaction(30)
        else:
            stranger.abort_transaction(30)
        if hidden:
            self.evidence = f"readers stood at usage.events/{min(hidden)}"


class HangingCheckpoint(_OnWorker):
    """A transaction hangs in `workspace.checkpoint` while the partition's owner dies: the newest
    checkpoint is hidden, and whoever recovers has to notice."""

    kind: ClassVar[str] = "checkpoint hidden"

    def strike(self, storm: Storm) -> None:
        worker, partitions = self.pick(storm)
        partition = self.random.choice(sorted(partitions) or [0])
        before = storm.priced.stable_ends()[partition]
        stranger = _stranger(storm)
        # without a value it is nobody's state
        stranger.produce("workspace.checkpoint", None, b'["","storm"]', partition)
        stranger.flush(10)
        # batches are committed behind it, which no reader of committed records sees
        hidden = seen(lambda: storm.priced.stable_ends()[partition] > before + 1, 10)
        self.now()
        worker.process.kill()
        storm.forget(worker)
        storm.start_stream()

        # a rebalance has all partitions begin anew, and this one must not
        others = set(range(storm.partitions)) - {partition}
        went_on = all_again(storm, "partition_runs", others, self.struck_at)
        waits = not seen(
            lambda: partition in storm.runs_since("partition_runs", self.struck_at), 2.0
        )
        stranger.abort_transaction(30)
        if hidden and math.isfinite(went_on) and waits:
            self.evidence = f"partition {partition} waited for its newest checkpoint to show"


class AbortedRecordsShow(_OnWorker):
    """A worker dies in the middle of its commit, and the records of that batch show, as they do on
    a broker that does not hide aborted ones: they are copied into the log, all but the checkpoint.

    Apache Kafka never shows them; the embedded broker does, and the same worker runs on both.
    """

    kind: ClassVar[str] = "aborted records show"

    def strike(self, storm: Storm) -> None:
        worker, partitions = self.pick(storm)
        open_: set[tuple[int, int]] = set()
        deadline = time.monotonic() + 2 * LOOK_S
        while not open_ and time.monotonic() < deadline:
            worker.process.pause()
            open_ = storm.ids.held(partitions)
            if not open_:
                worker.process.resume()
                time.sleep(0.03)
        copied = 0
        if open_:
            partition, offset = min(open_)
            states = Transactions(storm.bootstrap, "workspace.checkpoint", storm.partitions)
            places = [("workspace.ids", partition, offset)]
            places += [("workspace.checkpoint", *place) for place in states.open_of({partition})]
            producer = Producer({"bootstrap.servers": storm.bootstrap, "log_level": 2})
            for topic, p, start in places:
                for key, value in _uncommitted(storm, topic, p, start):
                    if key != CHECKPOINT:
                        producer.produce(topic, value, key, p)
                        copied += 1
            producer.flush(10)
        self.now()
        worker.process.kill()
        storm.forget(worker)
        storm.start_stream()
        if copied:
            self.evidence = f"{copied} records of a batch that {worker.name} never committed"


def _uncommitted(
    storm: Storm, topic: str, partition: int, start: int
) -> list[tuple[bytes | None, bytes | None]]:
    """Keys and values from an offset to the end, committed or not."""
    consumer = Consumer(
        {
            "bootstrap.servers": storm.bootstrap,
            "group.id": "storm",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_uncommitted",
            "log_level": 2,
        }
    )
    found = []
    try:
        consumer.assign([TopicPartition(topic, partition, start)])
        while True:
            for message in consumer.consume(1_000, 0.2):
                error = message.error()
                if error is None:
                    found.append((message.key(), message.value()))
                elif error.code() == KafkaError._PARTITION_EOF:
                    return found
    finally:
        consumer.close()


def _stranger(storm: Storm) -> Producer:
    producer = storm.producer(**{"transactional.id": "stranger", "transaction.timeout.ms": 60_000})
    producer.init_transactions(30)
    producer.begin_transaction()
    return producer

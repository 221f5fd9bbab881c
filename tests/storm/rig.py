"""What a storm rages in: a broker, ClickHouse behind a proxy, workers, sinks and emitters."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from confluent_kafka import TopicPartition

from spendstream.api.jobs.control_prices import add_prices
from spendstream.api.jobs.control_writer import ControlUnavailable
from spendstream.api.log import LogUnavailable
from spendstream.deploy import topics_admin
from spendstream.schemas.prices.overrides import parse_overrides
from tests.servers.clickhouse import ChdbClickHouse
from tests.servers.kafka import KafkaServer
from tests.storm import emitter
from tests.storm.emitter import EmitterFiles, Sender
from tests.storm.proxy import Proxy
from tests.storm.recount.topics import Record, read_committed
from tests.storm.traffic import EDITED, Sending, Traffic, edit, plans
from tests.storm.watch import Transactions, Watched, owners
from tests.support.exact import plan_versions
from tests.support.rig import CHECKPOINT, Rig
from tests.support.small_disk import SmallDisk
from tests.support.workers import Worker

PARTITIONS: Final = 6
SESSION_S: Final = 6.0
EMITTERS: Final = 2
DATABASE: Final = "storm"
EDIT_S: Final = 60.0


class Storm(Rig):
    """Everything that faults strike. `close` ends its processes; the servers are the caller's."""

    def __init__(
        self,
        traffic: Traffic,
        directory: Path,
        broker: KafkaServer,
        clickhouse: ChdbClickHouse,
        disk: SmallDisk | None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.traffic = traffic
        self.random = random.Random(traffic.seed)
        self.streams: list[Watched] = []
        self.sinks: list[Watched] = []
        self.gone: list[Watched] = []
        self._started = self._extra = self._edits = 0
        self.broker = broker
        self.clickhouse = clickhouse
        self.disk = disk
        super().__init__(broker.bootstrap_servers, directory, PARTITIONS, new_topics=False)
        topics_admin.create(self.bootstrap, PARTITIONS, 1)
        self.proxy = Proxy(self.clickhouse.url)
        self.plans = plans(traffic)
        plan_versions(self, self.plans)
        self.priced = Transactions(self.bootstrap, "usage.priced", PARTITIONS)
        self.ids = Transactions(self.bootstrap, "workspace.ids", PARTITIONS)
        self.emitters: list[Watched] = []

    def start(self) -> None:
        """Two workers, two sinks, and the emitters, which wait for a rate."""
        for _ in range(2):
            self.start_stream()
            self.start_sink()
        for process in (*self.streams, *self.sinks):
            process.process.wait_ready(120)
        self.emitters = [self.start_emitter(n) for n in range(EMITTERS)]

    def close(self) -> None:
        for process in (*self.streams, *self.sinks, *self.emitters):
            if process.process.running():
                process.process.kill()
        self.proxy.close()

    # --- processes ---

    def start_stream(self) -> Watched:
        name = self._name("worker")
        process = Worker.stream(self.directory, name, self.bootstrap, self.group, SESSION_S)
        self.streams.append(Watched(process, name))
        return self.streams[-1]

    def start_sink(self) -> Watched:
        name = self._name("sink")
        group, url = f"{self.group}-sink", self.proxy.url
        process = Worker.sink(self.directory, name, self.bootstrap, group, url, DATABASE, SESSION_S)
        self.sinks.append(Watched(process, name))
        return self.sinks[-1]

    def start_emitter(self, number: int) -> Watched:
        name = self._name(f"emitter-{number}")
        t = self.traffic
        arguments = [t.seed, t.events, t.late, PARTITIONS, number, EMITTERS, self.directory]
        words = [self.bootstrap, *map(str, arguments)]
        return Watched(Worker(emitter.PROGRAM, self.directory, name, *words), name)

    def forget(self, process: Watched) -> None:
        """It is gone for good; its log stays."""
        for living in (self.streams, self.sinks):
            if process in living:
                living.remove(process)
        self.gone.append(process)

    def _name(self, kind: str) -> str:
        self._started += 1
        return f"{kind}-{self._started:03}"

    # --- what is seen ---

    def stream_owners(self) -> dict[int, Watched]:
        return owners([*self.streams, *self.gone], "partition_runs")

    def sink_owners(self) -> dict[int, Watched]:
        return owners([*self.sinks, *self.gone], "reading")

    def partitions_of(self, process: Watched) -> set[int]:
        owner = {**self.stream_owners()} if process in self.streams else self.sink_owners()
        return {partition for partition, one in owner.items() if one is process}

    def runs_since(self, event: str, since: float) -> dict[int, float]:
        """When each partition began first after a moment, whoever has it."""
        processes = [*self.streams, *self.sinks, *self.gone]
        found: dict[int, float] = {}
        for process in processes:
            for line in process.lines(event, since):
                partition = line["partition"]
                found[partition] = min(line["at"], found.get(partition, line["at"]))
        return found

    def files(self) -> list[EmitterFiles]:
        return [EmitterFiles(self.directory, n) for n in range(EMITTERS)]

    def sent(self) -> int:
        """Numbers that Kafka has acknowledged to the emitters."""
        return int(sum(files.read("acknowledged") for files in self.files()))

    def committed(self, topic: str, partition: int) -> Iterator[Record]:
        return read_committed(self, topic, partition)

    def extra_number(self) -> int:
        """Of an event that is no emitter's: a fault sends it."""
        self._extra += 1
        return self.traffic.events + self._extra

    def last_checkpoints(self) -> dict[int, dict[str, Any]]:
        """Of each partition, from the topic's last records."""
        return {
            message.partition() or 0: json.loads(message.value() or b"")
            for message in self.read("workspace.checkpoint", last=1_000)
            if message.key() == CHECKPOINT
        }

    def input_ends(self, topic: str) -> dict[int, int]:
        """Next offset after the last committed record of each partition; 0 where there is none."""
        with self.consumer() as consumer:
            return {
                p: consumer.get_watermark_offsets(TopicPartition(topic, p), 10)[1]
                for p in range(self.partitions)
            }

    def last_outcomes(self) -> dict[tuple[int, str], dict[str, int]]:
        """By partition and input."""
        return {
            (partition, topic): counts
            for partition, checkpoint in self.last_checkpoints().items()
            for topic, counts in checkpoint["outcomes"].items()
        }

    def let_send(self, events_a_second: float, share: float) -> None:
        """How fast the emitters may send, and up to what share of all events."""
        for files in self.files():
            files.write("rate", max(1.0, events_a_second / EMITTERS))
            files.write("limit", share * self.traffic.events / EMITTERS)

    @contextmanager
    def silence(self) -> Iterator[None]:
        """The emitters send nothing; afterwards they go on as before."""
        before = [(files, files.read("limit")) for files in self.files()]
        for files, _ in before:
            files.write("limit", 0)
        try:
            yield
        finally:
            for files, limit in before:
                files.write("limit", limit)

    def sender(self) -> Sender:
        """One more emitter, in this process."""
        return Sender(self.bootstrap, self.traffic, self.partitions)

    def send_extra(self, count: int) -> None:
        """New events that are no emitter's, until Kafka has them."""
        sender = self.sender()
        for _ in range(count):
            sender.send(Sending(self.extra_number(), 0))
        while not sender.flush():
            pass

    def set_price(self) -> int:
        """The next one of EDITED, as the command line sets it; returns its version.

        What was written before its writer lost the broker is not written again.
        """
        self._edits += 1
        provider, model = EDITED
        fresh, read, _, output = edit(self._edits)
        prices = {"input": fresh, "cache_read": read, "output": output}
        entry = {"provider": provider, "model": model, "valid_from": "2026-01-01", "prices": prices}
        wanted = parse_overrides({"prices": [entry]})

        def written() -> bool:
            try:
                add_prices(self.bootstrap, wanted, author="storm", timeout=10)
            except (ControlUnavailable, LogUnavailable):
                return False
            return True

        assert seen(written, EDIT_S), f"price {self._edits} could not be set in {EDIT_S:.0f} s"
        return self._edits

    def complaint(self) -> str:
        words = [f"{p.name}: {p.process.log[-1500:]}" for p in (*self.streams, *self.sinks)]
        return "\n".join(words)


def seen(holds: Callable[[], object], seconds: float, every: float = 0.1) -> bool:
    """Whether something comes to hold within the time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True

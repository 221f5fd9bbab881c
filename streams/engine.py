"""The engine: from Faust's assignment to one runner a partition.

Faust's sticky assignor keeps partition p of both inputs on one worker; the engine starts p only
when it has both.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
from confluent_kafka import KafkaException
from faust.types import TP

from spendstream.schemas.topics import INPUTS, USAGE_EVENTS, WORKSPACE_COMMANDS
from spendstream.streams import health, metrics
from spendstream.streams.control_follower import PlansFollower, PricesFollower
from spendstream.streams.errors import Recoverable
from spendstream.streams.losses import TOPICS
from spendstream.streams.reading import topic_ids
from spendstream.streams.recovery import Snapshot
from spendstream.streams.runner import PartitionRunner
from spendstream.streams.stream_task import Shared
from spendstream.streams.transport import BatchedConsumer, End, Fetched

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Set

_log = structlog.get_logger(__name__)

MAX_TRANSACTIONS_A_SECOND: Final = 20
"""Of a worker: a commit costs about the same whatever is in it."""
MIN_LINGER_S: Final = 0.02
_THREADS: Final = 16
_RECOVERIES: Final = 2
"""At once: while one waits for the broker another decodes. The partitions get ready one by one."""


class Engine:
    """Owns the runners. Implements what transport and runners ask of it."""

    def __init__(
        self,
        bootstrap_servers: str,
        group: str,
        partitions: int,
        session_timeout_s: float,
        ready_file: Path | None,
    ) -> None:
        self._plans = PlansFollower(bootstrap_servers)
        self._prices = PricesFollower(bootstrap_servers)
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="partition")
        self._shared = Shared(
            bootstrap_servers,
            group,
            partitions,
            self._plans,
            self._prices,
            self._executor,
            session_timeout_s,
            asyncio.Semaphore(_RECOVERIES),
        )
        self._runners: dict[int, PartitionRunner] = {}
        self._kept: dict[int, Snapshot] = {}  # of partitions that a rebalance has revoked
        self._torn: dict[int, str] = {}  # why not all of a partition is here
        self._torn_since = 0.0
        self._lock = asyncio.Lock()
        self._ready_file = ready_file
        self._consumer: BatchedConsumer | None = None
        self._joined = False
        self._beat = time.monotonic()
        metrics.partitions.look = self.standings

    def start(self, consumer: BatchedConsumer) -> None:
        self._consumer = consumer
        self._plans.start()
        self._prices.start()

    async def stop(self) -> None:
        await self.revoke()
        self._plans.stop()
        self._prices.stop()
        self._executor.shutdown(wait=True)

    async def dispatch(self, batches: AsyncIterable[Fetched]) -> None:
        """Give each batch to its partition; a full queue holds the fetching back."""
        async for batch in batches:
            runner = self._runners.get(batch.partition)
            if runner is not None:
                await runner.offer(batch)

    # --- what the transport asks ---

    async def assigned(self, partitions: set[TP]) -> None:
        """Start a runner for each partition of which both inputs are here."""
        async with self._lock:
            topics: dict[int, set[str]] = {}
            for tp in partitions:
                topics.setdefault(tp.partition, set()).add(tp.topic)
            whole = {p for p, names in topics.items() if names >= set(INPUTS)}
            self._torn = {p: _torn(topics[p]) for p in sorted(topics.keys() - whole)}
            self._torn_since = time.monotonic()
            for partition, error in self._torn.items():
                _log.error("partition_torn", partition=partition, error=error)
            linger_s = max(MIN_LINGER_S, len(whole) / MAX_TRANSACTIONS_A_SECOND)
            for partition in sorted(whole - self._runners.keys()):
                kept = self._kept.pop(partition, None)
                self._runners[partition] = PartitionRunner(
                    partition, self._shared, self, linger_s, kept
                )
            self._kept.clear()  # others have those now

    def rebalanced(self) -> None:
        """The group has given everybody their partitions; to this worker perhaps none."""
        self._joined = True
        if self._consumer is not None and not self._consumer.assignment():
            self._kept.clear()

    def committed(self, tp: TP) -> int | None:
        runner = self._runners.get(tp.partition)
        return runner.committed.get(tp.topic) if runner is not None else None

    def out_of_range(self, tp: TP, offset: int) -> None:
        """The partition recovers, which says what was lost, if anything was. For any thread."""
        runner = self._runners.get(tp.partition)
        if runner is not None:
            runner.interrupt(
                Recoverable(
                    f"{tp.topic}/{tp.partition}: {offset} is next, and the log does not hold it:"
                    " retention took it, or the topic was made anew"
                )
            )

    async def revoke(self) -> None:
        """A rebalance revokes everything, and mostly gives it back: states are kept until then."""
        self._joined = False
        async with self._lock:
            runners, self._runners, self._torn = self._runners, {}, {}
            left = await asyncio.gather(*(runner.stop() for runner in runners.values()))
            for partition, snapshot in zip(runners, left, strict=True):
                if snapshot is not None:
                    self._kept[partition] = snapshot

    # --- what the runners ask ---

    def pause(self, partition: int) -> None:
        """No records for it until it has been sought."""
        consumer = self._consumer
        assert consumer is not None
        consumer.pause_partitions(_both(partition))

    async def seek(self, partition: int, offsets: dict[str, int]) -> int:
        consumer = self._consumer
        assert consumer is not None
        generation = await consumer.seek_all(
            {TP(topic, partition): offset for topic, offset in offsets.items()}
        )
        consumer.resume_partitions(_both(partition))
        return generation

    async def ends(self, partition: int) -> dict[str, End] | None:
        """Where reading of both inputs stands where both have reached their end, else None."""
        consumer = self._consumer
        assert consumer is not None
        ends = await consumer.ends(_both(partition))
        return None if ends is None else {tp.topic: end for tp, end in ends.items()}

    async def events_end(self, partition: int) -> End | None:
        """As `ends`, for the events alone."""
        assert self._consumer is not None
        tp = TP(USAGE_EVENTS, partition)
        ends = await self._consumer.ends({tp})
        return None if ends is None else ends[tp]

    def hold_commands(self, partition: int, hold: bool) -> None:
        """Fetch no more commands for now, or go on."""
        assert self._consumer is not None
        tps = {TP(WORKSPACE_COMMANDS, partition)}
        if hold:
            self._consumer.pause_partitions(tps)
        else:
            self._consumer.resume_partitions(tps)

    def rejoin(self) -> None:
        assert self._consumer is not None
        self._consumer.rejoin()

    # --- what whoever watches the process asks, on a thread of their own ---

    def standings(self) -> list[health.Standing]:
        """How each assigned partition stands."""
        return [
            runner.standing(partial(self._log_end, partition))
            for partition, runner in sorted(self._runners.copy().items())
        ] + [
            health.Standing(partition, error, time.monotonic() - self._torn_since, {})
            for partition, error in self._torn.copy().items()
        ]

    def health(self) -> tuple[list[str], dict[str, int]]:
        """Why the worker is not well (empty: it is), and figures beside it."""
        standings = self.standings()
        found = health.reasons(standings, self._joined, time.monotonic() - self._beat)
        if self._consumer is not None:
            found += self._consumer.missing_rights()
        running = sum(standing.running for standing in standings)
        return found, {"assigned": len(standings), "running": running}

    def _log_end(self, partition: int, topic: str) -> int | None:
        assert self._consumer is not None
        return self._consumer.log_end(TP(topic, partition))

    # --- what the app's timers ask ---

    async def compare_topics(self) -> None:
        """See whether a topic was made anew: its name goes on working for whoever writes to it."""
        servers = self._shared.bootstrap_servers
        try:
            epochs = await asyncio.to_thread(topic_ids, servers, TOPICS)
        except (Recoverable, KafkaException) as error:
            _log.info("topics_not_compared", error=str(error))  # missing, or no broker: next time
            return
        for runner in self._runners.values():
            runner.compare_topics(epochs)

    def report(self) -> None:
        """Gauge, and the ready file once every assigned partition runs."""
        self._beat = time.monotonic()
        running = sum(runner.ready for runner in self._runners.values())
        metrics.running.set(running)
        if self._ready_file is not None and self._runners and running == len(self._runners):
            self._ready_file.touch()


def _both(partition: int) -> set[TP]:
    return {TP(topic, partition) for topic in INPUTS}


def _torn(topics: Set[str]) -> str:
    missing = ", ".join(sorted(set(INPUTS) - topics))
    return (
        f"{missing} is missing, has fewer partitions, or may not be described: `spendstream topics"
        " check` says which. Once that is mended it goes on by itself"
    )

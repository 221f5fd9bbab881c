"""One partition's life: recover, then batch after batch, each one transaction.

What is in memory is believed only as far as it is committed: after any error it is dropped and
recovered. The blocking work (the core, librdkafka) runs in an executor, one step at a time.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

import structlog

from spendstream.schemas.prices import PriceBook
from spendstream.schemas.topics import (
    CONTROL_PLANS,
    INPUTS,
    USAGE_EVENTS,
    WORKSPACE_CHECKPOINT,
    WORKSPACE_COMMANDS,
    WORKSPACE_IDS,
    WORKSPACE_STATE,
)
from spendstream.streams import metrics
from spendstream.streams.core.finish import finish
from spendstream.streams.core.ids import REMEMBER_MS, pack
from spendstream.streams.core.outputs import Batch
from spendstream.streams.core.process import process
from spendstream.streams.core.schedule import advance
from spendstream.streams.core.state import InputPosition, PartitionState
from spendstream.streams.errors import EpochChanged, Fenced, Halted, PartitionError
from spendstream.streams.plans_follower import PlansFollower
from spendstream.streams.reading import consumer as new_reader
from spendstream.streams.reading import topic_ids
from spendstream.streams.recovery import IdsLog, recover
from spendstream.streams.transactions import PartitionProducer
from spendstream.streams.transport import End, Fetched

MAX_EVENTS: Final = 10_000
"""Of a transaction."""
HEARTBEAT_S: Final = 5.0
CLOCK_LAG_MS: Final = 1_000
"""Idle partitions follow the worker's clock this far behind it: a record that the broker has
stamped may take a moment to be fetched."""
CLOCK_SLACK_MS: Final = 300_000
"""The broker's clock may be this far ahead of the worker's; a later time stamp is not believed."""
T = TypeVar("T")
_QUEUE: Final = 8
_IDS_SLACK_MS: Final = 60_000  # ids are forgotten by the whole minute
_TICK_S: Final = 0.25
_RETRY_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
_HALTED_RETRY_S: Final = 30.0
_RECOVERY_TOPICS: Final = (*INPUTS, WORKSPACE_IDS, CONTROL_PLANS)


class Inputs(Protocol):
    """What a runner asks of the consumer, for its own partition of both inputs."""

    def pause(self, partition: int) -> None: ...
    async def seek(self, partition: int, offsets: dict[str, int]) -> int: ...
    async def ends(self, partition: int) -> dict[str, End] | None: ...
    async def events_end(self, partition: int) -> End | None: ...
    def hold_commands(self, partition: int, hold: bool) -> None: ...
    def rejoin(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Shared:
    """What all partitions of a worker use."""

    bootstrap_servers: str
    group: str
    partitions: int
    book: PriceBook
    plans: PlansFollower
    executor: Executor
    session_timeout_s: float


@dataclass(slots=True)
class Live:
    """A recovered partition. `generation` is the first seek generation whose batches count."""

    state: PartitionState
    producer: PartitionProducer
    ids_log: IdsLog = field(default_factory=deque)
    generation: int = 0
    committed_at: float = 0.0
    in_transaction: bool = False


class PartitionRunner:
    """Created on assignment, stopped on revocation; never both for two assignments."""

    def __init__(self, partition: int, shared: Shared, inputs: Inputs, linger_s: float) -> None:
        self.partition = partition
        self.ready = False
        self.committed: dict[str, int] = {}
        self._shared = shared
        self._inputs = inputs
        self._linger_s = linger_s
        self._queue: asyncio.Queue[Fetched] = asyncio.Queue(_QUEUE)
        self._held: deque[Fetched] = deque()
        self._live: Live | None = None
        self._step: asyncio.Future[Any] | None = None
        self._log = structlog.get_logger(__name__).bind(partition=partition)
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"p{partition}")

    async def offer(self, batch: Fetched) -> None:
        """Take a fetched batch; one from before the last seek is dropped, it is read again."""
        live = self._live
        if live is not None and self.ready and batch.generation == live.generation:
            await self._queue.put(batch)

    async def stop(self) -> None:
        """Let the open transaction end, then forget everything."""
        while not self._task.done():
            # again and again: `wait_for` of Python 3.11 swallows a cancel that comes together with
            # what it waits for, and a rebalance would wait for this runner for ever
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=1.0)
        if self._step is not None:
            await asyncio.gather(self._step, return_exceptions=True)
        self._drop()

    async def _run(self) -> None:
        attempt = 0
        while True:
            try:
                await self._recover()
                attempt = 0
                while True:
                    await self._batch()
            except Fenced as error:
                # Never take the id back by ourselves: if we are the zombie, the group tells us when
                # we have rejoined it; if a zombie fenced us, a new assignment makes us the owner.
                self._log.warning("partition_fenced", error=str(error))
                metrics.fenced.inc()
                self._drop()
                await asyncio.sleep(self._shared.session_timeout_s * 1.5)
                self._inputs.rejoin()
                return
            except Halted as error:
                self._log.error("partition_halted", error=str(error), kind=type(error).__name__)
                metrics.halted.labels(type(error).__name__).inc()
                self._drop()
                await asyncio.sleep(_HALTED_RETRY_S)
            except Exception as error:
                # Also what nobody foresaw: trying again from the last commit loses nothing, and
                # skipping what caused it would.
                wait = _RETRY_S[min(attempt, len(_RETRY_S) - 1)]
                attempt += 1
                self._log.warning(
                    "partition_recovers",
                    error=str(error),
                    kind=type(error).__name__,
                    wait_s=wait,
                    exc_info=not isinstance(error, PartitionError),
                )
                metrics.errors.labels(type(error).__name__).inc()
                self._drop()
                await asyncio.sleep(wait)

    def _drop(self) -> None:
        self.ready = False
        self._inputs.pause(self.partition)
        self._held.clear()
        while not self._queue.empty():
            self._queue.get_nowait()
        live, self._live = self._live, None
        if live is not None:
            self._shared.executor.submit(live.producer.close)

    async def _recover(self) -> None:
        started = time.monotonic()
        self._inputs.pause(self.partition)
        live = await self._in_executor(self._recover_blocking)
        checkpoint = live.state.checkpoint
        self._live = live
        self.ready = True
        self.committed = {topic: p.upto for topic, p in checkpoint.inputs.items()}
        live.generation = await self._inputs.seek(self.partition, self.committed)
        live.committed_at = time.monotonic()
        metrics.recoveries.inc()
        metrics.recovery_seconds.observe(time.monotonic() - started)
        self._log.info("partition_runs", batch=checkpoint.batch, upto=self.committed)

    def _recover_blocking(self) -> Live:
        shared = self._shared
        producer = PartitionProducer(shared.bootstrap_servers, shared.group, self.partition)
        try:
            reader = new_reader(shared.bootstrap_servers)
            try:
                epochs = topic_ids(shared.bootstrap_servers, _RECOVERY_TOPICS)
                state, ids_log = recover(reader, self.partition, shared.partitions, epochs)
            finally:
                reader.close()
            known = state.checkpoint.control.get(CONTROL_PLANS, InputPosition())
            epoch = epochs[CONTROL_PLANS]
            if known.epoch not in ("", epoch):
                raise EpochChanged(
                    f"{CONTROL_PLANS} was deleted and created again: the plans that the checkpoint"
                    f" was made with are gone (topic {known.epoch}, now {epoch})"
                )
            shared.plans.wait_for(known.upto, timeout_s=15)
            state.checkpoint.control[CONTROL_PLANS] = InputPosition(epoch, known.upto)
        except BaseException:
            producer.close()
            raise
        return Live(state, producer, ids_log)

    async def _batch(self) -> None:
        """Wait for records or for something to be due, and commit one transaction."""
        live = self._live
        assert live is not None
        first = await self._next(live, _TICK_S)
        if first is None:
            await self._idle(live)
            return
        batch = Batch()
        await self._in_executor(self._take, live, batch, first)
        events = len(first.records)
        deadline = time.monotonic() + self._linger_s
        while events < MAX_EVENTS and (left := deadline - time.monotonic()) > 0:
            more = await self._next(live, left)
            if more is not None:
                events += len(more.records)
                await self._in_executor(self._take, live, batch, more)
        await self._in_executor(self._commit, live, batch, events)

    async def _next(self, live: Live, timeout_s: float) -> Fetched | None:
        """The next fetched batch whose turn it is, if there is one within the time.

        The inputs are merged by time: commands wait for the events that arrived before them.
        After an outage, their newer time stamps would otherwise have the older backlog of events
        judged by the wrong windows and booked to the wrong period.
        """
        held = self._held
        if held and await self._in_turn(live, held[0]):
            if len(held) == _QUEUE:
                self._inputs.hold_commands(self.partition, False)
            return held.popleft()
        try:
            fetched = await asyncio.wait_for(self._queue.get(), timeout_s)
        except TimeoutError:
            return None
        if fetched.generation != live.generation:
            return None
        if fetched.topic == WORKSPACE_COMMANDS and (held or not await self._in_turn(live, fetched)):
            held.append(fetched)
            if len(held) == _QUEUE:
                self._inputs.hold_commands(self.partition, True)
            return None
        return fetched

    async def _in_turn(self, live: Live, commands: Fetched) -> bool:
        """Whether no event that arrived before these commands is still to come."""
        if commands.records[-1].timestamp <= live.state.time_ms:
            return True
        end = await self._inputs.events_end(self.partition)
        return end is not None and end.handed_out <= live.state.checkpoint.inputs[USAGE_EVENTS].upto

    async def _idle(self, live: Live) -> None:
        """With both inputs at their end, time follows the clock, and what is due is done."""
        state = live.state
        now_ms = int(time.time() * 1_000) - CLOCK_LAG_MS
        quiet_s = time.monotonic() - live.committed_at
        due = bool(state.due) and state.due[0][0] <= now_ms
        woken = state.plan_revision != self._shared.plans.table.revision
        if not (due or woken or quiet_s >= 1.0):
            return
        ends = await self._inputs.ends(self.partition)
        if ends is None:
            return
        inputs = state.checkpoint.inputs
        if any(inputs[topic].upto < end.handed_out for topic, end in ends.items()):
            return  # a batch is on its way here: were the position taken, a crash would lose it
        behind = any(inputs[topic].upto < end.position for topic, end in ends.items())
        if due or woken or behind or quiet_s >= HEARTBEAT_S:
            positions = {topic: end.position for topic, end in ends.items()}
            await self._in_executor(self._pass_time, live, positions, now_ms)

    def _take(self, live: Live, batch: Batch, fetched: Fetched) -> None:
        """Run records through the core; the rows go out while more records are awaited."""
        if not live.in_transaction:
            live.producer.begin()
            live.in_transaction = True
        shared = self._shared
        process(
            live.state,
            batch,
            fetched.topic,
            fetched.records,
            shared.book,
            shared.plans.table,
            int(time.time() * 1_000) + CLOCK_SLACK_MS,
        )
        self._send_rows(live, batch)

    def _pass_time(self, live: Live, ends: dict[str, int], now_ms: int) -> None:
        """An empty batch: the clock, what is due, a heartbeat."""
        batch = Batch()
        live.producer.begin()
        live.in_transaction = True
        state = live.state
        for topic, end in ends.items():
            position = state.checkpoint.inputs[topic]
            position.upto = max(position.upto, end)  # past markers of transactions
        advance(state, batch, self._shared.plans.table, max(now_ms, state.time_ms))
        state.ids.forget(state.time_ms)
        self._send_rows(live, batch)
        self._commit(live, batch, 0)

    def _send_rows(self, live: Live, batch: Batch) -> None:
        for topic, rows in batch.rows.items():
            if rows:
                live.producer.send(topic, rows)
                metrics.rows.labels(topic).inc(len(rows))
                rows.clear()
        for home, key, value in batch.forwarded:
            live.producer.send_to(WORKSPACE_COMMANDS, home, key, value)
        batch.forwarded.clear()

    def _commit(self, live: Live, batch: Batch, events: int) -> None:
        started = time.monotonic()
        producer, checkpoint, ids_log = live.producer, live.state.checkpoint, live.ids_log
        ids_offset: list[int] = []
        if batch.digests:
            ids = pack(checkpoint.upto, checkpoint.time_ms, batch.digests)
            producer.send_to(WORKSPACE_IDS, self.partition, None, ids, ids_offset.append)
        while ids_log and ids_log[0][0] + REMEMBER_MS + _IDS_SLACK_MS <= checkpoint.time_ms:
            checkpoint.ids_from = ids_log.popleft()[1] + 1
        if ids_log:
            checkpoint.ids_from = ids_log[0][1]
        checkpoint.control[CONTROL_PLANS].upto = self._shared.plans.position
        closing = finish(live.state, batch)
        producer.send(WORKSPACE_STATE, closing.state)
        producer.send(WORKSPACE_CHECKPOINT, closing.checkpoint)
        producer.commit()
        live.in_transaction = False
        live.committed_at = time.monotonic()
        ids_log.extend((checkpoint.time_ms, offset) for offset in ids_offset)
        self.committed = {topic: position.upto for topic, position in checkpoint.inputs.items()}
        metrics.batches.inc()
        metrics.events.inc(events)
        metrics.commit_seconds.observe(time.monotonic() - started)

    async def _in_executor(self, step: Callable[..., T], *args: Any) -> T:
        future = asyncio.get_running_loop().run_in_executor(self._shared.executor, step, *args)
        self._step = future
        # A cancelled runner lets its step end (see `stop`): a thread cannot be interrupted
        return await asyncio.shield(future)

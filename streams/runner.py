"""One partition's life: recover, then batch after batch, each one transaction.

What is in memory is believed only as far as it is committed: after any error it is dropped and
recovered. The blocking work runs in an executor, one step at a time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

import structlog

from spendstream.streams import metrics
from spendstream.streams.arrival_merge import ArrivalMerge, MergedInputs
from spendstream.streams.errors import Fenced, Halted, PartitionError
from spendstream.streams.stream_task import Shared, StreamTask, recover_task
from spendstream.streams.transport import End, Fetched

MAX_EVENTS: Final = 10_000
"""Of a transaction."""
HEARTBEAT_S: Final = 5.0
CLOCK_LAG_MS: Final = 1_000
"""Idle partitions follow the worker's clock this far behind it: a record that the broker has
stamped may take a moment to be fetched."""
T = TypeVar("T")
_TICK_S: Final = 0.25
"""Without records, this often it is looked at what is due."""
_RETRY_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
_HALTED_RETRY_S: Final = 30.0


class Inputs(MergedInputs, Protocol):
    """What a runner asks of the consumer, for its own partition of both inputs."""

    def pause(self, partition: int) -> None: ...
    async def seek(self, partition: int, offsets: dict[str, int]) -> int: ...
    async def ends(self, partition: int) -> dict[str, End] | None: ...
    def rejoin(self) -> None: ...


class PartitionRunner:
    """Created on assignment, stopped on revocation; never both for two assignments.

    Attributes:
        ready: recovered and running.
        committed: next offset of each input by the last checkpoint that committed here.
    """

    def __init__(self, partition: int, shared: Shared, inputs: Inputs, linger_s: float) -> None:
        self.partition = partition
        self.ready = False
        self.committed: dict[str, int] = {}
        self._shared = shared
        self._inputs = inputs
        self._linger_s = linger_s
        self._merge = ArrivalMerge(partition, inputs)
        self._task: StreamTask | None = None
        self._step: asyncio.Future[Any] | None = None
        self._log = structlog.get_logger(__name__).bind(partition=partition)
        self._life = asyncio.get_running_loop().create_task(self._run(), name=f"p{partition}")

    async def offer(self, batch: Fetched) -> None:
        """Take a fetched batch; one from before the last seek is dropped, it is read again."""
        await self._merge.offer(batch)

    async def stop(self) -> None:
        """Let the open transaction end, then forget everything."""
        while not self._life.done():
            # again and again: `wait_for` of Python 3.11 swallows a cancel that comes together with
            # what it waits for, and a rebalance would wait for this runner for ever
            self._life.cancel()
            await asyncio.wait({self._life}, timeout=1.0)
        if self._step is not None:
            # whether it failed is nobody's business any more: the next owner recovers
            await asyncio.gather(self._step, return_exceptions=True)
        self._drop()

    async def _run(self) -> None:
        attempt = 0
        while True:
            try:
                task = await self._recover()
                attempt = 0
                while True:
                    await self._batch(task)
            except Fenced as error:
                self._log.warning("partition_fenced", error=str(error))
                metrics.fenced.inc()
                self._drop()
                # Never take the id back by ourselves: if we are the zombie, the group tells us when
                # we have rejoined it; if a zombie fenced us, a new assignment makes us the owner.
                # Past the session timeout, the group has noticed whichever of the two is gone.
                await asyncio.sleep(self._shared.session_timeout_s * 1.5)
                self._inputs.rejoin()
                return
            except Halted as error:
                self._log.error("partition_halted", error=str(error), kind=type(error).__name__)
                metrics.halted.labels(type(error).__name__).inc()
                self._drop()
                await asyncio.sleep(_HALTED_RETRY_S)  # until an operator has acted; a look is cheap
            except Exception as error:
                # Also what nobody foresaw: trying again from the last commit loses nothing, and
                # skipping what caused it would. Were the runner to end, the partition would stand
                # still in silence.
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
                await asyncio.sleep(wait)  # longer each time: the broker may be starting

    def _drop(self) -> None:
        self.ready = False
        self._inputs.pause(self.partition)
        self._merge.clear()
        task, self._task = self._task, None
        if task is not None:
            self._shared.executor.submit(task.close)

    async def _recover(self) -> StreamTask:
        started = time.monotonic()
        self._inputs.pause(self.partition)
        task = await self._in_executor(recover_task, self.partition, self._shared)
        self._task = task
        self.ready = True
        self.committed = task.positions()
        generation = await self._inputs.seek(self.partition, self.committed)
        self._merge.start(task.state, generation)
        metrics.recoveries.inc()
        metrics.recovery_seconds.observe(time.monotonic() - started)
        batch = task.state.checkpoint.batch
        self._log.info("partition_runs", batch=batch, upto=self.committed)
        return task

    async def _batch(self, task: StreamTask) -> None:
        """Wait for records or for something to be due, and commit one transaction."""
        first = await self._merge.next(_TICK_S)
        if first is None:
            await self._idle(task)
            return
        await self._in_executor(task.take, first)
        deadline = time.monotonic() + self._linger_s
        while task.events < MAX_EVENTS and (left := deadline - time.monotonic()) > 0:
            more = await self._merge.next(left)
            if more is not None:
                await self._in_executor(task.take, more)
        await self._in_executor(task.commit)
        self.committed = task.positions()

    async def _idle(self, task: StreamTask) -> None:
        """With both inputs at their end, time follows the clock, and what is due is done."""
        state = task.state
        now_ms = int(time.time() * 1_000) - CLOCK_LAG_MS
        quiet_s = time.monotonic() - task.committed_at
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
            await self._in_executor(task.pass_time, positions, now_ms)
            self.committed = task.positions()

    async def _in_executor(self, step: Callable[..., T], *args: Any) -> T:
        future = asyncio.get_running_loop().run_in_executor(self._shared.executor, step, *args)
        self._step = future
        # A cancelled runner lets its step end (see `stop`): a thread cannot be interrupted
        return await asyncio.shield(future)

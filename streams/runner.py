"""One partition's life: recover, then batch after batch, each one transaction.

What is in memory is believed only as far as it is committed: after any error it is dropped and
recovered. The blocking work runs in an executor, one step at a time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeVar

import structlog

from spendstream.schemas.reasons import Reason
from spendstream.schemas.topics import CONTROL_PLANS, CONTROL_PRICES
from spendstream.streams import metrics
from spendstream.streams.arrival_merge import ArrivalMerge, MergedInputs
from spendstream.streams.errors import (
    CoreFailed,
    Fenced,
    Halted,
    PartitionError,
    Recoverable,
    WorkerAtFault,
)
from spendstream.streams.health import Standing, standing
from spendstream.streams.losses import made_anew
from spendstream.streams.poison import (
    MAX_BALANCE,
    Condemned,
    PoisonSearch,
    RecordPlace,
    detail_of,
    where_of,
)
from spendstream.streams.recovery import Snapshot
from spendstream.streams.stream_task import Shared, StreamTask, recover_task, resume_task
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
        trouble: why it does not run, for people.
    """

    def __init__(
        self,
        partition: int,
        shared: Shared,
        inputs: Inputs,
        linger_s: float,
        kept: Snapshot | None = None,
    ) -> None:
        """
        Args:
            kept: what the last runner of the partition left, if that was in this process.
        """
        self.partition = partition
        self.ready = False
        self.committed: dict[str, int] = {}
        self.trouble: str | None = None
        self._committed_at = time.monotonic()
        self._shared = shared
        self._inputs = inputs
        self._linger_s = linger_s
        self._kept = kept
        self._merge = ArrivalMerge(partition, inputs)
        self._search = PoisonSearch()
        self._interruption: Recoverable | None = None
        self._left: Fetched | None = None  # of a batch that was cut
        self._task: StreamTask | None = None
        self._step: asyncio.Future[Any] | None = None
        self._log = structlog.get_logger(__name__).bind(partition=partition)
        self._life = asyncio.get_running_loop().create_task(self._run(), name=f"p{partition}")

    async def offer(self, batch: Fetched) -> None:
        """Take a fetched batch; one from before the last seek is dropped, it is read again."""
        await self._merge.offer(batch)

    def interrupt(self, error: Recoverable) -> None:
        """Recover before the next batch. For any thread."""
        self._interruption = error

    def compare_topics(self, epochs: Mapping[str, str]) -> None:
        """Recover where a topic is another by now: that says what was lost, if anything was.

        Args:
            epochs: the ids of losses.TOPICS, as they are now.
        """
        task = self._task
        if task is None or not self.ready:
            return
        others = made_anew(task.state.checkpoint, epochs)
        if others:
            self.interrupt(Recoverable(f"made anew: {', '.join(others)}"))
        elif task.plans is not self._shared.plans.now:
            self.interrupt(Recoverable(f"{CONTROL_PLANS} is read from its beginning again"))
        elif task.prices is not self._shared.prices.now:
            self.interrupt(Recoverable(f"{CONTROL_PRICES} is read from its beginning again"))

    async def stop(self) -> Snapshot | None:
        """Commit the open transaction, and leave what whoever comes next may go on with."""
        while not self._life.done():
            # again and again: `wait_for` of Python 3.11 swallows a cancel that comes together with
            # what it waits for, and a rebalance would wait for this runner for ever
            self._life.cancel()
            await asyncio.wait({self._life}, timeout=1.0)
        if self._step is not None:
            ended = await asyncio.gather(self._step, return_exceptions=True)
            if isinstance(ended[0], BaseException):
                self._drop()  # the next owner recovers, so why is nobody's business any more
        task, self._task = self._task, None
        self._drop()
        return await self._in_executor(task.release) if task is not None else None

    def standing(self, log_end: Callable[[str], int | None]) -> Standing:
        """How the partition stands; for any thread, and as old as the last fetch.

        Args:
            log_end: of an input: the next offset to be written.
        """
        task = self._task
        if task is not None:
            self._committed_at = max(self._committed_at, task.committed_at)
        return standing(
            self.partition,
            None if self.ready else self.trouble or "it is being recovered",
            time.monotonic() - self._committed_at,
            task.state.time_ms if task is not None else 0,
            {topic: (at, log_end(topic)) for topic, at in tuple(self.committed.items())},
        )

    async def _run(self) -> None:
        attempt = 0
        while True:
            try:
                task = await self._recover()
                while True:
                    await self._batch(task)
                    attempt = 0  # not sooner: a batch that fails each time waits longer each time
            except Fenced as error:
                self._log.warning("partition_fenced", error=str(error))
                metrics.fenced.inc()
                self.trouble = f"another worker has taken it over: {error}"
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
                self.trouble = f"it is halted, an operator must look: {error}"
                self._drop()
                self._search.start_over()
                await asyncio.sleep(_HALTED_RETRY_S)  # until an operator has acted; a look is cheap
            except CoreFailed as failed:
                self._core_failed(failed)
                self._drop()
                await asyncio.sleep(_RETRY_S[0])  # the search ends, so this need not grow
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
                self.trouble = f"it tries again after {type(error).__name__}: {error}"
                self._drop()
                await asyncio.sleep(wait)  # longer each time: the broker may be starting

    def _drop(self) -> None:
        self.ready = False
        self._inputs.pause(self.partition)
        self._merge.clear()
        self._left = self._interruption = None
        task, self._task = self._task, None
        if task is not None:
            self._shared.executor.submit(task.close)

    async def _recover(self) -> StreamTask:
        started = time.monotonic()
        self._inputs.pause(self.partition)
        kept = await self._resume()
        # one that waits for its turn holds no thread, and a rebalance need not wait for it
        task = kept or await self._read_again()
        self.ready, self.trouble = True, None
        self.committed = task.positions()
        self._search.recovered(self.committed)
        generation = await self._inputs.seek(self.partition, self.committed)
        self._merge.start(task.state, generation)
        metrics.recoveries.inc()
        metrics.recovery_seconds.observe(time.monotonic() - started)
        metrics.resumed.inc(kept is not None)
        batch = task.state.checkpoint.batch
        self._log.info("partition_runs", batch=batch, upto=self.committed, resumed=kept is not None)
        return task

    async def _resume(self) -> StreamTask | None:
        """Go on with what was kept, where it still stands; else nothing of it is left here."""
        kept, self._kept = self._kept, None
        return None if kept is None else await self._in_executor(self._resumed, kept)

    async def _read_again(self) -> StreamTask:
        async with self._shared.recovering:
            return await self._in_executor(self._recovered)

    # both noted in the thread: who is cancelled meanwhile does not get what they return

    def _resumed(self, kept: Snapshot) -> StreamTask | None:
        self._task = resume_task(self.partition, self._shared, kept)
        return self._task

    def _recovered(self) -> StreamTask:
        self._task = recover_task(self.partition, self._shared)
        return self._task

    async def _batch(self, task: StreamTask) -> None:
        """Wait for records or for something to be due, and commit one transaction."""
        search = self._search
        first = await self._next(_TICK_S)
        if first is None:
            await self._idle(task)
            return
        if search.condemned is not None:
            await self._bury(task, first, search.condemned)
            return
        await self._take(task, first)
        deadline = time.monotonic() + self._linger_s
        most = search.stretch or MAX_EVENTS
        while task.events < most and (left := deadline - time.monotonic()) > 0:
            more = await self._next(left)
            if more is not None:
                await self._take(task, more)
        records = task.events
        await self._in_executor(task.commit)
        self.committed = task.positions()
        search.committed(self.committed, records)

    async def _next(self, timeout_s: float) -> Fetched | None:
        if self._interruption is not None:
            raise self._interruption
        left, self._left = self._left, None
        return left if left is not None else await self._merge.next(timeout_s)

    async def _take(self, task: StreamTask, fetched: Fetched) -> None:
        if self._search.stretch is not None:
            fetched = self._cut(fetched, self._search.stretch - task.events)
        await self._in_executor(task.take, fetched)

    def _cut(self, fetched: Fetched, most: int) -> Fetched:
        """The first records of a batch; the others are what comes next."""
        if len(fetched.records) > most:
            self._left = fetched._replace(records=fetched.records[most:])
            fetched = fetched._replace(records=fetched.records[:most])
        return fetched

    def _core_failed(self, failed: CoreFailed) -> None:
        cause = failed.__cause__
        assert cause is not None
        metrics.errors.labels(type(cause).__name__).inc()
        self.trouble = f"the record that the core fails on is searched for ({type(cause).__name__})"
        first = RecordPlace(failed.topic, failed.offset)
        self._search.failed(failed.taken, failed.before, first, detail_of(cause))
        self._log.warning(
            "core_failed",
            error=str(failed),
            kind=type(cause).__name__,
            where=where_of(cause),
            tries_next=self._search.stretch,
        )

    async def _bury(self, task: StreamTask, fetched: Fetched, condemned: Condemned) -> None:
        """Send the condemned record, on which the core failed alone, to `usage.dead`.

        Raises:
            WorkerAtFault: the core fails on nearly everything, or without the record, too.
        """
        one = self._cut(fetched, 1)
        place = RecordPlace(one.topic, one.records[0].offset)
        if place != condemned.place:
            self._search.start_over()
            raise Recoverable(f"read {place} where {condemned.place} was: looked for anew")
        if self._search.worker_at_fault:
            raise WorkerAtFault(
                f"the core failed on {MAX_BALANCE} more records than it could process: it is the"
                f" worker that is at fault. They are in usage.dead as processing_failed, with the"
                f" traceback; {place.topic}, offset {place.offset}, and what follows was not"
                " touched. Run a version of the worker that can process them"
            )
        await self._in_executor(task.bury, one, condemned)
        self.committed = task.positions()
        self._search.buried(self.committed)
        metrics.poison.inc()
        self._log.error(
            "record_dead_lettered",
            topic=place.topic,
            offset=place.offset,
            reason=Reason.PROCESSING_FAILED,
            advice="a fault of the worker: its traceback is the letter's detail in usage.dead",
        )

    async def _idle(self, task: StreamTask) -> None:
        """With both inputs at their end, time follows the clock, and what is due is done."""
        state = task.state
        now_ms = int(time.time() * 1_000) - CLOCK_LAG_MS
        quiet_s = time.monotonic() - task.committed_at
        due = bool(state.due) and state.due[0][0] <= now_ms
        woken = state.plan_revision != task.plans.table.revision or task.prices_wait
        if not (due or woken or quiet_s >= 1.0):
            return
        ends = await self._inputs.ends(self.partition)
        if ends is None:
            return
        # what has arrived since the broker was last asked is still to come
        now_ms = min(end.as_of_ms for end in ends.values()) - CLOCK_LAG_MS
        due = bool(state.due) and state.due[0][0] <= now_ms
        inputs = state.checkpoint.inputs
        if any(inputs[topic].upto < end.handed_out for topic, end in ends.items()):
            return  # a batch is on its way here: were the position taken, a crash would lose it
        behind = any(inputs[topic].upto < end.position for topic, end in ends.items())
        if due or woken or behind or quiet_s >= HEARTBEAT_S:
            positions = {topic: end.position for topic, end in ends.items()}
            await self._in_executor(task.pass_time, positions, now_ms)
            self.committed = task.positions()
            self._search.committed(self.committed, 0)

    async def _in_executor(self, step: Callable[..., T], *args: Any) -> T:
        future = asyncio.get_running_loop().run_in_executor(self._shared.executor, step, *args)
        self._step = future
        try:
            # A cancelled runner lets its step end (see `stop`): a thread cannot be interrupted
            return await asyncio.shield(future)
        finally:
            # an error that the step has raised holds this frame: with `future` in it, it would hold
            # itself, and the partition's whole state until somebody collects cycles
            del future

"""A recovered partition and its transactions; what Kafka Streams calls a task.

Everything here blocks (the core, librdkafka), so the runner calls it in a thread, one step at a
time. After an error neither the state nor the transaction may be used any more: close, recover.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from confluent_kafka import KafkaException
from msgspec.structs import astuple

from spendstream.schemas.prices.book import PriceBook
from spendstream.schemas.topics import (
    CONTROL_PLANS,
    CONTROL_PRICES,
    WORKSPACE_CHECKPOINT,
    WORKSPACE_COMMANDS,
    WORKSPACE_IDS,
    WORKSPACE_STATE,
)
from spendstream.streams import garbage, metrics
from spendstream.streams.condemned import condemn
from spendstream.streams.control_follower import Followed, PlansFollower, PricesFollower
from spendstream.streams.core.finish import finish
from spendstream.streams.core.ids import REMEMBER_MS, Tag, pack
from spendstream.streams.core.outputs import Batch
from spendstream.streams.core.plans import PlanTable
from spendstream.streams.core.price_table import PriceTable
from spendstream.streams.core.process import process
from spendstream.streams.core.schedule import advance
from spendstream.streams.core.state import (
    CHECKPOINT_KEY,
    Checkpoint,
    InputPosition,
    encode_json,
)
from spendstream.streams.errors import CoreFailed, Halted, PartitionError, WorkerAtFault
from spendstream.streams.losses import TOPICS
from spendstream.streams.poison import Condemned, RecordPlace
from spendstream.streams.reading import LogReader, topic_ids
from spendstream.streams.recovery import Snapshot, recover, still_stands
from spendstream.streams.topics_check import check_topics
from spendstream.streams.transactions import PartitionProducer
from spendstream.streams.transport import Fetched

CLOCK_SLACK_MS: Final = 300_000
"""The broker's clock may be this far ahead of the worker's; a later time stamp is not believed."""
_NO_RECORDS_FAULT: Final = (PartitionError, KafkaException, BufferError, MemoryError, OSError)
_IDS_SLACK_MS: Final = 60_000  # ids are forgotten by the whole minute
_CONTROL_TIMEOUT_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class Shared:
    """What all partitions of a worker use."""

    bootstrap_servers: str
    group: str
    partitions: int
    plans: PlansFollower
    prices: PricesFollower
    executor: Executor
    session_timeout_s: float
    recovering: asyncio.Semaphore
    """Held while a state is read from the log: those that were all read at once would all be ready
    last, because they share one interpreter."""


class StreamTask:
    """State, producer and the transaction in the making.

    Attributes:
        plans, prices: those of the topics that it recovered with, also once they are made anew.
        events: records in the transaction in the making.
        committed_at: of the last commit, by the monotonic clock, in seconds.
    """

    def __init__(
        self,
        partition: int,
        shared: Shared,
        snapshot: Snapshot,
        producer: PartitionProducer,
        plans: Followed[PlanTable],
        prices: Followed[PriceTable],
    ) -> None:
        self.state = snapshot.state
        self.plans = plans
        self.prices = prices
        self.events = 0
        self.committed_at = time.monotonic()
        self._partition = partition
        self._shared = shared
        self._producer = producer
        self._ids_log = snapshot.ids_log
        self._checkpoint_at = snapshot.checkpoint_at
        self._batch: Batch | None = None
        self._began = 0.0
        self._tally = metrics.Tally(self.state.checkpoint)
        self._book = self._committed_book()
        self._first: RecordPlace | None = None  # of the transaction in the making

    def positions(self) -> dict[str, int]:
        """Next offset of each input; between transactions those of the checkpoint."""
        return {topic: p.upto for topic, p in self.state.checkpoint.inputs.items()}

    @property
    def prices_wait(self) -> bool:
        """Whether there are prices that the next commit brings into force."""
        table, committed = self.prices.table, self.state.checkpoint.control[CONTROL_PRICES].upto
        return table.records(self.prices.position) != table.records(committed)

    def take(self, fetched: Fetched) -> None:
        """Run records through the core; the rows go out while more records are awaited.

        Raises:
            CoreFailed: on one of the records, or on one before.
            PartitionError: the transaction is lost.
        """
        batch = self._begin() if self._batch is None else self._batch
        records = fetched.records
        if self._first is None:
            self._first = RecordPlace(fetched.topic, records[0].offset)
        with self._blaming(fetched):
            process(
                self.state,
                batch,
                fetched.topic,
                records,
                self._book,
                self.plans.table,
                int(time.time() * 1_000) + CLOCK_SLACK_MS,
            )
        self.events += len(records)
        self._send_rows(batch)

    def bury(self, fetched: Fetched, condemned: Condemned) -> None:
        """Commit a batch that holds one record, as a dead letter.

        Raises:
            WorkerAtFault: the core fails without the record, too.
            PartitionError: nothing of it may be believed.
        """
        (record,) = fetched.records
        batch = self._begin()
        plans, latest_ms = self.plans.table, int(time.time() * 1_000) + CLOCK_SLACK_MS
        self._first = condemned.place
        try:
            with self._blaming(fetched):
                topic, detail = fetched.topic, condemned.detail
                condemn(self.state, batch, topic, record, plans, latest_ms, detail)
            self.events = 1
            self._send_rows(batch)
            self.commit()
        except CoreFailed as failed:
            raise WorkerAtFault(
                f"{record.topic}, offset {record.offset}: the core fails even without what this"
                " record says, so that it is not the record's fault. Nothing was skipped. Run a"
                " version of the worker that does not fail here: the log says where it does"
            ) from failed.__cause__

    def pass_time(self, ends: dict[str, int], now_ms: int) -> None:
        """Commit a batch without records: the clock, what is due, a heartbeat.

        Args:
            ends: next offset of each input at its end.
            now_ms: partition time follows it, but never back.

        Raises:
            PartitionError: nothing of it may be believed.
        """
        batch = self._begin()
        state = self.state
        for topic, end in ends.items():
            position = state.checkpoint.inputs[topic]
            position.upto = max(position.upto, end)  # past markers of transactions
        advance(state, batch, self.plans.table, max(now_ms, state.time_ms))
        state.ids.forget(state.time_ms)
        self._send_rows(batch)
        self.commit()

    def commit(self) -> None:
        """Close the batch and commit it, checkpoint last.

        Raises:
            PartitionError: nothing of it may be believed.
        """
        started = time.monotonic()
        batch = self._batch
        assert batch is not None
        producer, checkpoint, ids_log = self._producer, self.state.checkpoint, self._ids_log
        ids_offset: list[int] = []
        checkpoint_offset: list[int] = []
        if batch.digests:
            tag = Tag(checkpoint.era, checkpoint.upto, checkpoint.time_ms)
            ids = pack(tag, batch.digests)
            producer.send_to(WORKSPACE_IDS, self._partition, None, ids, ids_offset.append)
        while ids_log and ids_log[0][0] + REMEMBER_MS + _IDS_SLACK_MS <= checkpoint.time_ms:
            checkpoint.ids_from = ids_log.popleft()[1] + 1
        if ids_log:
            checkpoint.ids_from, checkpoint.ids_upto = ids_log[0][1], ids_log[-1][1] + 1
        checkpoint.control[CONTROL_PLANS].upto = self.plans.position
        checkpoint.control[CONTROL_PRICES].upto = self.prices.position
        with self._blaming(None):
            closing = finish(self.state, batch)
        producer.send(WORKSPACE_STATE, closing.state)
        *changed, (key, last) = closing.checkpoint
        producer.send(WORKSPACE_CHECKPOINT, changed)
        producer.send_to(WORKSPACE_CHECKPOINT, self._partition, key, last, checkpoint_offset.append)
        producer.commit()
        self._book = self._committed_book()
        self._checkpoint_at = checkpoint_offset[-1]
        ids_log.extend((checkpoint.time_ms, offset) for offset in ids_offset)
        self._batch, self._first, self.events = None, None, 0
        self.committed_at = time.monotonic()
        self._tally.committed(checkpoint, batch, self.committed_at - self._began)
        metrics.commit_seconds.observe(self.committed_at - started)

    def close(self) -> None:
        """Abort what is open; the object is of no more use."""
        self._producer.close()

    def release(self) -> Snapshot | None:
        """Commit what is open and let go of the partition; what is in memory then is the log's.

        Only after steps that went well. None: the commit failed, and nothing may be believed.
        """
        try:
            if self._batch is not None:
                self.commit()
        except Exception:
            return None  # whatever it was: nobody waits for this any more, the next owner recovers
        finally:
            self.close()
        return Snapshot(self.state, self._ids_log, self._checkpoint_at)

    def _committed_book(self) -> PriceBook:
        """Of the prices that the last checkpoint names: what the next batch is priced by."""
        return self.prices.table.book(self.state.checkpoint.control[CONTROL_PRICES].upto)

    def _begin(self) -> Batch:
        self._producer.begin()
        self._began = time.monotonic()
        self._batch = Batch()
        return self._batch

    @contextmanager
    def _blaming(self, fetched: Fetched | None) -> Iterator[None]:
        """Around the core, and nothing else: what it raises may be the fault of a record.

        Args:
            fetched: what it is taking; None: it is closing the batch.
        """
        try:
            yield
        except _NO_RECORDS_FAULT:
            raise
        except Exception as error:
            if self._first is None:
                raise  # a batch without records
            taken, before = self.events, None
            if fetched is not None:
                upto = self.state.checkpoint.inputs[fetched.topic].upto
                before = taken + sum(record.offset < upto for record in fetched.records)
                taken += len(fetched.records)
            raise CoreFailed(taken, before, *self._first) from error

    def _send_rows(self, batch: Batch) -> None:
        producer = self._producer
        for topic, rows in batch.rows.items():
            if rows:
                producer.send(topic, rows)
                rows.clear()
        for home, key, value in batch.forwarded:
            producer.send_to(WORKSPACE_COMMANDS, home, key, value)
        batch.forwarded.clear()


def _write_first(producer: PartitionProducer, checkpoint: Checkpoint) -> None:
    """A partition's first checkpoint, before anything that would need one (check_first_start)."""
    checkpoint.batch = 1
    _write(producer, checkpoint)


def _write(producer: PartitionProducer, checkpoint: Checkpoint) -> None:
    producer.begin()
    producer.send(WORKSPACE_CHECKPOINT, [(CHECKPOINT_KEY, encode_json(checkpoint))])
    producer.commit()


def recover_task(partition: int, shared: Shared) -> StreamTask:
    """Fence every other owner of the partition, and restore what the last commit left.

    Raises:
        PartitionError: named by what to do next.
    """
    with _owning(partition, shared) as (producer, reader, epochs):
        with garbage.building():
            snapshot = recover(reader, partition, shared.partitions, epochs)
        return _begun(partition, shared, snapshot, producer, epochs)


def resume_task(partition: int, shared: Shared, kept: Snapshot) -> StreamTask | None:
    """As `recover_task`, with what was kept from before a rebalance.

    None: it does not stand any more, because another worker has committed since.
    """
    with _owning(partition, shared) as (producer, reader, epochs):
        if not still_stands(reader, kept, partition, epochs):
            producer.close()
            return None
        return _begun(partition, shared, kept, producer, epochs)


@contextmanager
def _owning(
    partition: int, shared: Shared
) -> Iterator[tuple[PartitionProducer, LogReader, dict[str, str]]]:
    """Producer, reader and topic ids of the partition's owner; on an error nothing of it stays."""
    check_topics(shared.bootstrap_servers, shared.partitions)
    producer = PartitionProducer(shared.bootstrap_servers, shared.group, partition)
    try:
        reader = LogReader(shared.bootstrap_servers)
        try:
            yield producer, reader, topic_ids(shared.bootstrap_servers, TOPICS)
        finally:
            reader.close()
    except Halted as halted:
        try:
            if halted.note is not None:
                _write(producer, halted.note)
        finally:
            producer.close()
        raise
    except BaseException:  # whatever it was, the producer's threads must not outlive it
        producer.close()
        raise


def _begun(
    partition: int,
    shared: Shared,
    snapshot: Snapshot,
    producer: PartitionProducer,
    epochs: dict[str, str],
) -> StreamTask:
    """The task, once plans and prices are known, and its first checkpoint is written where it has
    none."""
    checkpoint = snapshot.state.checkpoint
    plans_known = checkpoint.control.get(CONTROL_PLANS, InputPosition())
    plans = shared.plans.wait_for(epochs[CONTROL_PLANS], plans_known.upto, _CONTROL_TIMEOUT_S)
    checkpoint.control[CONTROL_PLANS] = InputPosition(epochs[CONTROL_PLANS], plans_known.upto)
    prices_known = checkpoint.control.get(CONTROL_PRICES, InputPosition())
    prices = shared.prices.wait_for(epochs[CONTROL_PRICES], prices_known.upto, _CONTROL_TIMEOUT_S)
    # without a batch before, or one that knew this topic, there is none to be done again
    new = not prices_known.epoch or _just_accepted(checkpoint, prices_known)
    upto = prices.position if new else prices_known.upto
    checkpoint.control[CONTROL_PRICES] = InputPosition(epochs[CONTROL_PRICES], upto)
    checkpoint.checkpoint_epoch = epochs[WORKSPACE_CHECKPOINT]
    if checkpoint.batch == 0:
        _write_first(producer, checkpoint)
    return StreamTask(partition, shared, snapshot, producer, plans, prices)


def _just_accepted(checkpoint: Checkpoint, prices: InputPosition) -> bool:
    """Whether the position is where an operator let it go on, and no batch has moved it since."""
    return any(
        (moved.topic, moved.to_epoch, moved.to_offset) == (CONTROL_PRICES, *astuple(prices))
        for accepted in checkpoint.accepted
        for moved in accepted.moved
    )

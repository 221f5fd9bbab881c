"""Batched Faust transport: the agent gets one message per fetched partition batch.

Faust spends ~100 µs on each message it delivers, mostly in two asyncio tasks. Here a message is
the list of records that one fetch returned for a partition, so that this is paid once a batch.

What a batch was read after is known by its *seek generation*: seeking and handing out records both
happen on the consumer's own thread, so a batch from before a seek always carries an older number.
Offset arithmetic could not tell, as transactions and compaction leave holes.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Set
from typing import Any, NamedTuple, Protocol, cast

import aiokafka
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError
from faust import Schema
from faust.transport.drivers.aiokafka import (
    AIOKafkaConsumerThread,
    Consumer,
    Transport,
    server_list,
)
from faust.types import TP, AppT, Message

from spendstream.streams import tolerant_reader
from spendstream.streams.refusals import RETRY_S, Refusals, Refused

FETCH_MIN_BYTES = 1_048_576
FETCH_MAX_WAIT_MS = 50


class Fetched(NamedTuple):
    """Records of one partition, in offset order, as aiokafka made them."""

    topic: str
    partition: int
    generation: int
    records: list[Any]


class End(NamedTuple):
    """A reader at the end of what is committed.

    Attributes:
        position: past all markers of transactions.
        handed_out: the next offset after the last record that it handed out.
        as_of_ms: when the broker last said that this is the end, by the worker's clock.
    """

    position: int
    handed_out: int
    as_of_ms: int


class Assignment(Protocol):
    """What the transport asks of the engine, and tells it."""

    async def assigned(self, partitions: set[TP]) -> None:
        """The group's new assignment stands; take what is ours."""

    def committed(self, tp: TP) -> int | None:
        """Next offset by the last committed checkpoint; None where it is not known here."""

    def out_of_range(self, tp: TP, offset: int) -> None:
        """The log does not hold what is next to be read. On the consumer's thread."""


class BatchSchema(Schema[Any, Any]):
    """Hands the message's value on as it is: decoding is the core's work."""

    def loads_key(self, app: AppT, message: Message, **kwargs: Any) -> Any:
        return None

    def loads_value(self, app: AppT, message: Message, **kwargs: Any) -> Any:
        return message.value


class _InformativeCommits(aiokafka.AIOKafkaConsumer):  # type: ignore[misc]
    """Faust ends the worker where the group's offsets, which are informative here, are refused."""

    def __init__(self, refusals: Refusals, **settings: Any) -> None:
        super().__init__(**settings)
        self._refusals = refusals

    async def commit(self, offsets: Any = None) -> None:
        try:
            await super().commit(offsets)
        except Refused as error:
            self._refusals.note(error)


class BatchedConsumerThread(AIOKafkaConsumerThread):
    """Fetches committed records in large batches, and stamps them with the seek generation."""

    app: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        self._generations: dict[TP, int] = defaultdict(int)
        self._handed_out: dict[TP, int] = {}
        self.refusals = Refusals()

    async def on_start(self) -> None:
        await super().on_start()
        # ends with the thread's loop
        self._heeding = asyncio.create_task(self._heed_the_group())

    async def _heed_the_group(self) -> None:
        """Take from the group's coordinator what it wants somebody to know before it goes on."""
        while True:
            await asyncio.sleep(RETRY_S)
            coordinator = self._ensure_consumer()._coordinator
            try:
                coordinator.check_errors()
            except Refused as error:
                self.refusals.note(error)
                coordinator.request_rejoin()  # its heartbeats have ended
            except Exception as error:  # as what a fetch raises: a new process may fare better
                await self.crash(error)
                return

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        conf = self.app.conf
        tolerant_reader.install()
        # Faust sets `_assignor` here and hard-codes a fetch wait of 1.5 s
        self._assignor = self.app.assignor
        return _InformativeCommits(
            self.refusals,
            client_id=conf.broker_client_id,
            group_id=conf.id,
            bootstrap_servers=server_list(transport.url, transport.default_port),
            partition_assignment_strategy=[self._assignor],
            enable_auto_commit=False,
            auto_offset_reset="none",  # that would skip in silence
            max_poll_records=conf.broker_max_poll_records,
            max_poll_interval_ms=int(conf.broker_max_poll_interval * 1000),
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            fetch_min_bytes=FETCH_MIN_BYTES,
            fetch_max_wait_ms=FETCH_MAX_WAIT_MS,
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            metadata_max_age_ms=conf.consumer_metadata_max_age_ms,
            isolation_level="read_committed",
        )

    async def _fetch_records(  # type: ignore[override]
        self, *args: Any, **kwargs: Any
    ) -> dict[TP, Fetched]:
        # Runs on the consumer's thread, as `seek_all` does; nothing is awaited after the records
        # were taken, so no seek can come between them and their number.
        try:
            records = await super()._fetch_records(*args, **kwargs)
        except Refused as error:
            self.refusals.note(error)
            await asyncio.sleep(RETRY_S)
            return {}
        except OffsetOutOfRangeError as error:
            for tp, offset in error.args[0].items():
                self.app.engine.out_of_range(TP(tp.topic, tp.partition), offset)
            await asyncio.sleep(RETRY_S)
            return {}
        except NoOffsetForPartitionError:
            return {}  # from before the partition's first seek
        for tp, batch in records.items():
            self._handed_out[tp] = batch[-1].offset + 1
        return {
            tp: Fetched(tp.topic, tp.partition, self._generations[tp], batch)
            for tp, batch in records.items()
        }

    async def seek_all(self, offsets: Mapping[TP, int]) -> int:
        """Seek, and return the generation that batches from there on carry."""
        generation: int = await self.call_thread(self._seek_all, offsets)
        return generation

    async def _seek_all(self, offsets: Mapping[TP, int]) -> int:
        consumer = self._ensure_consumer()
        generation = 1 + max(self._generations[tp] for tp in offsets)
        for tp, offset in offsets.items():
            consumer.seek(tp, offset)
            self._generations[tp] = generation
            self._handed_out[tp] = offset
        return generation

    async def ends(self, tps: Set[TP]) -> dict[TP, End] | None:
        """Where all stand, if all have reached the end of what is committed, else None.

        Asked on the consumer's thread: elsewhere the position might already be past records whose
        batch is still on its way, and nothing would tell.
        """
        ends: dict[TP, End] | None = await self.call_thread(self._ends, tps)
        return ends

    async def _ends(self, tps: Set[TP]) -> dict[TP, End] | None:
        subscription = self._ensure_consumer()._subscription.subscription
        assignment = subscription.assignment if subscription is not None else None
        ends: dict[TP, End] = {}
        for tp in tps:
            if assignment is None or tp not in assignment.tps:
                return None
            state = assignment.state_value(tp)
            if not state.has_valid_position or state.lso is None or state.position < state.lso:
                return None
            if state.timestamp is None:
                return None
            if self.refusals.since_fetched(tp.topic, state.timestamp):
                return None  # there may be more by now: it cannot be seen
            ends[tp] = End(int(state.position), self._handed_out.get(tp, 0), int(state.timestamp))
        return ends

    def log_end(self, tp: TP) -> int | None:
        """The next offset to be written, as the last fetch knew it. For any thread."""
        subscription = self._ensure_consumer()._subscription.subscription
        assignment = subscription.assignment if subscription is not None else None
        if assignment is None or tp not in assignment.tps:
            return None
        end: int | None = assignment.state_value(tp).highwater
        return end

    def rejoin(self) -> None:
        """Ask the group for a new assignment."""
        coordinator = self._ensure_consumer()._coordinator
        self.thread_loop.call_soon_threadsafe(coordinator.request_rejoin)


class BatchedConsumer(Consumer):
    """Faust's consumer, with batches for messages and our checkpoint for offsets."""

    app: Any
    _thread: BatchedConsumerThread

    def _new_consumer_thread(self) -> BatchedConsumerThread:
        return BatchedConsumerThread(self, loop=self.loop, beacon=self.beacon)

    @property
    def engine(self) -> Assignment:
        engine: Assignment = self.app.engine
        return engine

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:
        waited: Any = await self._wait_next_records(timeout)
        fetched, active = waited
        generation_id = self.app.consumer_generation_id
        # Without flow, the base would seek here: in the middle of a rebalance, by the assignment
        # that is ending, and the next one would then begin at the group's offsets, which are old.
        if fetched is None or self.should_stop or not self.flow_active:
            return
        for tp, batch in fetched.items():
            stopped: bool = not self.flow_active  # other tasks change it meanwhile
            if stopped or self.app.consumer_generation_id != generation_id:
                return  # a rebalance has begun: whoever gets the partition reads this again
            if tp in active or tp in self._buffered_partitions:
                yield tp, self._message(tp, batch)

    def _message(self, tp: TP, batch: Fetched) -> Message:
        message: Any = self._to_message(tp, batch.records[-1])
        message.value = batch
        return cast(Message, message)

    async def perform_seek(self) -> None:
        # Runs after the join, so that heartbeats go on while partitions recover
        await self.engine.assigned(self.assignment())

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Gaps between offsets mean nothing here."""

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return iter(list(self.assignment()))

    def _new_offset(self, tp: TP) -> int | None:
        # Only what is committed is told to the group, where it is informative: lag, autoscaling
        self._acked.pop(tp, None)
        return self.engine.committed(tp)

    async def seek_all(self, offsets: Mapping[TP, int]) -> int:
        generation = await self._thread.seek_all(offsets)
        for tp in offsets:
            self._read_offset[tp] = None
        return generation

    async def ends(self, tps: Set[TP]) -> dict[TP, End] | None:
        return await self._thread.ends(tps)

    def log_end(self, tp: TP) -> int | None:
        return self._thread.log_end(tp)

    def rejoin(self) -> None:
        self._thread.rejoin()

    def missing_rights(self) -> list[str]:
        """What Kafka does not let this worker read, in plain words. For any thread."""
        return self._thread.refusals.lasting()


class BatchedTransport(Transport):
    """Set as `app.transport`."""

    Consumer = BatchedConsumer

"""The consumer group's side of the loader: who has which partitions, and one thread that polls.

Everything that waits happens in the lanes' threads, so the poll goes on whatever ClickHouse does
and the group never takes this member for dead. A partition is read only once its lane is open.
"""

from __future__ import annotations

import concurrent.futures
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from spendstream.schemas.kafka_advice import with_advice
from spendstream.schemas.topics import CONTROL, WORKSPACE_CHECKPOINT
from spendstream.sinks.clickhouse import health, metrics
from spendstream.sinks.clickhouse.config import LoaderConfig
from spendstream.sinks.clickhouse.errors import ConfigError, Expired, LoaderError, Lost, Stop
from spendstream.sinks.clickhouse.lag import Lag, Place
from spendstream.sinks.clickhouse.lane import Lane
from spendstream.sinks.clickhouse.loading import Flush
from spendstream.sinks.clickhouse.pace import Pace
from spendstream.sinks.clickhouse.refusals import REFUSED, Refusals
from spendstream.sinks.clickhouse.store import Store
from spendstream.sinks.clickhouse.tables import TABLES

POLL_SECONDS: Final = 0.02
POLL_RECORDS: Final = 5_000
GIVE_AWAY_SECONDS: Final = 5.0
"""How long a rebalance waits for what is under way. What is not finished is done again by the
next owner, under the same token."""
QUIET_SECONDS: Final = 1.0

_log = structlog.get_logger("spendstream.sinks")

_EXPIRED: Final = (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)


@dataclass(slots=True)
class _Running:
    """A lane, the thread it has, and what that does now."""

    lane: Lane
    topics: tuple[str, ...]
    thread: concurrent.futures.ThreadPoolExecutor
    opening: concurrent.futures.Future[dict[str, int]] | None
    starts: dict[str, int] | None = None
    loading: concurrent.futures.Future[None] | None = None
    flush: Flush = field(default_factory=Flush)
    reading: bool = False
    paused: set[str] = field(default_factory=set)
    stopped: Stop | None = None
    since: float = field(default_factory=time.monotonic)
    """When `opening` or `loading` began."""

    @property
    def busy(self) -> bool:
        return self.opening is not None or self.starts is not None or self.loading is not None


class Group:
    """One member of the loaders' consumer group."""

    def __init__(self, config: LoaderConfig, store: Store) -> None:
        self._config = config
        self._store = store
        self._topics = [*TABLES]
        if config.mirror:
            self._topics += [WORKSPACE_CHECKPOINT, *CONTROL]
        self._lanes: dict[int, _Running] = {}
        self._pace = Pace()
        self._at_end: set[tuple[str, int]] = set()
        self._last_record = 0.0
        self._rejoin = False
        self._refusals = Refusals(config.group, config.session_timeout_s)
        self._let_go: dict[int, str] = {}  # why a partition was lost, until one is loaded
        self._lag = Lag()
        self._joined = False
        self._polled = time.monotonic()
        self._consumer = Consumer(
            {
                # by partition numbers: those of equally sized topics stay on one member
                "session.timeout.ms": round(config.session_timeout_s * 1_000),
                "max.poll.interval.ms": 300_000,
                # rows gather for longer than this anyway; a fetch for each commit would keep the
                # broker busy
                "fetch.wait.max.ms": 100,
                "fetch.min.bytes": 1_048_576,
                # behind, a fetch for each megabyte would be what a loader waits for
                "max.partition.fetch.bytes": 4_194_304,
                "queued.max.messages.kbytes": 65_536,
                "topic.metadata.refresh.interval.ms": 5_000,
                **config.client_settings(),
                "group.id": config.group,
                "partition.assignment.strategy": "range",
                "isolation.level": "read_committed",
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                # for lag and autoscaling only: sink.positions decides where to read on
                "enable.auto.commit": True,
                "enable.auto.offset.store": False,
            }
        )

    # ----------------------------------------------------------------------------- the loop

    def join(self) -> None:
        self._consumer.subscribe(
            self._topics, on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._taken
        )

    def turn(self, draining: bool = False) -> None:
        """Poll once, then give every lane what it can do next. Raises Stop when all stopped."""
        self._take(self._consumer.consume(POLL_RECORDS, POLL_SECONDS))
        self._polled = time.monotonic()
        self._ask_again()
        self._lag.measure(self._polled, self._log_ends, self._all_loaded)
        turn = self._whose_turn()
        for number, running in self._lanes.items():
            self._advance(running, draining or number == turn)
        if self._rejoin:
            self._rejoin = False
            self._consumer.unsubscribe()
            self.join()
        stopped = [running.stopped for running in self._lanes.values() if running.stopped]
        if stopped and len(stopped) == len(self._lanes):
            raise stopped[0]

    def health(self) -> tuple[list[str], dict[str, int]]:
        """Why the loader is not well (empty: it is), and figures beside it. For any thread."""
        now = time.monotonic()
        standings = [
            health.Standing(
                number,
                running.reading,
                str(running.stopped) if running.stopped is not None else None,
                now - running.since if running.busy else 0.0,
                running.lane.failing,
                None if running.lane.idle else self._let_go.get(number),
            )
            for number, running in sorted(self._lanes.copy().items())
        ]
        found = health.reasons(standings, self._joined, now - self._polled)
        found += self._refusals.lasting()
        loading = sum(s.reading and s.stopped is None for s in standings)
        return found, {"assigned": len(standings), "running": loading}

    @property
    def ready(self) -> bool:
        """Every assigned partition is read, and no earlier run's intent waits."""
        running = [lane for lane in self._lanes.values() if not lane.stopped]
        return bool(running) and all(lane.reading and lane.lane.caught_up for lane in running)

    @property
    def drained(self) -> bool:
        """All that the topics hold is loaded, as far as it can be seen from here."""
        running = [lane for lane in self._lanes.values() if not lane.stopped]
        ends = {(topic, lane.lane.partition) for lane in running for topic in lane.topics}
        quiet = time.monotonic() - self._last_record >= QUIET_SECONDS
        return quiet and ends <= self._at_end and self.flushed

    @property
    def loaded(self) -> dict[int, dict[str, int]]:
        """Of each partition that is being loaded, and each topic: up to which seq it is stored."""
        return {
            number: running.lane.loaded
            for number, running in self._lanes.items()
            if running.reading and not running.stopped
        }

    @property
    def flushed(self) -> bool:
        """All that was read is loaded."""
        return not any(
            not lane.stopped and (lane.busy or not lane.lane.idle) for lane in self._lanes.values()
        )

    def stop_reading(self) -> None:
        self._consumer.pause(self._consumer.assignment())

    def leave(self) -> None:
        """Leave the group; what is under way gets GIVE_AWAY_SECONDS."""
        self._consumer.close()
        self._give_away([*self._lanes], ours=True)

    # ----------------------------------------------------------------------- what was polled

    def _take(self, messages: Sequence[Message]) -> None:
        """Hand the messages to their lanes, those of one topic and partition together."""
        runs: defaultdict[tuple[str | None, int | None], list[Message]] = defaultdict(list)
        for message in messages:
            error = message.error()
            if error is None:
                runs[message.topic(), message.partition()].append(message)
            else:  # what came before the end of a partition is taken before it
                self._hand_over(runs)
                runs.clear()
                self._note(message, error)
        self._hand_over(runs)

    def _hand_over(self, runs: Mapping[tuple[str | None, int | None], list[Message]]) -> None:
        now = time.monotonic()
        for (topic, partition), messages in runs.items():
            assert topic is not None
            assert partition is not None
            running = self._lanes.get(partition)
            if running is None or not running.reading or running.stopped:
                continue  # fetched before a rebalance or a seek
            self._last_record = now
            self._at_end.discard((topic, partition))
            self._refusals.over((topic, partition))
            self._lag.read((topic, partition), messages[0].timestamp()[1])
            try:
                running.lane.add(topic, messages, now)
            except Stop as stop:
                self._stop(running, stop)

    def _note(self, message: Message, error: KafkaError) -> None:
        topic, partition = message.topic() or "", message.partition()
        running = self._lanes.get(partition) if partition is not None else None
        if error.code() == KafkaError._PARTITION_EOF and partition is not None:
            self._at_end.add((topic, partition))
            self._refusals.over((topic, partition))
        elif error.code() in REFUSED:
            if partition is not None:
                self._at_end.discard((topic, partition))  # there may be more: it cannot be seen
            self._refusals.note((topic, partition), error, time.monotonic())
        elif error.code() in _EXPIRED and running is not None:
            lost = Expired(
                f"{topic}[{partition}] has lost what is next: {error}. Retention was faster than"
                " the sink, or the topic was made anew. Give it longer retention, restart the sink:"
                " it goes on from where the topic begins now, and names the rows that are missing"
            )
            self._stop(running, lost)
        elif error.fatal():
            raise KafkaException(error)
        else:
            said = with_advice(error.name(), error.str())
            _log.warning("Kafka reports", topic=topic, partition=partition, error=said)

    def _ask_again(self) -> None:
        if self._joined:
            self._refusals.still_joined(self._polled)
        for topic, number in self._refusals.to_ask(self._polled):
            running = self._lanes.get(number) if number is not None else None
            if running is not None and running.reading and topic not in running.paused:
                place = [TopicPartition(topic, running.lane.partition)]
                self._consumer.pause(place)
                self._consumer.resume(place)

    # ----------------------------------------------------------------------------- one lane

    def _whose_turn(self) -> int | None:
        """The lane that may insert what has lingered."""
        now = time.monotonic()
        lingered = now - self._config.linger_ms / 1000
        waiting = {
            number: running.lane.since
            for number, running in self._lanes.items()
            if running.reading
            and not running.stopped
            and not running.busy
            and running.lane.since is not None
            and running.lane.since <= lingered
        }
        return self._pace.turn(now, waiting)

    def _advance(self, running: _Running, lingered: bool) -> None:
        """`lingered`: load also what fills no insert."""
        try:
            self._collect(running)
            if running.starts is not None:
                self._start_reading(running, running.starts)
            elif running.reading and not running.stopped:
                if not running.busy:
                    running.flush = running.lane.take(lingered)
                    if running.flush:
                        running.since = time.monotonic()
                        running.loading = running.thread.submit(running.lane.load, running.flush)
                    else:
                        self._pace.ended(running.lane.partition, time.monotonic())
                self._limit(running)
        except Lost as lost:
            _log.warning("joining again", partition=running.lane.partition, why=str(lost))
            metrics.FENCED.inc()
            self._let_go[running.lane.partition] = str(lost)
            running.reading = False
            self._rejoin = True
        except Stop as stop:
            self._stop(running, stop)

    def _collect(self, running: _Running) -> None:
        """Take over what the lane's thread has finished. Raises what it raised."""
        if running.opening is not None and running.opening.done():
            opening, running.opening = running.opening, None
            running.starts = opening.result()
        if running.loading is not None and running.loading.done():
            loading, running.loading = running.loading, None
            self._pace.ended(running.lane.partition, time.monotonic())
            loading.result()
            self._let_go.pop(running.lane.partition, None)
            ends = running.lane.settle(running.flush)
            for work in running.flush.works:
                place = work.table.topic, running.lane.partition
                self._lag.loaded(place, work.intent.end, work.batch.oldest_ms)
            if ends:
                number = running.lane.partition
                self._store_offsets([TopicPartition(topic, number, end) for topic, end in ends])

    def _start_reading(self, running: _Running, starts: dict[str, int]) -> None:
        where = [TopicPartition(t, running.lane.partition, o) for t, o in starts.items()]
        try:
            for place in where:
                self._consumer.seek(place)
            self._consumer.resume(where)
        except KafkaException as error:
            if error.args[0].code() != KafkaError._STATE:
                raise
            return  # the assignment is not in force yet: next turn
        running.starts = None
        running.reading = True
        self._lag.begin(running.lane.partition, starts)
        _log.info("reading", partition=running.lane.partition, starts=starts)

    def _limit(self, running: _Running) -> None:
        """Read no further what is full, and go on with what is not any more."""
        number = running.lane.partition
        full = {topic for topic in running.topics if running.lane.full(topic)}
        if pause := full - running.paused:
            self._consumer.pause([TopicPartition(topic, number) for topic in pause])
        if resume := running.paused - full:
            self._consumer.resume([TopicPartition(topic, number) for topic in resume])
        running.paused = full

    def _stop(self, running: _Running, stop: Stop) -> None:
        number = running.lane.partition
        running.stopped = stop
        running.lane.given_up.set()
        metrics.STOPPED.labels(number).set(1)
        _log.error("partition stopped", partition=number, error=type(stop).__name__, why=str(stop))
        self._consumer.pause([TopicPartition(topic, number) for topic in running.topics])

    def _log_ends(self, place: Place) -> tuple[int, int]:
        """The log's first offset and the next one to be written, as the last fetch knew them."""
        try:
            ends = self._consumer.get_watermark_offsets(TopicPartition(*place), cached=True)
        except KafkaException:
            ends = None
        return ends if ends is not None else (-1, -1)

    def _all_loaded(self, place: Place) -> bool:
        running = self._lanes.get(place[1])
        return (
            running is not None
            and not running.stopped
            and place in self._at_end
            and not running.busy
            and running.lane.idle
        )

    def _store_offsets(self, offsets: list[TopicPartition]) -> None:
        try:
            self._consumer.store_offsets(offsets=offsets)
        except KafkaException as error:  # just revoked; it is informative anyway
            _log.info("offsets not stored", error=str(error.args[0]))

    # ---------------------------------------------------------------------------- rebalances

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        topics: dict[int, list[str]] = defaultdict(list)
        for place in partitions:
            topics[place.partition].append(place.topic)
        consumer.assign(
            [TopicPartition(p.topic, p.partition, OFFSET_BEGINNING) for p in partitions]
        )
        consumer.pause(partitions)
        self._at_end.clear()
        self._refusals.clear()
        for number, names in sorted(topics.items()):
            if missing := TABLES.keys() - set(names):
                raise ConfigError(
                    f"partition {number} comes without {', '.join(sorted(missing))}: the topics"
                    " must have the same number of partitions"
                )
            lane = Lane(self._config, self._store, number, names)
            thread = concurrent.futures.ThreadPoolExecutor(1, f"lane-{number}")
            opening = thread.submit(lane.open)
            self._lanes[number] = _Running(lane, tuple(names), thread, opening)
            metrics.STOPPED.labels(number).set(0)
        self._joined = True
        _log.info("assigned", partitions=sorted(topics))

    def _revoked(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self._give_away(sorted({place.partition for place in partitions}), ours=True)

    def _taken(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self._give_away(sorted({place.partition for place in partitions}), ours=False)

    def _give_away(self, numbers: Sequence[int], ours: bool) -> None:
        """Let go of lanes. While they are `ours`, finish what is under way and say so."""
        self._joined = False
        leaving = [self._lanes.pop(number) for number in numbers if number in self._lanes]
        under_way = [running.loading for running in leaving if running.loading is not None]
        if ours:
            concurrent.futures.wait(under_way, GIVE_AWAY_SECONDS)
        last: list[concurrent.futures.Future[None]] = []
        for running in leaving:
            if ours and running.reading and not running.stopped and self._finished(running):
                words = running.lane.last_words()
                if words:
                    last.append(running.thread.submit(running.lane.load, words))
        concurrent.futures.wait(last, GIVE_AWAY_SECONDS)
        for running in leaving:
            self._pace.ended(running.lane.partition, time.monotonic())
            self._lag.gone(running.lane.partition)
            running.lane.given_up.set()
            running.thread.shutdown(wait=False, cancel_futures=True)
        _log.info("given away", partitions=[running.lane.partition for running in leaving])

    def _finished(self, running: _Running) -> bool:
        """Whether nothing is under way any more, all of it done."""
        try:
            self._collect(running)
        except LoaderError:
            return False
        return not running.busy


def touch(path: Path) -> None:
    """Create the file that says ready."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()

"""A lane: one partition number of all topics, on its way into ClickHouse.

    read ──▶ batch ──▶ intent (sink.positions) ──▶ insert under its token ──▶ done, with the next

The main thread reads into the lane (`add`, `take`, `settle`), the lane's own thread does what
waits (loading.py). They share nothing but what they hand over.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Final

from confluent_kafka import Message

from spendstream.schemas.topics import (
    USAGE_ALERTS,
    USAGE_OVERAGE,
    USAGE_PRICED,
    WORKSPACE_CHECKPOINT,
)
from spendstream.sinks.clickhouse import metrics
from spendstream.sinks.clickhouse.config import LoaderConfig
from spendstream.sinks.clickhouse.errors import Gap
from spendstream.sinks.clickhouse.holdback import Held, HoldBack
from spendstream.sinks.clickhouse.intents import Intent
from spendstream.sinks.clickhouse.loading import Flush, Loading
from spendstream.sinks.clickhouse.store import Store
from spendstream.sinks.clickhouse.stream import Stream, Work

_DERIVED: Final = (USAGE_ALERTS, USAGE_OVERAGE)

DONE_SECONDS: Final = 2.0
"""Without new rows, this long after an insert its intent is marked done."""


class Lane:
    """One partition number. `topics` are those of its topics that were assigned."""

    def __init__(
        self, config: LoaderConfig, store: Store, partition: int, topics: Sequence[str]
    ) -> None:
        self.partition = partition
        self.since: float | None = None
        """When the oldest record that waits to be loaded came; monotonic seconds."""
        self._config = config
        self._store = store
        self._topics = tuple(topics)
        self._loading = Loading(config, store, partition)
        self._streams: dict[str, Stream] = {}
        self._held = HoldBack()
        self._control: dict[str, list[Held]] = {}
        self._settled_at = 0.0

    # ------------------------------------------------------------------ the lane's own thread

    def open(self) -> dict[str, int]:
        """Take the partition over; returns where to read each topic from.

        Raises Stop where ClickHouse and the intents contradict each other, and Lost.
        """
        self._streams, starts = self._loading.open(self._topics)
        return starts

    def load(self, flush: Flush) -> None:
        """Intents, inserts, mirrors: in this order. Raises Stop and Lost."""
        self._loading.load(flush)

    @property
    def given_up(self) -> threading.Event:
        """Once set, whatever waits ends with Lost."""
        return self._loading.given_up

    @property
    def failing(self) -> str | None:
        """What the last attempt of the lane's thread failed of, until one works."""
        return self._loading.failing

    # ------------------------------------------------------------------------ the main thread

    def add(self, topic: str, messages: Sequence[Message], now: float) -> None:
        """Take the next records of a topic, at `now` (monotonic seconds). Raises Stop."""
        if self.since is None:
            self.since = now
        stream = self._streams.get(topic)
        if stream is not None:
            try:
                stream.add(messages)
            except Gap:
                metrics.GAPS.labels(topic).inc()
                raise
            return
        for message in messages:
            key, value, offset = message.key(), message.value(), message.offset()
            assert offset is not None
            if topic == WORKSPACE_CHECKPOINT:
                self._held.add(key, value, offset)
            else:
                held = Held((key or b"").decode(), (value or b"").decode(), offset)
                self._control.setdefault(topic, []).append(held)

    def full(self, topic: str) -> bool:
        """Whether to read no more of the topic until the next `take`."""
        stream = self._streams.get(topic)
        return stream is not None and stream.full(self._config.max_rows)

    def take(self, lingered: bool) -> Flush:
        """What to load now: where it has not `lingered`, no rows until a batch is full."""
        now = time.monotonic()
        flush = Flush()
        full = any(stream.full(self._config.max_rows) for stream in self._streams.values())
        if lingered or full:
            self.since = None
            flush.works = self._take_works()
            flush.control, self._control = self._control, {}
            if not self.idle:  # behind a range that is inserted again there may be newer rows
                self.since = now
        flush.checkpoint = self._held.release(
            {topic: stream.seq for topic, stream in self._streams.items()}
        )
        if flush or now - self._settled_at >= DONE_SECONDS:
            flush.done = self._done(flush)
        return flush

    def _take_works(self) -> list[Work]:
        """What each topic has to insert; the priced rows first, as alerts and overage follow."""
        works: list[Work] = []
        for topic in sorted(self._streams, key=lambda name: name != USAGE_PRICED):
            stream = self._streams[topic]
            if topic in _DERIVED and self._ahead_of_rows(topic, works):
                continue
            work, repeats = stream.take(self._store.inserts_seen)
            metrics.REPEATS.labels(topic).inc(repeats)
            if work is not None:
                works.append(work)
        return works

    def _ahead_of_rows(self, topic: str, works: list[Work]) -> bool:
        """Whether it is too early for what follows from priced rows.

        Should the broker lose its memory now, the worker is rebuilt from the rows that are stored,
        and an alert on a row that is not among them would speak of spend that nobody knows.
        """
        stream = self._streams[topic]
        if not self._config.mirror or stream.reading_again:
            return False
        priced = works[0].intent.seq if works else self._streams[USAGE_PRICED].seq
        return stream.next_seq > self._held.reached(USAGE_PRICED, priced).get(topic, 0)

    def settle(self, flush: Flush) -> list[tuple[str, int]]:
        """The flush is in ClickHouse; returns the next offset of its topics."""
        self._settled_at = time.monotonic()
        for topic in flush.done:
            self._streams[topic].last = None
        for work in flush.works:
            stream = self._streams[work.table.topic]
            stream.seq = stream.complete = work.intent.seq
            stream.last = work.intent
            metrics.POSITION.labels(work.table.topic, self.partition).set(stream.seq)
        return [(work.table.topic, work.intent.end) for work in flush.works]

    def last_words(self) -> Flush:
        """All intents done: for a lane that is given away in order."""
        return Flush(done=self._done(Flush()))

    def _done(self, flush: Flush) -> dict[str, Intent]:
        """Intents that are in and that no new one of the flush replaces."""
        renewed = {work.table.topic for work in flush.works}
        return {
            topic: stream.last.finished()
            for topic, stream in self._streams.items()
            if stream.last is not None and not stream.reading_again and topic not in renewed
        }

    @property
    def loaded(self) -> dict[str, int]:
        """Up to which seq each topic is in ClickHouse, and in every view that is fed from it."""
        return {topic: stream.complete for topic, stream in self._streams.items()}

    @property
    def idle(self) -> bool:
        """Nothing waits to be loaded, as far as was read."""
        return not self._control and not any(s.rows for s in self._streams.values())

    @property
    def caught_up(self) -> bool:
        """Every intent of an earlier run is in."""
        return not any(stream.reading_again for stream in self._streams.values())

"""What a lane's own thread does: take the partition over, then intents, inserts and mirrors.

Everything in here may wait: for Kafka, for ClickHouse, for as long as it takes. It ends with Stop
where no waiting would help, and with Lost where the partition is somebody else's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

import structlog
from confluent_kafka import OFFSET_BEGINNING

from spendstream.schemas.topics import WORKSPACE_CHECKPOINT
from spendstream.sinks.clickhouse import metrics
from spendstream.sinks.clickhouse.config import LoaderConfig
from spendstream.sinks.clickhouse.epochs import Bounds, bounds, epochs
from spendstream.sinks.clickhouse.errors import Retry, Undecided
from spendstream.sinks.clickhouse.holdback import Held
from spendstream.sinks.clickhouse.intents import Intent
from spendstream.sinks.clickhouse.mirror import Mirror
from spendstream.sinks.clickhouse.positions import Positions
from spendstream.sinks.clickhouse.retry import until
from spendstream.sinks.clickhouse.store import Store, Stored
from spendstream.sinks.clickhouse.stream import Stream, Work
from spendstream.sinks.clickhouse.tables import TABLES, Table

T = TypeVar("T")

PROOF_SECONDS: Final = 20.0
"""An intent older than this is written again before its insert: a process that was asleep for
longer finds out there that it was replaced."""

_log = structlog.get_logger("spendstream.sinks")


@dataclass(slots=True)
class Flush:
    """What a lane hands to its thread in one go."""

    works: list[Work] = field(default_factory=list)
    done: dict[str, Intent] = field(default_factory=dict)
    checkpoint: list[Held] = field(default_factory=list)
    control: dict[str, list[Held]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.works or self.done or self.checkpoint or self.control)


class Loading:
    """One partition number's way into ClickHouse. `given_up` ends whatever waits, with Lost;
    `failing` is what the last attempt at something failed of, until one works."""

    def __init__(self, config: LoaderConfig, store: Store, partition: int) -> None:
        self.partition = partition
        self.given_up = threading.Event()
        self.failing: str | None = None
        self._config = config
        self._store = store
        self._positions = Positions(config, partition)
        self._mirror = Mirror(store, partition) if config.mirror else None
        self._proven_at = 0.0

    def open(self, topics: Sequence[str]) -> tuple[dict[str, Stream], dict[str, int]]:
        """Take the partition over; returns its streams, and where to read each topic from.

        Raises Stop where ClickHouse and the intents contradict each other, and Lost.
        """
        written = self._until("opening sink.positions", self._positions.open)
        self._proven_at = time.monotonic()
        ids = self._until("asking for topic ids", lambda: epochs(self._config, topics))
        logs = self._until(
            "asking where topics begin and end",
            lambda: bounds(self._config, topics, self.partition),
        )
        self._until("counting inserts", self._store.count_inserts)
        loaded = self._until("reading positions", lambda: self._store.positions(self.partition))
        mirror = self._mirror
        kept = self._until("reading the mirror", mirror.last_intents) if mirror else {}
        streams, starts = {}, {}
        for topic in topics:
            table = TABLES.get(topic)
            if table is not None:
                intent = written.get(topic) or kept.get(topic)
                stored = loaded.get(topic, Stored())
                stored.check_whole(topic, self.partition)
                streams[topic], starts[topic] = self._resume(
                    table, ids[topic], logs[topic], stored.seq, intent
                )
            elif topic == WORKSPACE_CHECKPOINT and mirror is not None:
                epoch = ids[topic]
                starts[topic] = self._until("reading the mirror", lambda: mirror.open(epoch))  # noqa: B023
            else:
                starts[topic] = OFFSET_BEGINNING
        return streams, starts

    def load(self, flush: Flush) -> None:
        """Intents, inserts, mirrors: in this order. Raises Stop and Lost."""
        entries = {w.table.topic: w.intent for w in flush.works if not w.again} | flush.done
        if entries:
            self._until("writing intents", lambda: self._prove(entries))
        for work in flush.works:
            self._insert(work)
        self._until("counting inserts", self._store.count_inserts)
        mirror = self._mirror
        if mirror is None:
            return
        for topic, records in flush.control.items():
            self._until("mirroring", lambda: mirror.control(topic, records))  # noqa: B023
        if flush.checkpoint:
            self._until("mirroring", lambda: mirror.checkpoint(flush.checkpoint))

    def _resume(
        self, table: Table, epoch: str, log: Bounds, stored: int, intent: Intent | None
    ) -> tuple[Stream, int]:
        """The topic's stream, from its last intent and from what ClickHouse has; where to read."""
        topic, partition = table.topic, self.partition
        pending = None
        start = OFFSET_BEGINNING
        if intent is not None:
            intent.check_stored(topic, partition, stored)
            needed = intent.end if intent.done else intent.start
            known = intent.belongs_to(epoch)
            # it has lost its end (an unclean leader election), or all that it held, with a disk
            cut_short = known and intent.end > log.end
            if not known or log.begin > needed or cut_short:
                stored = self._complete_views(table, intent, stored)
            else:
                start, pending = needed, None if intent.done else intent
            if known:
                epoch = f"{epoch}@{stored}" if cut_short else intent.epoch
        metrics.POSITION.labels(topic, partition).set(stored)
        return Stream(table, partition, epoch, stored, pending), start

    def _complete_views(self, table: Table, intent: Intent, stored: int) -> int:
        """An intent whose records are gone, with their topic or by retention, or whose end is: it
        cannot be read again, but its rows may be there.

        Returns the position after it. The position itself is one of the views, so it may lack rows
        that the raw table has: those are counted. Where they are not there either, the topic has
        them further on, or their seq is missed as a gap.
        """
        if intent.done or not intent.rows:
            return stored
        rows = self._until(
            "counting rows",
            lambda: self._store.count(table, self.partition, intent.seq_before, intent.seq),
        )
        if rows != intent.rows:
            return stored
        if self._trusts_token(intent):
            token = intent.token(table.topic, self.partition)
            self._until(
                "inserting again",
                lambda: self._store.insert_again(
                    table, self.partition, intent.seq_before, intent.seq, token
                ),
            )
        self._complete(table, intent)
        return intent.seq

    def _insert(self, work: Work) -> None:
        table, intent, rows = work.table, work.intent, work.batch.rows
        if work.again:
            metrics.INTENTS_REPLAYED.labels(table.topic).inc()
            if self._is_there(table, intent):
                self._complete(table, intent)
                return
        token = intent.token(table.topic, self.partition)
        begun, attempts = 0.0, 0

        def attempt() -> None:
            nonlocal begun, attempts
            attempts += 1
            if time.monotonic() - self._proven_at > PROOF_SECONDS:
                self._prove({table.topic: intent})
            begun = time.monotonic()
            # an attempt without an answer may have gone in, and a migration come after it
            if attempts == 1 or not self._is_there(table, intent):
                self._store.insert(table, rows, token)

        self._until("inserting", attempt)
        if work.again or attempts > 1:
            self._repair(work, rows)
        metrics.INSERT_SECONDS.labels(table.topic).observe(time.monotonic() - begun)
        metrics.LAG_SECONDS.labels(table.topic).observe(time.time() - work.batch.oldest_ms / 1000)
        metrics.INSERTS.labels(table.topic).inc()
        metrics.INSERT_ROWS.labels(table.topic).observe(len(rows))
        metrics.ROWS.labels(table.topic).inc(len(rows))

    def _repair(self, work: Work, rows: Sequence[bytes]) -> None:
        """An insert that was begun before, by an earlier run or without an answer: ClickHouse may
        have died in it. See that it is in, and in every view."""
        table, intent = work.table, work.intent
        there = self._until(
            "counting rows",
            lambda: self._store.count(table, self.partition, intent.seq_before, intent.seq),
        )
        if not there:
            # The token was written down, the rows were not (views.py). The views are fed after
            # the raw table, so they have none of them either, and take them under another token.
            token = f"{intent.token(table.topic, self.partition)}:again"
            self._until("inserting", lambda: self._store.insert(table, rows, token))
        self._complete(table, intent)

    def _complete(self, table: Table, intent: Intent) -> None:
        filled = self._until(
            "completing views",
            lambda: self._store.complete(table, self.partition, intent.seq_before, intent.seq),
        )
        if filled:
            _log.warning(
                "views completed", topic=table.topic, partition=self.partition, views=filled
            )

    def _is_there(self, table: Table, intent: Intent) -> bool:
        """Where the token is not trusted any more, whether the rows are in the raw table.

        Under a token that is forgotten they would be doubled. Raises Undecided where some are.
        """
        if self._trusts_token(intent):
            return False
        there = self._until(
            "counting rows",
            lambda: self._store.count(table, self.partition, intent.seq_before, intent.seq),
        )
        if there not in (0, intent.rows):
            raise Undecided(
                f"{table.topic}[{self.partition}]: an intent for seq {intent.seq_before + 1} to"
                f" {intent.seq} is too old for its token, and {there} of its {intent.rows} rows"
                f" are in {table.name}, so that no insert can be right. Restore {table.name}, its"
                " rollups and positions from a backup, then `spendstream partitions reload"
                f" {self.partition}`, and restart the sink"
            )
        return there > 0

    def _trusts_token(self, intent: Intent) -> bool:
        self._until("counting inserts", self._store.count_inserts)
        migrated_ms = self._until("looking for migrations", self._store.migrated_ms)
        now_ms = time.time_ns() // 1_000_000
        return intent.trusts_token(self._store.inserts_seen, now_ms, migrated_ms)

    def _prove(self, entries: dict[str, Intent]) -> None:
        """Write intents, which only the partition's owner can."""
        self._positions.write(entries)
        self._proven_at = time.monotonic()
        if self._mirror is not None:
            self._mirror.positions(entries)

    def _until(self, step: str, attempt: Callable[[], T]) -> T:
        def tried() -> T:
            try:
                result = attempt()
            except Retry as error:
                self.failing = str(error)
                raise
            self.failing = None
            return result

        return until(step, self.given_up, tried)

"""The resolver: decides late rows, for the partitions that this process loads.

An event that says that it is older than the workers' memory of ids may be a repeat of a forgotten
one, so it goes uncounted to `usage.late`. Once its row and all that was priced before it are in
ClickHouse, its id is looked up there, and the worker is told what it is:

    late ──▶ page ──▶ priced rows loaded? ──▶ ids counted? ──▶ readmit or duplicate, by seq
                                                               (workspace.commands)

Commands are sent at least once. What makes it exactly once is the worker, which takes them in the
order of their seq and none twice. Nothing is kept here: whoever loads the partition next goes on
from the worker's mark (window.py).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import structlog
from confluent_kafka import KafkaException

from spendstream.schemas.topics import USAGE_LATE, USAGE_PRICED
from spendstream.sinks.clickhouse.config import LoaderConfig
from spendstream.sinks.clickhouse.errors import LoaderError
from spendstream.sinks.clickhouse.retry import delays
from spendstream.sinks.clickhouse.store import Store
from spendstream.sinks.late import metrics
from spendstream.sinks.late.commands import DUPLICATE, READMIT, command
from spendstream.sinks.late.marks import Marks
from spendstream.sinks.late.outbox import Outbox, Undelivered
from spendstream.sinks.late.table import counted_ids, read_page, stored_upto
from spendstream.sinks.late.window import Loaded, MissingRows, Sent, Window, ripe

TURN_SECONDS: Final = 0.2
STOP_SECONDS: Final = 5.0

_log = structlog.get_logger("spendstream.sinks")


@dataclass(slots=True)
class _Partition:
    """A partition that this process loads.

    `next_ms` and `next_priced` are of the first late row that was read and could not be sent yet:
    its arrival, and up to which seq priced rows must be loaded before.
    """

    window: Window = field(default_factory=Window)
    next_ms: int | None = None
    next_priced: int = 0
    pauses: Iterator[float] = field(default_factory=delays)
    resume_at: float = 0.0


class Resolver:
    """A thread. `tell` it what is loaded, as often as that changes."""

    def __init__(self, config: LoaderConfig, store: Store) -> None:
        self._store = store
        self._marks = Marks(config)
        self._outbox = Outbox(config)
        self._loaded: Mapping[int, Loaded] = {}
        self._partitions: dict[int, _Partition] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="late", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def tell(self, loaded: Mapping[int, Mapping[str, int]]) -> None:
        """By partition that this process loads: up to which seq each topic is in ClickHouse, and
        in every view."""
        self._loaded = {
            number: Loaded(seq.get(USAGE_LATE, 0), seq.get(USAGE_PRICED, 0))
            for number, seq in loaded.items()
        }

    def stop(self) -> None:
        """What is not sent by now is sent by the next owner."""
        self._stopping.set()
        self._thread.join(STOP_SECONDS)

    # ----------------------------------------------------------------------------- the thread

    def _run(self) -> None:
        pauses = delays()
        while not self._stopping.is_set():
            try:
                self._turn()
                pauses = delays()
            except Exception as error:  # were the thread to end, late rows would wait unnoticed
                self._marks.close()
                self._failed("following workspace.state", error, seconds := next(pauses))
                self._stopping.wait(seconds)
        self._outbox.close()
        self._marks.close()

    def _turn(self) -> None:
        loaded = self._loaded
        for number in self._partitions.keys() - loaded.keys():
            del self._partitions[number]
            for gauge in (metrics.PENDING, metrics.OLDEST_SECONDS):
                gauge.remove(str(number))
        for number in loaded.keys() - self._partitions.keys():
            self._partitions[number] = _Partition()
        opened = {number for number, seq in loaded.items() if self._is_open(number, seq)}
        self._marks.follow(opened)
        if not opened:
            self._stopping.wait(TURN_SECONDS)
            return
        for number, mark in self._marks.poll(TURN_SECONDS).items():
            if number in opened:
                self._hear(number, mark)
        for number in sorted(opened):
            self._try(number, loaded[number])

    def _is_open(self, number: int, loaded: Loaded) -> bool:
        """Whether there are late rows of which the worker's word is needed."""
        partition = self._partitions[number]
        mark = partition.window.mark
        if mark is None:
            return loaded.late > 0
        metrics.PENDING.labels(number).set(max(0, loaded.late - mark))
        arrival_ms = partition.window.oldest_ms or partition.next_ms
        age = 0.0
        if mark < loaded.late and arrival_ms is not None:
            age = max(0.0, time.time() - arrival_ms / 1_000)
        metrics.OLDEST_SECONDS.labels(number).set(age)
        return mark != loaded.late

    def _hear(self, number: int, mark: int) -> None:
        partition = self._partitions[number]
        heard = partition.window.heard(mark, time.monotonic())
        for sent in heard.resolved:
            metrics.RESOLVED.labels(sent.kind).inc()
        if heard.again:
            partition.next_priced = 0
            metrics.RESENT.inc(heard.again)
            _log.warning("late rows are sent again", partition=number, mark=mark, rows=heard.again)

    def _try(self, number: int, loaded: Loaded) -> None:
        """Send what can be decided; after a failure, wait before the next attempt."""
        partition = self._partitions[number]
        if time.monotonic() < partition.resume_at:
            return
        try:
            self._resolve(number, partition, loaded)
            partition.pauses = delays()
        except Exception as error:  # one partition's rows must not keep those of the others
            seconds = next(partition.pauses)
            partition.resume_at = time.monotonic() + seconds
            self._failed(f"resolving late rows of partition {number}", error, seconds)

    def _resolve(self, number: int, partition: _Partition, loaded: Loaded) -> None:
        """Raises MissingRows, Undelivered and what the store raises."""
        window = partition.window
        seqs = window.room(loaded.late)
        if (window.mark or 0) > loaded.late:
            self._check(number, window, loaded)
        if not seqs or loaded.priced < partition.next_priced:
            return
        page = read_page(self._store, number, seqs)
        if not page:
            raise MissingRows(f"the rows from seq {seqs.start} on are missing in table late")
        rows = ripe(page, window.sent, loaded.priced)
        partition.next_ms, partition.next_priced = None, 0
        if len(rows) < len(page):  # the loader will bring what was priced before the others
            first = page[len(rows)]
            partition.next_ms, partition.next_priced = first.arrival_ms, first.priced_seq
        if not rows:
            return
        counted = counted_ids(self._store, number, rows, time.time_ns() // 1_000_000)
        self._check(number, window, loaded)  # afterwards: it may have lost them just now
        kinds = [
            DUPLICATE if (row.workspace_id, row.event_id) in counted else READMIT for row in rows
        ]
        self._outbox.send(
            number,
            [
                (row.workspace_id.encode(), command(row, loaded.priced, kind == DUPLICATE))
                for row, kind in zip(rows, kinds, strict=True)
            ],
        )
        window.delivered(
            [Sent(r.seq, kind, r.arrival_ms) for r, kind in zip(rows, kinds, strict=True)],
            time.monotonic(),
        )

    def _check(self, number: int, window: Window, loaded: Loaded) -> None:
        """See that ClickHouse still has what was loaded: an id that it lost would count twice."""
        stored = stored_upto(self._store, number)
        wanted = {
            USAGE_LATE: max(loaded.late, window.mark or 0),
            USAGE_PRICED: loaded.priced,
        }
        for topic, seq in wanted.items():
            if stored.get(topic, 0) < seq:
                raise MissingRows(
                    f"{topic}[{number}] was stored up to seq {seq}, ClickHouse has only"
                    f" {stored.get(topic, 0)} rows of it: it lost data. Nothing is resolved until"
                    " it is back: restore a newer backup"
                )

    def _failed(self, doing: str, error: Exception, seconds: float) -> None:
        what = "other"
        if isinstance(error, KafkaException | Undelivered):
            what = "kafka"
        elif isinstance(error, MissingRows):
            what = "data"
        elif isinstance(error, LoaderError):
            what = "clickhouse"
        metrics.FAILURES.labels(what).inc()
        _log.warning(
            "trying again",
            step=doing,
            seconds=round(seconds, 2),
            why=str(error),
            exc_info=what == "other",
        )

"""What became of the events: counters, and the log that says so without flooding.

Nothing is dropped in silence, and nothing is logged from inside `emit()`: a handler may block, so
the counters are reported by the emitter's own thread.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Final

LOG_EVERY_S: Final = 10.0

log: Final = logging.getLogger("spendstream.producers")


class Drop(StrEnum):
    """Why an event was not delivered."""

    INVALID = "invalid"  # arguments that are not an event, an id or a time
    UNTRACKED = "untracked"  # a wrapped call outside of any track(workspace_id=...)
    QUEUE_FULL = "queue_full"  # the broker is slower or gone, and the bounded queue is full
    SPOOL_FULL = "spool_full"  # the same, and the spool could not write it either
    UNREADABLE = "unreadable"  # it was in the spool, whose file was damaged
    EXPIRED = "expired"  # in the queue longer than message.timeout.ms
    FAILED = "failed"  # refused by the broker, or Kafka's client cannot go on
    ABANDONED = "abandoned"  # still in the queue when the time to flush at exit was over
    CLOSED = "closed"  # emitted after close()


_PLAIN: Final = {
    Drop.INVALID: "not a valid event",
    Drop.UNTRACKED: "nobody said which workspace is charged",
    Drop.QUEUE_FULL: "the queue was full (is the broker reachable?)",
    Drop.SPOOL_FULL: "queue and spool were full",
    Drop.UNREADABLE: "the spool's file was damaged",
    Drop.EXPIRED: "not delivered in time (is the broker reachable?)",
    Drop.FAILED: "refused by the broker",
    Drop.ABANDONED: "still undelivered at exit",
    Drop.CLOSED: "emitted after close()",
}


_AFTER_QUEUE: Final = (Drop.EXPIRED, Drop.FAILED, Drop.ABANDONED)


@dataclass(frozen=True, slots=True)
class EmitterStats:
    """Events since the emitter (or its process, after a fork) began.

    Every event for which `emit()` was called while enabled, and every one that an earlier process
    had left in the spool (`recovered`), is in exactly one of `queued`, `delivered` and `dropped`.
    `spooled`: how many are on disk now; after `close()` these stay there, and are `queued`, too.
    `unspooled`: how many the spool could not take, so that a crash would have lost them.
    `retried`: how often Kafka's client sent an event once more; as it comes from librdkafka's
    statistics it can be two seconds old, and lag while much is queued.
    """

    queued: int
    delivered: int
    retried: int
    dropped: dict[Drop, int]
    spooled: int = 0
    recovered: int = 0
    unspooled: int = 0

    @property
    def lost(self) -> int:
        """All drops."""
        return sum(self.dropped.values())


class Counters:
    """Thread-safe counts of one emitter in one process.

    What `emit()` calls (`dropped`, `unspooled`, `to_report`, `not_reported`) never waits for the
    lock: a signal handler or a finalizer may emit while its own thread holds it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # what was found locked: done by whoever takes the lock next
        self._put_off: deque[Callable[[], None]] = deque()
        self._delivered = 0
        self._dropped: dict[Drop, int] = {}
        self._reported: dict[Drop, int] = {}
        self._details: dict[str, str] = {}
        self._logged_details: set[str] = set()
        self._next_log = 0.0
        self._transmitted: dict[str, int] = {}
        self._retried = 0
        self._recovered = 0
        self._unspooled = 0
        self._unreported = 0
        self.unconfirmed = 0  # drops that no event has reported that is known to have arrived

    def delivered(self, reports: int = 0) -> None:
        """An event arrived, and with it the report of `reports` drops."""
        with self._lock:
            self._delivered += 1
            self.unconfirmed -= reports

    def dropped(self, why: Drop, kind: str = "", detail: str = "") -> None:
        """Count a drop. The first `detail` of each `kind` is logged word for word."""
        self._without_waiting(partial(self._drop, why, kind, detail))

    def to_report(self) -> int:
        """How many drops the next event is to say: those that none has said."""
        if not self._unreported and not self._put_off:  # nearly always, and this is inside emit()
            return 0
        if not self._lock.acquire(blocking=False):
            return 0  # the event after it says so
        try:
            self._catch_up()
            reports, self._unreported = self._unreported, 0
            return reports
        finally:
            self._lock.release()

    def not_reported(self, reports: int) -> None:
        """The event that was to say so did not arrive."""
        if reports:
            self._without_waiting(partial(self._give_back, reports))

    def owe(self, drops: int) -> None:
        """An earlier process dropped them and could not say so."""
        with self._lock:
            self._unreported += drops
            self.unconfirmed += drops

    def recovered(self, events: int) -> None:
        """An earlier process had left them in the spool."""
        with self._lock:
            self._recovered += events

    def unspooled(self, events: int) -> None:
        self._without_waiting(partial(self._not_spooled, events))

    @property
    def abandoned(self) -> int:
        with self._lock:
            self._catch_up()
            return self._dropped.get(Drop.ABANDONED, 0)

    def transmitted(self, client: str, messages: int, queued: int) -> None:
        """How many messages a client has sent so far, each as often as it was sent.

        What was sent and is neither done nor `queued` was sent before. (librdkafka's own count of
        retries knows requests only: a batch that a broken connection swallowed is not among them.)
        Some of the queue was not sent yet, so this is never too high, and right once it is empty.
        """
        with self._lock:
            self._catch_up()
            # a client that was replaced is not forgotten; there are few
            self._transmitted[client] = messages
            done = self._delivered + sum(self._dropped.get(why, 0) for why in _AFTER_QUEUE)
            again = sum(self._transmitted.values()) - done - queued
            self._retried = max(self._retried, again)

    def snapshot(self, queued: int, spooled: int = 0) -> EmitterStats:
        with self._lock:
            self._catch_up()
            return EmitterStats(
                queued,
                self._delivered,
                self._retried,
                dict(self._dropped),
                spooled,
                self._recovered,
                self._unspooled,
            )

    def report(self, *, at_once: bool = False) -> None:
        """Log what was dropped since the last report, at most every LOG_EVERY_S seconds."""
        now = time.monotonic()
        with self._lock:
            self._catch_up()
            if now < self._next_log and not at_once:
                return
            fresh = {
                why: count - self._reported.get(why, 0)
                for why, count in self._dropped.items()
                if count > self._reported.get(why, 0)
            }
            if not fresh:
                return
            self._next_log = now + LOG_EVERY_S
            self._reported = dict(self._dropped)
            details = {k: v for k, v in self._details.items() if k not in self._logged_details}
            self._logged_details.update(details)
        for why, count in fresh.items():
            log.warning("%d usage events dropped: %s", count, _PLAIN[why])
        for kind, detail in details.items():
            log.warning("first of its kind (%s): %s", kind, detail)

    def _without_waiting(self, change: Callable[[], None]) -> None:
        self._put_off.append(change)
        while self._put_off and self._lock.acquire(blocking=False):
            try:
                self._catch_up()
            finally:
                self._lock.release()

    def _catch_up(self) -> None:
        """With the lock. More may be put off meanwhile, by this very thread, too."""
        while self._put_off:
            self._put_off.popleft()()

    def _drop(self, why: Drop, kind: str, detail: str) -> None:
        self._dropped[why] = self._dropped.get(why, 0) + 1
        self._unreported += 1
        self.unconfirmed += 1
        # bounded, because a kind may come from a foreign exception's name
        if kind and kind not in self._details and len(self._details) < 100:
            self._details[kind] = detail

    def _give_back(self, reports: int) -> None:
        self._unreported += reports

    def _not_spooled(self, events: int) -> None:
        self._unspooled += events

"""The spool: events on disk until Kafka has acknowledged them, so that they outlive the service.

`emit()` hands over a reference and goes on; one thread of the spool's own writes what came within
GATHER_S in one transaction, leaves out what Kafka acknowledged meanwhile (with a broker in good
health that is nearly all), deletes what was acknowledged since, and sends what waits: rows that an
earlier process left, events that found Kafka's queue full, and those that expired in it.

A process that is killed loses what is neither acknowledged nor written: the events of the last
GATHER_S and of the transaction that follows, which takes a millisecond where the thread gets the
interpreter, and a fraction of a second beside threads that never give it up. What it had sent and
not yet deleted is sent again, with the same ids, which the worker counts once.

The spool never stands in the way: where it cannot write (full, read-only, gone) it says so once,
tries again every RETRY_S, and the emitter goes on as if there were none.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from spendstream.producers.outgoing import Outgoing
from spendstream.producers.spool_file import Row, reason_code
from spendstream.producers.spool_store import SpoolStore
from spendstream.producers.spool_waiting import WaitingRows
from spendstream.producers.stats import Counters, Drop, log

GATHER_S: Final = 0.02
RETRY_S: Final = 1.0
_SAY_EVERY_S: Final = 600.0
_ADOPT_EVERY_S: Final = 60.0
_SEND_ROWS: Final = 1_000
_SEND_PAUSE_S: Final = 0.005  # the service's own threads come first
_FULL_PAUSE_S: Final = 0.1
_FIRST_DELAY_S: Final = 1.0
_MAX_DELAY_S: Final = 30.0
# what may wait for the disk: one that hangs must not fill the memory
_MAX_CHANGES: Final = 50_000
_MAX_CHANGED_BYTES: Final = 67_108_864

Send = Callable[[Outgoing, bytes, bytes], bool]


class Spool:
    """Made in the process that uses it. All methods but `_run` are for other threads; none of them
    touches the disk, and only `settle` and `close` wait."""

    def __init__(
        self,
        directory: Path,
        max_bytes: int,
        counters: Counters,
        send: Send,
        room: Callable[[], int],
    ) -> None:
        """
        Args:
            max_bytes: of the file; the write-ahead log adds some MiB.
            send: hands (event, value, key) to Kafka's client; False: it takes no more for now.
            room: how many events Kafka's client should be given now.
        """
        self._directory = directory
        self._max_bytes = max_bytes
        self._counters = counters
        self._send = send
        self._room = room
        self._changes: deque[tuple[Outgoing, bytes, bytes]] = deque()
        self._changed_bytes = 0
        self._markers: deque[threading.Event] = deque()
        # an event's `set` takes a lock, which a signal handler that emits would wait for in vain
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._hurry = threading.Event()
        self._closing = False
        self._usable = True  # until the disk says otherwise
        self._waiting = WaitingRows()
        self._undeleted: list[int] = []
        self.store = SpoolStore(directory, max_bytes, self._say)
        self._retry_at = 0.0
        self._adopt_at = 0.0
        self._send_at = 0.0
        self._delay = _FIRST_DELAY_S
        self._said: dict[str, float] = {}
        self._to_say: deque[str] = deque()
        self._holding: deque[None] = deque()  # a number that needs no lock
        self.rows = 0  # on disk now
        self._thread = threading.Thread(target=self._run, name="spendstream-spool", daemon=True)

    def start(self) -> None:
        """Apart from making it: from here on `send` and `room` are called."""
        self._thread.start()

    @property
    def held(self) -> int:
        """How many events only the spool has, because Kafka's client does not."""
        return len(self._holding) + len(self._waiting)

    def keep(self, message: Outgoing, value: bytes, key: bytes) -> bool:
        """To disk, in case: Kafka's client has it. False: the spool cannot take it."""
        if not self._takes():
            self._counters.unspooled(1)
            return False
        message.kept = True
        self._change(message, value, key)
        return True

    def hold(self, message: Outgoing, value: bytes, key: bytes) -> bool:
        """To disk, to be sent (again) later: Kafka's client has it no more. False: it cannot."""
        if message.row is None and not self._takes():
            return False
        message.kept = True
        self._holding.append(None)
        message.waits = True
        self._change(message, value, key)
        return True

    def done(self, message: Outgoing) -> None:
        """It needs no spool any more: acknowledged, or dropped and counted."""
        message.done = True
        self._delay = _FIRST_DELAY_S
        self._change(message, b"", b"")

    def failed(self, kind: str, text: str) -> None:
        """Kafka's client gave an event up: a pause before what waits is sent, longer each time.

        Args:
            kind, text: how Kafka refused it; empty where it only did not get there in time.
        """
        if kind:
            self._say(kind, f"Kafka refuses events, which wait in the spool: {text}")
        now = time.monotonic()
        if now >= self._send_at:
            self._send_at = now + self._delay
            self._delay = min(2 * self._delay, _MAX_DELAY_S)

    def settle(self, timeout: float) -> bool:
        """Wait until all that was handed over so far is on disk, or counted where it cannot be."""
        marker = threading.Event()
        self._markers.append(marker)
        self._hurry.set()
        self._wake.put(None)
        return self._thread.is_alive() and marker.wait(timeout)

    def close(self, timeout: float) -> None:
        """What is on disk stays there."""
        self._closing = True
        self._hurry.set()
        self._wake.put(None)
        self._thread.join(timeout)

    def _takes(self) -> bool:
        return (
            self._usable
            and len(self._changes) < _MAX_CHANGES
            and self._changed_bytes < _MAX_CHANGED_BYTES
        )

    def _change(self, message: Outgoing, value: bytes, key: bytes) -> None:
        # not exact when threads race; the spool's thread sets it back many times a second
        self._changed_bytes += len(value)
        self._changes.append((message, value, key))
        if self._wake.empty():
            self._wake.put(None)

    # ------------------------------------------------------------------ the spool's own thread

    def _run(self) -> None:
        while True:
            closing = self._closing
            markers = [self._markers.popleft() for _ in range(len(self._markers))]
            try:
                self._round()
            except Exception as error:
                # nothing may end this thread: events would be neither sent nor counted
                self._say("round", f"the spool goes on after {type(error).__name__}: {error}")
            for marker in markers:
                marker.set()
            while self._to_say:
                log.warning("%s", self._to_say.popleft())
            if closing:
                break
            with contextlib.suppress(queue.Empty):
                self._wake.get(timeout=self._pause())
                self._hurry.wait(GATHER_S)
                while True:
                    self._wake.get_nowait()
            self._hurry.clear()
        self.store.close()

    def _round(self) -> None:
        now = time.monotonic()
        if not self.store.is_open and now >= self._retry_at:
            self._open()
        self._take_changes()
        if self.store.is_open and not self._closing:
            self._send_waiting()
            if not self._waiting and now >= self._adopt_at:
                self._adopt()

    def _pause(self) -> float:
        """Seconds until there is something to do without being woken."""
        now = time.monotonic()
        if self._waiting and self.store.is_open:
            pause = _SEND_PAUSE_S if self._room() > 0 else _FULL_PAUSE_S
            due = max(self._send_at, now + pause)
        else:
            due = self._adopt_at
        if not self._usable:
            due = min(due, self._retry_at) if self.store.is_open else self._retry_at
        return max(0.0, due - now)

    def _open(self) -> None:
        try:
            self._waiting = WaitingRows(self.store.open())
        except (OSError, sqlite3.Error) as error:
            self._cannot("open", error)
            return
        self._counters.recovered(len(self._waiting))
        self._counters.owe(self.store.unreported)
        self.rows = self.store.rows
        self._usable = True

    def _take_changes(self) -> None:
        """Write what is new and not done, delete what is done; one transaction."""
        self._changed_bytes = 0
        changes = [self._changes.popleft() for _ in range(len(self._changes))]
        writable = self.store.is_open and (self._usable or time.monotonic() >= self._retry_at)
        fresh: list[Row] = []
        stored: list[Outgoing] = []
        for message, value, key in changes:
            if message.done:
                if message.row is not None:
                    self._undeleted.append(message.row)
                    message.row = None
            elif message.row is None and value:
                stored.append(message)
                if writable:
                    message.row = row = self.store.number()
                    fresh.append(
                        Row(row, key, value, message.event_id, message.source, message.time_ms)
                    )
        if not writable or not self._write(fresh):
            for message in stored:
                message.row = None
            self._counters.unspooled(len(stored))
        for message, _, _ in changes:
            if message.waits:
                self._wait(message)

    def _wait(self, message: Outgoing) -> None:
        message.waits = False
        if message.row is not None:
            self._waiting.add(message.row)
        else:
            message.done = True
            self._counters.dropped(Drop.SPOOL_FULL)
        # last, so that an event is counted twice for a moment, never not at all
        self._holding.pop()

    def _write(self, fresh: list[Row]) -> bool:
        unreported = self._counters.unconfirmed
        if self._usable and not (fresh or self._undeleted or unreported != self.store.unreported):
            return True
        try:
            self.store.write(fresh, self._undeleted, unreported)
        except (OSError, sqlite3.Error) as error:
            self._cannot("write", error)
            self._make_room()
            return False
        else:
            self._undeleted = []
            self._usable = True
            return True
        finally:
            self.rows = self.store.rows

    def _make_room(self) -> None:
        if self.store.is_open and self._undeleted:
            with contextlib.suppress(OSError, sqlite3.Error):
                self.store.write((), self._undeleted, self.store.unreported)
                self._undeleted = []

    def _send_waiting(self) -> None:
        """The next rows that wait, as many as Kafka's client should be given."""
        room = self._room()
        if not self._waiting or room <= 0 or time.monotonic() < self._send_at:
            return
        numbers = self._waiting.front(min(room, _SEND_ROWS))
        try:
            rows = {row.row: row for row in self.store.read(numbers)}
        except (OSError, sqlite3.Error) as error:
            self._send_at = time.monotonic() + RETRY_S
            self._cannot("read", error)
            return
        done = 0
        for number in numbers:
            row = rows.get(number)
            if row is None:
                self._counters.dropped(Drop.UNREADABLE)
            else:
                message = Outgoing(row.event_id, row.source, row.time_ms)
                message.row, message.kept = number, True
                if not self._send(message, row.value, row.key):
                    break
            done += 1
        self._waiting.take(done)

    def _adopt(self) -> None:
        self._adopt_at = time.monotonic() + _ADOPT_EVERY_S
        for rows, unreported in self.store.adopt():
            for row in rows:
                self._waiting.add(row)
            self._counters.recovered(len(rows))
            self._counters.owe(unreported)
        self.rows = self.store.rows

    def _cannot(self, what: str, error: Exception) -> None:
        """Go on without the spool, for a while."""
        self._retry_at = time.monotonic() + RETRY_S
        self._usable = False
        if reason_code(error) == sqlite3.SQLITE_FULL:
            limit = f"{self._max_bytes / 1024**2:.0f} MiB"
            why = f"is full: it has reached its limit ({limit}), or the disk has no room"
        else:
            why = f"cannot be used: {error}"
        self._say(
            what, f"the spool in {self._directory} {why}. A crash would lose what Kafka has not got"
        )

    def _say(self, kind: str, text: str) -> None:
        """Not here: a log handler may be slow, and the next events are to be written."""
        now = time.monotonic()
        if now >= self._said.get(kind, 0.0):
            self._said[kind] = now + _SAY_EVERY_S
            self._to_say.append(text)

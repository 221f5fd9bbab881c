"""A spool's file: events as rows of an SQLite database, one owner, a bounded number of pages.

SQLite instead of a format of our own: what is in a transaction is there as a whole or not at all,
a torn write is noticed, and `sqlite3 0.sqlite 'SELECT * FROM events'` shows what waits.

    SpoolNewerError       made by a later version of this package: left as it is
    sqlite3.DatabaseError whatever the disk does; `is_damage()` tells what no second try can mend

Durability: a commit is in the kernel's hands (write-ahead log, `synchronous=NORMAL`): it survives
the death of the process, however it dies. A power cut can take the commits of the last seconds,
never the file's consistency.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

VERSION: Final = 1
_PAGE: Final = 4096
_FEW_PAGES: Final = 4096
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
# One statement, and one row of its result, for many rows: Python's module gives up the interpreter
# lock at each step, and in a service with a busy thread waits up to 5 ms to get it back. Powers of
# two, so that few statements have to be compiled and kept.
_SIZES: Final = (256, 128, 64, 32, 16, 8, 4, 2, 1)
_VARIABLES: Final = 999  # in one statement, before SQLite 3.32

_SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS events (
        row INTEGER PRIMARY KEY,
        key BLOB NOT NULL,
        value BLOB NOT NULL,
        event_id BLOB NOT NULL,
        source BLOB NOT NULL,
        time_ms INTEGER NOT NULL
    )""",
    # events that were dropped and that no delivered event has reported yet
    "CREATE TABLE IF NOT EXISTS unreported (one INTEGER PRIMARY KEY CHECK (one = 1), dropped INT)",
    "INSERT OR IGNORE INTO unreported VALUES (1, 0)",
)
_COLUMNS: Final = "row, key, value, event_id, source, time_ms"
_INSERT: Final = {
    size: f"INSERT INTO events VALUES {', '.join(['(?, ?, ?, ?, ?, ?)'] * size)}"
    for size in _SIZES
    if 6 * size <= _VARIABLES
}
_DELETE: Final = {
    size: f"DELETE FROM events WHERE row IN ({', '.join('?' * size)})" for size in _SIZES
}


# columns in hex, since SQLite cannot put blobs together; in any order
_TOGETHER: Final = (
    "group_concat(row || ' ' || hex(key) || ' ' || hex(value) || ' ' || hex(event_id) || ' '"
    " || hex(source) || ' ' || time_ms)"
)
_READ: Final = {
    size: f"SELECT {_TOGETHER} FROM events WHERE row IN ({', '.join('?' * size)})"
    for size in _SIZES
}


class SpoolNewerError(Exception):
    """A later version of this package made the file."""


class Row(NamedTuple):
    row: int
    key: bytes
    value: bytes
    event_id: bytes
    source: bytes
    time_ms: int


class SpoolFile:
    """Used by one thread; never after a fork."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        """Open or make it; `max_bytes` without the write-ahead log, which is some MiB at most.

        Raises:
            OSError: it cannot be made.
            SpoolNewerError: a later version of this package made it.
            sqlite3.Error: `sqlite_errorcode` says why; see `is_damage()`.
        """
        self.path = path
        # nobody else's business; SQLite gives its log the same rights
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._connection = sqlite3.connect(path, timeout=0, isolation_level=None)
        try:
            self._open(max_bytes)
        except BaseException:  # whatever it was, an open connection holds the file's lock
            self._connection.close()
            raise

    def _open(self, max_bytes: int) -> None:
        # before WAL: the index then lives in this process, not in a mapped file that another one
        # could cut off under it (SIGBUS)
        self._ask("PRAGMA locking_mode = EXCLUSIVE")
        (version,) = self._ask("PRAGMA user_version")
        if version > VERSION:
            raise SpoolNewerError(f"{self.path} has schema {version}, known is {VERSION}")
        self._ask(f"PRAGMA page_size = {_PAGE}")
        self._ask("PRAGMA journal_mode = WAL")
        self._ask("PRAGMA synchronous = NORMAL")
        self._ask("PRAGMA journal_size_limit = 4194304")
        # a service's root may be read-only, without a place for temporary files
        self._ask("PRAGMA temp_store = MEMORY")
        (fault,) = self._ask("PRAGMA quick_check(1)")
        if fault != "ok":
            error = sqlite3.DatabaseError(str(fault))
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error
        with self._transaction():
            for statement in _SCHEMA:
                self._connection.execute(statement)
            self._connection.execute(f"PRAGMA user_version = {VERSION}")
        # not above: what an earlier, larger limit let in must stay
        self._ask(f"PRAGMA max_page_count = {max(16, max_bytes // _PAGE)}")
        rows, last = self._ask("SELECT count(*), coalesce(max(row), 0) FROM events")
        self.rows: int = rows
        self._next: int = last + 1
        (self.unreported,) = self._ask("SELECT dropped FROM unreported")

    def number(self) -> int:
        """For one row; never given twice, so that what became of one event cannot hit another."""
        self._next += 1
        return self._next - 1

    def number_above(self, other: SpoolFile) -> None:
        """Go on with the numbers of a file that this one replaces."""
        self._next = max(self._next, other._next)

    def write(self, fresh: Sequence[Row], gone: Sequence[int], unreported: int) -> None:
        """Delete rows, add rows. Raises sqlite3.Error; nothing was changed then."""
        with self._transaction():
            deleted = sum(
                self._connection.execute(delete, part).rowcount
                for delete, part in _parts(_DELETE, gone)
            )
            for insert, part in _parts(_INSERT, fresh):
                self._connection.execute(insert, [value for row in part for value in row])
            if unreported != self.unreported:
                self._connection.execute("UPDATE unreported SET dropped = ?", (unreported,))
        self.rows += len(fresh) - deleted
        self.unreported = unreported

    def ranges(self) -> list[tuple[int, int]]:
        """All rows there are, as ranges without gaps.

        Found without sorting: a full file has so many rows that it would take a temporary file, or
        much of a service's memory.
        """
        firsts, lasts = self._ask(
            "SELECT (SELECT group_concat(row) FROM events AS one"
            " WHERE NOT EXISTS (SELECT 1 FROM events WHERE row = one.row - 1)),"
            " (SELECT group_concat(row) FROM events AS one"
            " WHERE NOT EXISTS (SELECT 1 FROM events WHERE row = one.row + 1))"
        )
        if firsts is None:
            return []
        return list(zip(_numbers(firsts), _numbers(lasts), strict=True))

    def read(self, numbers: Sequence[int]) -> list[Row]:
        """Those of these rows that are there, in ascending order."""
        return _rows(
            self._connection.execute(read, part).fetchone()[0]
            for read, part in _parts(_READ, numbers)
        )

    def first(self, limit: int) -> list[Row]:
        """The first rows, in ascending order."""
        return _rows(
            self._ask(
                f"SELECT {_TOGETHER} FROM (SELECT * FROM events ORDER BY row LIMIT {limit:d})"
            )
        )

    def shrink(self) -> None:
        """Give an empty file's pages back."""
        (pages,) = self._ask("PRAGMA page_count")
        if not self.rows and pages > _FEW_PAGES:
            self._connection.execute("VACUUM")
            self._ask("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        self._connection.close()

    def leak(self) -> None:
        """In a forked child: closing it, which freeing does, too, would check the parent's log in
        and delete it."""
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._connection))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:  # whatever it was: left open, it would swallow what is written next
            # SQLite may have rolled back itself
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _ask(self, statement: str) -> tuple[Any, ...]:
        row: tuple[Any, ...] | None = self._connection.execute(statement).fetchone()
        return row or (None,)


def reason_code(error: Exception) -> int:
    """SQLite's primary result code; 0 where the error is not SQLite's."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def is_damage(error: Exception) -> bool:
    return reason_code(error) in _DAMAGED


def set_aside(path: Path) -> Path:
    """Move a damaged file out of the way, for a person to look at, or what a kill in the midst of
    that has left beside it. Raises OSError.

    The file itself goes first: while it is there, what it holds can be read with its log.
    """
    target = path.with_name(f"{path.stem}.damaged-{time.time_ns()}.sqlite")
    for suffix in ("", "-wal", "-shm", "-journal"):
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}{suffix}").rename(f"{target}{suffix}")
    return target


def remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def salvage(path: Path) -> Iterator[Row]:
    """What can still be read of a damaged file: up to the damage, and from its end back to it."""
    with contextlib.suppress(OSError):
        _fill_up(path)
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path)) as damaged:
        last = -1
        for order in ("ASC", "DESC"):
            with contextlib.suppress(sqlite3.Error):
                for row in damaged.execute(f"SELECT {_COLUMNS} FROM events ORDER BY row {order}"):
                    if order == "DESC" and row[0] <= last:
                        return
                    if _sound(row):
                        yield Row(*row)
                    last = row[0] if order == "ASC" else last


def salvage_unreported(path: Path) -> int:
    """The count of drops in a damaged file; 0 where it cannot be read."""
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path)) as damaged:
        for (dropped,) in damaged.execute("SELECT dropped FROM unreported"):
            return dropped if isinstance(dropped, int) else 0
    return 0


def _fill_up(path: Path) -> None:
    """SQLite reads nothing at all of a file that is shorter than its header says."""
    with path.open("r+b") as file:
        header = file.read(32)
        size = int.from_bytes(header[28:32]) * _PAGE
        if header.startswith(b"SQLite format 3\0") and size > path.stat().st_size:
            file.truncate(size)


def _sound(row: tuple[object, ...]) -> bool:
    *_, time_ms = row
    return all(isinstance(column, bytes) for column in row[1:5]) and isinstance(time_ms, int)


def _rows(together: Iterable[str | None]) -> list[Row]:
    """From results of `_TOGETHER`."""
    rows = []
    for line in (line for lines in together if lines for line in lines.split(",")):
        row, key, value, event_id, source, time_ms = line.split(" ")
        of = bytes.fromhex
        rows.append(Row(int(row), of(key), of(value), of(event_id), of(source), int(time_ms)))
    return sorted(rows)


def _numbers(together: str) -> list[int]:
    return sorted(map(int, together.split(",")))


T = TypeVar("T")


def _parts(statements: dict[int, str], items: Sequence[T]) -> Iterator[tuple[str, Sequence[T]]]:
    """Each statement with as many of the items as it is for, the largest first."""
    done = 0
    for size, statement in statements.items():
        while len(items) - done >= size:
            yield statement, items[done : done + size]
            done += size

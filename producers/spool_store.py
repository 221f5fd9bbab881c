"""The spool's file as its thread sees it: which one it is, a new one for a damaged one, and what
processes that are gone have left in others.

    OSError, sqlite3.Error  from `open`, `write`, `read`: nothing was changed, to be tried again
"""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from spendstream.producers import spool_slots
from spendstream.producers.spool_file import (
    Row,
    SpoolFile,
    SpoolNewerError,
    is_damage,
    reason_code,
    remove,
    salvage,
    salvage_unreported,
    set_aside,
)
from spendstream.producers.spool_slots import Slot

_BATCH: Final = 1_000
_FORK_WAIT_S: Final = 1.0
_NO_LIMIT: Final = 2**40  # what a damaged file had, an earlier limit let in


class SpoolStore:
    """Used by the spool's thread alone, but for the fork hooks."""

    def __init__(self, directory: Path, max_bytes: int, say: Callable[[str, str], None]) -> None:
        """
        Args:
            say: tells the operator, (kind, text).
        """
        self._directory = directory
        self._max_bytes = max_bytes
        self._say = say
        self._slot: Slot | None = None
        self._adopting: Slot | None = None
        self._file: SpoolFile | None = None
        self._files: list[SpoolFile] = []
        self._damage: Exception | None = None  # of the file, until there is a new one
        # held while SQLite works: a fork in the midst of it would leave the child a library whose
        # locks nobody ever opens
        self._touching = threading.Lock()
        self._forking: set[int] = set()

    @property
    def is_open(self) -> bool:
        return self._file is not None

    @property
    def rows(self) -> int:
        return self._file.rows if self._file is not None else 0

    @property
    def unreported(self) -> int:
        return self._file.unreported if self._file is not None else 0

    def open(self) -> list[tuple[int, int]]:
        """Take a file that nobody owns. Returns the ranges of rows that are in it."""
        for slot in spool_slots.free(self._directory):
            self._slot = slot
            file = None
            try:
                if (file := self._open_slot(slot)) is not None:
                    with self._touching:
                        ranges = file.ranges()
                    self._file = file
                    return ranges
            finally:
                # half open it would never be tried again, and what it holds never be sent
                if self._file is None:
                    if file is not None:
                        self._close(file)
                    self._slot = None
                    slot.release()
        raise OSError("all its files belong to other processes")

    def number(self) -> int:
        assert self._file is not None
        return self._file.number()

    def write(self, fresh: Sequence[Row], gone: Sequence[int], unreported: int) -> None:
        assert self._file is not None
        try:
            with self._touching:
                self._file.write(fresh, gone, unreported)
                if gone:
                    self._file.shrink()
        except sqlite3.Error as error:
            self._mend(error)
            raise

    def read(self, numbers: Sequence[int]) -> list[Row]:
        assert self._file is not None
        try:
            with self._touching:
                return self._file.read(numbers)
        except sqlite3.Error as error:
            self._mend(error)
            raise

    def adopt(self) -> Iterator[tuple[list[int], int]]:
        """Take over what processes that are gone have left, file by file.

        Yields (numbers of the new rows, drops that nobody has reported).
        """
        if self._file is not None and not self._file.path.exists():
            self._say(
                "removed",
                f"the spool's file {self._file.path} was removed while in use: what is in it does"
                " not survive this process; the next one makes a new file",
            )
        for slot in spool_slots.orphans(self._directory):
            self._adopting = slot
            try:
                yield from self._empty(slot.path)
            except (OSError, SpoolNewerError, sqlite3.Error) as error:
                self._say(str(slot.path), f"events in {slot.path} stay there for now: {error}")
            finally:
                self._adopting = None
                slot.release()

    def close(self) -> None:
        if self._file is not None:
            self._close(self._file)
        if self._slot is not None:
            self._slot.release()

    def before_fork(self) -> None:
        """Bounded: a disk that hangs must not keep the service from forking."""
        if self._touching.acquire(timeout=_FORK_WAIT_S):
            self._forking.add(threading.get_ident())

    def after_fork_in_parent(self) -> None:
        if threading.get_ident() in self._forking:
            self._forking.discard(threading.get_ident())
            self._touching.release()

    def after_fork_in_child(self) -> None:
        """Nothing of the parent's is used, closed or freed."""
        for file in self._files:
            file.leak()
        for slot in (self._slot, self._adopting):
            if slot is not None:
                slot.release()

    def _open_slot(self, slot: Slot) -> SpoolFile | None:
        """None where the file is to be left alone."""
        whole = slot.path.with_suffix(".mended")
        if whole.exists() and not slot.path.exists():  # killed between the renames
            set_aside(slot.path)  # the damaged file's log: SQLite would take it for the other's
            whole.rename(slot.path)
        try:
            return self._opened(slot.path, self._max_bytes)
        except SpoolNewerError as error:
            self._say(str(slot.path), f"the spool takes another file: {error}")
        except sqlite3.Error as error:
            if is_damage(error):
                return self._replacement(slot.path, error)
            if reason_code(error) != sqlite3.SQLITE_BUSY:
                raise
            self._say(str(slot.path), f"the spool takes another file: {slot.path} is in use")
        return None

    def _opened(self, path: Path, max_bytes: int) -> SpoolFile:
        with self._touching:
            file = SpoolFile(path, max_bytes)
            self._files.append(file)
        return file

    def _close(self, file: SpoolFile) -> None:
        with self._touching, contextlib.suppress(sqlite3.Error):
            file.close()
        if file in self._files:
            self._files.remove(file)

    def _mend(self, error: Exception) -> None:
        """A new file, where this one is damaged. Where that fails, tried again with the next write:
        a closed file fails until then."""
        if self._file is None:
            return
        if self._damage is None:
            if not is_damage(error):
                return
            self._damage = error
            self._close(self._file)
        new = self._replacement(self._file.path, self._damage)
        # rows are known by their numbers; those that are not found any more are lost
        new.number_above(self._file)
        self._file, self._damage = new, None

    def _replacement(self, path: Path, error: Exception) -> SpoolFile:
        """A new file for a damaged one, with what can still be read of that.

        It takes the other's place when it is whole: where it fails, or the process is killed, the
        damaged file is still there.
        """
        whole = path.with_suffix(".mended")
        # an earlier try may have come as far as to set it aside
        if path.exists() or not whole.exists():
            self._rescue(path, whole)
        aside = set_aside(path)
        whole.rename(path)
        file = self._opened(path, self._max_bytes)
        self._say(
            aside.name,
            f"the spool's file {path} is damaged ({error}): {file.rows} events could be read, the"
            f" rest is lost; the damaged file is now {aside.name}",
        )
        return file

    def _rescue(self, path: Path, whole: Path) -> None:
        """What can still be read of a damaged file, in a new one."""
        remove(whole)
        new = self._opened(whole, _NO_LIMIT)
        try:
            with self._touching:
                found = salvage(path)
                while rows := list(itertools.islice(found, _BATCH)):
                    new.write(rows, (), 0)
                new.write((), (), salvage_unreported(path))
        finally:
            self._close(new)
        if Path(f"{whole}-wal").exists():
            raise OSError(f"no room for {whole}, which is to replace a damaged file")

    def _empty(self, path: Path) -> Iterator[tuple[list[int], int]]:
        assert self._file is not None
        try:
            left = self._opened(path, self._max_bytes)
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            left = self._replacement(path, error)
        try:
            while moved := self._move(left):
                yield moved, 0
            with self._touching:
                # before it is removed: a kill in between leaves both, to be reported twice
                self._file.write((), (), self._file.unreported + left.unreported)
        finally:
            self._close(left)
        with self._touching:
            remove(path)
        yield [], left.unreported

    def _move(self, left: SpoolFile) -> list[int]:
        assert self._file is not None
        with self._touching:
            rows = left.first(_BATCH)
            mine = [row._replace(row=self._file.number()) for row in rows]
            # a kill in between leaves them in both: sent twice, counted once
            self._file.write(mine, (), self._file.unreported)
            left.write((), [row.row for row in rows], left.unreported)
        return [row.row for row in mine]

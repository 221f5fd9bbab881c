"""Who owns which file of a spool's directory.

A directory holds numbered files, `0.sqlite` and so on, each with a `0.lock` beside it. A process
takes the first that nobody holds: services of several processes share a directory, and a service
that was killed finds its file again. The lock is `flock`: it ends with its process, however that
ends. Lock files are never removed: whoever waits for one could then hold another than the next.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_MAX_SLOTS: Final = 1_000


class Slot:
    """A file that this process owns until `release()`."""

    def __init__(self, directory: Path, number: int) -> None:
        """Raises BlockingIOError where it is somebody else's; OSError."""
        self.number = number
        self.path = directory / f"{number}.sqlite"
        self._lock: int | None = None
        lock = os.open(directory / f"{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:  # whatever it was, the descriptor must not leak; it is raised on
            os.close(lock)
            raise
        self._lock = lock

    def release(self) -> None:
        """In a forked child, too: there it gives up the child's share, and the parent keeps it."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)


def free(directory: Path) -> Iterator[Slot]:
    """Slots that nobody holds, from the first on. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    for number in range(_MAX_SLOTS):
        with contextlib.suppress(BlockingIOError):
            yield Slot(directory, number)


def orphans(directory: Path) -> Iterator[Slot]:
    """Files that nobody holds: their processes are gone and no process took their place."""
    for path in sorted(directory.glob("*.sqlite")):
        if path.stem.isdigit():
            with contextlib.suppress(BlockingIOError):
                yield Slot(directory, int(path.stem))

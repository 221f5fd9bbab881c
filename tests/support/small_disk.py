"""A disk of its own, small enough to be filled: a file system in memory.

The limit of a process (`RLIMIT_FSIZE`) is no full disk: chDB 26.9 reserves room before it writes,
and answers 243 where there is none, but does not notice when a write then fails, and acknowledges
a part of 300 bytes.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_MIB: Final = 1 << 20
_BLOCK: Final = 4_096


class NoDiskError(RuntimeError):
    """This system lets nobody like us mount a disk; the message says why."""


class SmallDisk:
    """`path` is where it is mounted."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self) -> None:
        """Leave no block free."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for size in (_MIB, _BLOCK):
                try:
                    while True:
                        ballast.write(bytes(size))
                except OSError:
                    continue  # no room for that much

    def clear(self) -> None:
        """Give back what `fill` took."""
        self._ballast.unlink(missing_ok=True)


@contextmanager
def small_disk(path: Path, size: int) -> Iterator[SmallDisk]:
    """Mount one of `size` bytes at `path`, an empty directory.

    Raises NoDiskError.
    """
    options = ["-t", "tmpfs", "-o", f"size={size},mode=700", "spendstream-test"]
    try:
        subprocess.run(["mount", *options, str(path)], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        why = getattr(error, "stderr", None) or error
        raise NoDiskError(f"no disk can be mounted here: {str(why).strip()}") from error
    try:
        yield SmallDisk(path)
    finally:
        # lazily: a server that was killed may not be gone yet
        subprocess.run(["umount", "-l", str(path)], check=True)

"""Digests in one sorted array, and beside each the minute in which it was added: 18 bytes an id.

Digests are random, so a sorted array needs no slack, and a small table finds the place of each
(buckets.py). New ones come in runs of at least a 48th of what is there, merged in place: moving 48
others along costs about 0.3 µs an id.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from spendstream.streams.core.buckets import Buckets

NEVER: Final = -(1 << 62)
"""The minute of an id that was never added: before any."""
MAX_MINUTES: Final = 65_000
"""Between the oldest minute that is kept and the newest: 45 days."""

_EXPIRED_SHARE: Final = 16
"""So many may be expired before they are dropped."""
_CHUNK: Final = 1 << 15  # what a processor's cache holds
_Words = NDArray[np.uint64]


class SortedIds:
    """Digests of 16 bytes with their minutes; the same digest may be there with several.

    Minutes are counted from `_base`, the oldest that the last merge kept.
    """

    __slots__ = ("_base", "_buckets", "_high", "_low", "_minutes")

    def __init__(self) -> None:
        self._base = 0
        # owned arrays, of which no views live on: they are resized in place
        self._high = np.empty(0, np.uint64)
        self._low = np.empty(0, np.uint64)
        self._minutes = np.empty(0, np.uint16)
        self._buckets = Buckets()

    def __len__(self) -> int:
        return len(self._high)

    def minutes_of(self, digests: Sequence[bytes]) -> list[int]:
        """Of each the minute in which it was last added, or NEVER."""
        size = len(self._high)
        if not size:
            return [NEVER] * len(digests)
        high, low = _words(digests)
        at = self._buckets.first_from(self._high, high)
        at[at == size] = 0
        found = np.full(len(high), NEVER)
        hits = np.flatnonzero(self._high[at] == high)
        while len(hits):  # once more for each digest that has the same first half
            there = at[hits]
            same = self._low[there] == low[hits]
            asked = hits[same]
            minutes = self._base + self._minutes[there[same]].astype(np.int64)
            found[asked] = np.maximum(found[asked], minutes)
            hits, there = hits[there + 1 < size], there[there + 1 < size] + 1
            at[hits] = there
            hits = hits[self._high[there] == high[hits]]
        return found.tolist()

    def merge(self, digests: Iterable[bytes], minutes: Iterable[int], oldest: int) -> None:
        """Add digests, and drop whatever was added before the minute `oldest`.

        Args:
            minutes: at most MAX_MINUTES after `oldest`.
        """
        added_in = np.fromiter(minutes, np.int64)
        cut = oldest - self._base
        expired = sum(
            int(np.count_nonzero(self._minutes[start : start + _CHUNK] < cut))
            for start in range(0, len(self._high), _CHUNK)
        )
        overflows = added_in.max() > self._base + MAX_MINUTES
        if overflows or expired >= len(self._high) // _EXPIRED_SHARE:
            self._drop(oldest)
        age = added_in - self._base
        high, low = _words(list(digests))
        order = np.flatnonzero(added_in >= oldest)
        order = order[np.argsort(high[order])]
        new: tuple[NDArray[Any], ...] = (high[order], low[order], age[order].astype(np.uint16))
        size = len(self._high)
        where = self._buckets.first_from(self._high, new[0])
        self._resize(size + len(order))
        # from the end, a chunk at a time, to where it belongs: never below where it stood
        starts = range(0, max(size, 1), _CHUNK)
        firsts = [0, *np.searchsorted(where, starts[1:]).tolist(), len(order)]
        for index in reversed(range(len(starts))):
            start, end = starts[index], min(starts[index] + _CHUNK, size)
            first, last = firsts[index], firsts[index + 1]
            added = where[first:last] - start + np.arange(last - first)
            kept = np.ones(end - start + last - first, np.bool_)
            kept[added] = False
            for column, values in zip(self._columns(), new, strict=True):
                merged = np.empty(len(kept), column.dtype)
                merged[kept] = column[start:end]
                merged[added] = values[first:last]
                column[start + first : end + last] = merged
        self._buckets.insert(new[0], self._high)

    def _drop(self, oldest: int) -> None:
        """Close the gaps that expired digests leave; minutes count from `oldest` afterwards."""
        cut = oldest - self._base
        self._base = oldest
        size = 0
        for start in range(0, len(self._high), _CHUNK):
            end = start + _CHUNK
            kept = self._minutes[start:end] >= cut
            count = int(np.count_nonzero(kept))
            for column in self._columns():
                column[size : size + count] = column[start:end][kept]
            if count:
                self._minutes[size : size + count] -= np.uint16(cut)
            size += count
        self._resize(size)
        self._buckets.rebuild(self._high)

    def _columns(self) -> tuple[NDArray[Any], ...]:
        return self._high, self._low, self._minutes

    def _resize(self, size: int) -> None:
        for column in self._columns():
            column.resize(size, refcheck=False)


def _words(digests: Sequence[bytes]) -> tuple[_Words, _Words]:
    """First and second half of each."""
    words = np.frombuffer(b"".join(digests), "<u8").reshape(-1, 2)
    return words[:, 0], words[:, 1]

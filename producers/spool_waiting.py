"""Rows that wait on disk to be sent, in the memory of a few ranges however many they are."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable
from typing import Final

# sorted at once: some milliseconds in which no other thread runs
_GENERATION: Final = 100_000


class WaitingRows:
    """Sent from the front, added at the end. Each row is in it once: the caller sees to that.

    Kafka's client gives events up partition by partition, so that the rows of one outage come back
    in a few interleaved runs. When their turn has come they are sorted, up to _GENERATION at once,
    which makes few ranges of them, and the order in which they were emitted; of two such lots the
    one that came to wait earlier goes first.
    """

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._ranges = deque(ranges)
        self._added = array("q")
        self._rows = sum(last - first + 1 for first, last in self._ranges)

    def __len__(self) -> int:
        return self._rows

    def add(self, row: int) -> None:
        self._rows += 1
        self._added.append(row)

    def front(self, limit: int) -> list[int]:
        """The next rows, at most `limit`."""
        if not self._ranges:
            self._sort()
        rows: list[int] = []
        for first, last in self._ranges:
            rows.extend(range(first, min(last + 1, first + limit - len(rows))))
            if len(rows) == limit:
                break
        return rows

    def take(self, count: int) -> None:
        """The first `count` of those that `front` told wait no more."""
        self._rows -= count
        while count:
            first, last = self._ranges.popleft()
            if count < last - first + 1:
                self._ranges.appendleft((first + count, last))
                return
            count -= last - first + 1

    def _sort(self) -> None:
        rows = sorted(self._added[:_GENERATION])
        del self._added[:_GENERATION]
        first = 0
        for place in range(1, len(rows) + 1):
            if place == len(rows) or rows[place] != rows[place - 1] + 1:
                self._ranges.append((rows[first], rows[place - 1]))
                first = place

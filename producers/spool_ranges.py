"""Row numbers as ranges: what waits on disk, in the memory of a few ranges however much it is."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable


class RowRanges:
    """Rows that wait, sent from the front. Each row is in it once: the caller sees to that."""

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._ranges = deque(ranges)
        self._rows = sum(last - first + 1 for first, last in self._ranges)

    def __len__(self) -> int:
        return self._rows

    def add(self, row: int) -> None:
        """At the end; rows come in ascending runs, so that most only lengthen the last range."""
        self._rows += 1
        if self._ranges and self._ranges[-1][1] == row - 1:
            self._ranges[-1] = (self._ranges[-1][0], row)
        else:
            self._ranges.append((row, row))

    def front(self, limit: int) -> tuple[int, int]:
        """The first rows, at most `limit`. Raises IndexError where there are none."""
        first, last = self._ranges[0]
        return first, min(last, first + limit - 1)

    def take(self, upto: int) -> None:
        """The rows of the first range up to and with `upto` wait no more."""
        first, last = self._ranges.popleft()
        self._rows -= upto - first + 1
        if upto < last:
            self._ranges.appendleft((upto + 1, last))

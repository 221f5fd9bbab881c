"""Drawing numbers whose quantiles are known: the quantile function, linear between its points."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final


class Quantiles:
    """Points (percent, value) from 0 to 100, both rising."""

    def __init__(self, points: Sequence[tuple[float, int]]) -> None:
        """Raises ValueError where the points are no quantile function."""
        percents, values = zip(*points, strict=True)
        if percents[0] != 0 or percents[-1] != 100:
            raise ValueError("the points must begin at 0 and end at 100 percent")
        if list(percents) != sorted(set(percents)) or list(values) != sorted(values):
            raise ValueError("the points must rise")
        self._percents: Final[list[float]] = list(percents)
        self._values: Final[list[int]] = list(values)

    def at(self, percent: float) -> int:
        """The value below which `percent` of all draws lie."""
        after = bisect_right(self._percents, percent)
        if after == len(self._percents):
            return self._values[-1]
        left, right = self._percents[after - 1], self._percents[after]
        low, high = self._values[after - 1], self._values[after]
        return low + round((high - low) * (percent - left) / (right - left))

    def draw(self, source: random.Random) -> int:
        return self.at(source.random() * 100)

"""Whose turn it is to insert a batch that is not full. Pure.

A small insert costs ClickHouse some 100 ms of CPU whatever is in it, for it writes a part of every
rollup. If all lanes made theirs at once, each would take as long as all of them together; one after
the other, the first are done early, and whoever waits gathers more rows meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

MAX_PAUSE_SECONDS: Final = 0.05
"""After an insert nobody begins another for as long as it took, but no longer than this: the
machine is left something for its other work."""
MAX_TURN_SECONDS: Final = 2.0
"""A lane that takes longer hinders the others no more."""


class Pace:
    """One turn at a time, to the lane that has waited longest. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._lane: int | None = None
        self._begun = 0.0
        self._free_at = float("-inf")

    def turn(self, now: float, waiting: Mapping[int, float]) -> int | None:
        """The lane that begins now, of those `waiting` and since when; None: nobody yet."""
        if self._lane is not None and now - self._begun < MAX_TURN_SECONDS:
            return None
        if not waiting or now < self._free_at:
            return None
        self._lane = min(waiting, key=waiting.__getitem__)
        self._begun = now
        return self._lane

    def ended(self, lane: int, now: float) -> None:
        """The lane has nothing under way any more."""
        if lane == self._lane:
            self._lane = None
            self._free_at = now + min(now - self._begun, MAX_PAUSE_SECONDS)

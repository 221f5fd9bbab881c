"""When prices hold: from a moment on, or daily between two times; laid out to be looked up fast.

Rules (published prices, variants, overrides) are asked once for every stretch of time in which
none of them begins or ends; `timetable` keeps the answers in the order of time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from spendstream.schemas.prices.book import DAY_MS, Daily, Found, Prices, Schedule

BEFORE: Final = -(2**62)
"""Before any date: prices without one hold from here on."""

Window = tuple[int, int]
"""Milliseconds after midnight UTC, from and until; may span midnight."""


class Span(NamedTuple):
    """The moments at which a rule holds."""

    since_ms: int = BEFORE
    window: Window | None = None

    def holds(self, time_ms: int, of_day_ms: int) -> bool:
        """Whether it holds in the stretch that begins at `time_ms`, at that time of day."""
        if time_ms < self.since_ms:
            return False
        if self.window is None:
            return True
        start, end = self.window
        if end < start:
            return of_day_ms >= start or of_day_ms < end
        return start <= of_day_ms < end


ALWAYS: Final = Span()


def timetable(spans: Iterable[Span], at: Callable[[int, int], Prices | None]) -> Found:
    """The prices of every moment.

    Args:
        spans: of all rules that `at` goes by.
        at: the prices in the stretch that begins at a moment, at a time of day.
    """
    spans = tuple(spans)
    starts = sorted({span.since_ms for span in spans} - {BEFORE})
    edges = sorted({0, *(edge for span in spans for edge in span.window or ())} - {DAY_MS})
    days = tuple(_day(edges, since_ms, at) for since_ms in (BEFORE, *starts))
    if len(days) == 1 and not isinstance(days[0], Daily):
        return days[0]
    return Schedule(tuple(starts), days)


def _day(
    edges: list[int], since_ms: int, at: Callable[[int, int], Prices | None]
) -> Prices | Daily | None:
    prices = tuple(at(since_ms, edge) for edge in edges)
    if all(one == prices[0] for one in prices):
        return prices[0]
    return Daily(tuple(edges), prices)

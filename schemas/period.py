"""Calendar arithmetic of billing periods, in UTC milliseconds. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

CLOSE_AFTER_MS: Final = 3_600_000
"""A billing period stays open this long after its end; later charge goes to the open period."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Period(NamedTuple):
    """A calendar month. `start_ms` ≤ t < `end_ms`."""

    name: str
    start_ms: int
    end_ms: int

    @property
    def closes_ms(self) -> int:
        return self.end_ms + CLOSE_AFTER_MS


def to_ms(moment: datetime) -> int:
    """Whole milliseconds since 1970 of an aware datetime, rounded down."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def from_ms(ms: int) -> datetime:
    return EPOCH + timedelta(milliseconds=ms)


def iso(ms: int) -> str:
    """RFC 3339, to the millisecond: `2026-11-22T12:00:00.000Z`."""
    return from_ms(ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_seconds(ms: int) -> str:
    """RFC 3339, to the second that holds the moment: `2026-11-22T12:00:00Z`."""
    return from_ms(ms).strftime("%Y-%m-%dT%H:%M:%SZ")


@lru_cache(maxsize=1024)
def month_named(name: str) -> Period:
    """`2026-11` → its period."""
    year, month = int(name[:4]), int(name[5:])
    end = (year + 1, 1) if month == 12 else (year, month + 1)
    return Period(
        name,
        to_ms(datetime(year, month, 1, tzinfo=UTC)),
        to_ms(datetime(*end, 1, tzinfo=UTC)),
    )


@lru_cache(maxsize=8192)
def _month_of_day(day: int) -> Period:
    return month_named((EPOCH + timedelta(days=day)).strftime("%Y-%m"))


def month_of(ms: int) -> Period:
    """The calendar month that holds the moment."""
    return _month_of_day(ms // 86_400_000)


def booked_to(own: Period, partition_ms: int) -> Period:
    """The billing period of a charge: its own month, or the open one once its own has closed."""
    return own if partition_ms < own.closes_ms else month_of(partition_ms)

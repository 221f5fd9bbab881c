"""Moments, as the commands take and print them."""

from __future__ import annotations

import time

from spendstream.schemas.period import from_ms


def now_ms() -> int:
    """Milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


def minute(time_ms: int) -> str:
    """For people: `2026-11-22 12:00`, in UTC."""
    return from_ms(time_ms).strftime("%Y-%m-%d %H:%M")


def day(time_ms: int) -> str:
    """The day of it, in UTC."""
    return from_ms(time_ms).strftime("%Y-%m-%d")

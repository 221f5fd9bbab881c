from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.schemas.fields import MAX_EPOCH_MS
from spendstream.schemas.period import (
    CLOSE_AFTER_MS,
    booked_to,
    from_ms,
    month_named,
    month_of,
    to_ms,
)

MOMENT = st.integers(0, MAX_EPOCH_MS)


def at(text: str) -> int:
    return to_ms(datetime.fromisoformat(text))


@pytest.mark.parametrize(
    ("moment", "month", "days"),
    [
        ("2026-11-01T00:00:00Z", "2026-11", 30),
        ("2026-11-30T23:59:59.999Z", "2026-11", 30),
        ("2026-12-31T23:59:59.999Z", "2026-12", 31),
        ("2027-01-01T00:00:00Z", "2027-01", 31),
        ("2028-02-29T12:00:00Z", "2028-02", 29),
        ("2027-02-28T23:59:59.999Z", "2027-02", 28),
        ("2100-02-28T23:59:59.999Z", "2100-02", 28),
        ("1970-01-01T00:00:00Z", "1970-01", 31),
        ("2026-12-01T00:30:00+01:00", "2026-11", 30),
    ],
)
def test_months_are_calendar_months_in_utc(moment: str, month: str, days: int) -> None:
    period = month_of(at(moment))
    assert period.name == month
    assert period.end_ms - period.start_ms == days * 86_400_000


@given(MOMENT)
def test_every_moment_is_in_its_month(ms: int) -> None:
    period = month_of(ms)
    assert period.start_ms <= ms < period.end_ms
    assert period == month_named(period.name)
    assert month_of(period.end_ms).start_ms == period.end_ms
    assert from_ms(ms).strftime("%Y-%m") == period.name


@given(MOMENT)
def test_milliseconds_survive_the_way_through_datetime(ms: int) -> None:
    assert to_ms(from_ms(ms)) == ms


def test_microseconds_are_rounded_down() -> None:
    assert to_ms(datetime(1970, 1, 1, 0, 0, 0, 1_999, UTC)) == 1
    assert to_ms(datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC)) == -1


def test_a_charge_goes_to_its_own_month_until_that_closes() -> None:
    november = month_named("2026-11")
    called = november.end_ms - 1
    closes = november.end_ms + CLOSE_AFTER_MS
    assert november.closes_ms == closes
    assert booked_to(november, called) == november
    assert booked_to(november, closes - 1) == november
    assert booked_to(november, closes).name == "2026-12"
    assert booked_to(november, closes + 40 * 86_400_000).name == "2027-01"


@given(MOMENT, st.integers(0, 100 * 86_400_000))
def test_the_period_of_a_charge_is_open(counted_ms: int, later: int) -> None:
    period = booked_to(month_of(counted_ms), counted_ms + later)
    assert counted_ms + later < period.closes_ms
    assert counted_ms < period.end_ms

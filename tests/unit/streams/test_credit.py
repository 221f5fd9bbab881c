"""Credit thresholds, overage, and the close of a billing period."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.schemas.topics import USAGE_PRICED
from tests.support.core import Driver, plan_table, plan_version
from tests.support.oracle import DEFAULT_THRESHOLDS, HOUR, USD, OverageFact, PlanFact
from tests.support.records import NOON, Call, arrive, month_start

DECEMBER = month_start("2026-12")
MILLI = USD // 1_000


def spend(name: str, at: int, milli_usd: int) -> tuple[Call, int]:
    """A call of so many thousandths of a dollar."""
    return Call(name, at, input_tokens=milli_usd * 400, output_tokens=0), at


def overage_plan(credit: int = USD) -> PlanFact:
    return PlanFact(1, None, 0, credit=credit, overage=True)


@given(st.lists(st.integers(1, 4_000), min_size=1, max_size=30))
def test_each_threshold_at_the_first_event_that_reaches_it(amounts: list[int]) -> None:
    driver = Driver()
    driver.run(arrive([spend(f"e{i}", NOON + i, a) for i, a in enumerate(amounts)]))
    expected, booked = [], 0
    for i, amount in enumerate(amounts):
        before, booked = booked, booked + amount
        expected += [
            (percent, f"e{i}", booked * MILLI)
            for percent in DEFAULT_THRESHOLDS
            if before < percent * 100 <= booked
        ]
    assert [(a.threshold, a.event_id, a.used) for a in driver.alerts()] == expected


@pytest.mark.parametrize(("credit", "crossed"), [(0, 5), (1, 5), (4, 5), (10**21, 0)])
def test_odd_credits(credit: int, crossed: int) -> None:
    driver = Driver(plan_table([PlanFact(1, None, 0, credit=credit)]))
    driver.run(arrive([spend("a", NOON, 1)]))
    assert len(driver.alerts()) == crossed


def test_overage_is_sent_in_steps_of_a_dollar() -> None:
    driver = Driver(plan_table([overage_plan()]))
    driver.run(arrive([spend(f"e{i}", NOON + i, 600) for i in range(7)]))
    # 4.2 USD spent, 3.2 beyond the credit: sent when a dollar or more was pending
    assert [(o.start // MILLI, o.end // MILLI, o.at_ms - NOON) for o in driver.overage()] == [
        (0, 1_400, 3),
        (1_400, 2_600, 5),
    ]
    assert [alert.limit for alert in driver.alerts()].count("overage") == 1


def test_overage_waits_a_minute_from_the_first_that_is_pending() -> None:
    driver = Driver(plan_table([overage_plan()]))
    driver.run(arrive([spend("a", NOON, 1_100), spend("b", NOON + 30_000, 100)]))
    driver.advance(NOON + 59_999)
    driver.finish()
    assert driver.overage() == []
    driver.advance(NOON + 10 * 60_000)
    driver.finish()
    assert driver.overage() == [
        OverageFact("ws-1", "2026-11", 0, 0, 200 * MILLI, NOON + 60_000, False)
    ]


def test_the_last_of_a_period_is_final_and_repeats_the_cumulative() -> None:
    driver = Driver(plan_table([overage_plan()]))
    driver.run(arrive([spend("a", NOON, 3_000)]))
    driver.advance(DECEMBER + 2 * HOUR)
    driver.finish()
    assert driver.overage() == [
        OverageFact("ws-1", "2026-11", 0, 0, 2_000 * MILLI, NOON, False),
        OverageFact("ws-1", "2026-11", 0, 2_000 * MILLI, 2_000 * MILLI, DECEMBER + HOUR, True),
    ]


def test_nothing_beyond_the_credit_is_never_sent() -> None:
    driver = Driver(plan_table([overage_plan(credit=3 * USD)]))
    driver.run(arrive([spend("a", NOON, 3_000)]))
    driver.advance(DECEMBER + 2 * HOUR)
    driver.finish()
    assert driver.overage() == []


def test_a_higher_credit_lowers_the_cumulative_under_a_new_revision() -> None:
    driver = Driver(plan_table([overage_plan()]))
    driver.run(arrive([spend("a", NOON, 5_000)]))
    driver.plans.add(plan_version(PlanFact(2, "ws-1", NOON, credit=3 * USD, overage=True)))
    driver.advance(NOON + 1_000)
    driver.advance(NOON + HOUR)
    driver.finish()
    assert [(o.revision, o.start // USD, o.end // USD) for o in driver.overage()] == [
        (0, 0, 4),
        (1, 4, 2),
    ]
    assert len({row["id"] for row in driver.decoded("usage.overage")}) == 2


def test_overage_switched_on_by_a_plan_is_sent_without_an_event() -> None:
    driver = Driver()
    driver.run(arrive([spend("a", NOON, 12_000)]))
    driver.plans.add(plan_version(PlanFact(1, "ws-1", NOON + HOUR, overage=True)))
    driver.advance(NOON + 2 * HOUR)
    driver.finish()
    sent = [(o.end // USD, o.at_ms - NOON) for o in driver.overage()]
    assert sent == [(2, HOUR)]  # more than a dollar, so at once


@pytest.mark.parametrize(
    ("time_ms", "arrival_ms", "period", "origin"),
    [
        (DECEMBER - 1, DECEMBER - 1, "2026-11", None),
        (DECEMBER, DECEMBER, "2026-12", None),
        (DECEMBER - 1, DECEMBER + HOUR - 1, "2026-11", None),
        (DECEMBER - 1, DECEMBER + HOUR, "2026-12", "2026-11"),
        (DECEMBER + 5, DECEMBER - 1, "2026-11", None),  # no clock moves a window ahead
    ],
)
def test_where_a_charge_is_booked(
    time_ms: int, arrival_ms: int, period: str, origin: str | None
) -> None:
    call = spend("a", time_ms, 1_000)[0]
    driver = Driver().run([call.record(0, arrival_ms)])
    (row,) = driver.decoded(USAGE_PRICED)
    assert (row["billing_period"], row["origin_period"]) == (period, origin)
    months = driver.state.workspaces["ws-1"].months
    assert months[period].booked == USD
    assert months[origin or period].counted.charge == USD
    if origin:
        assert months[origin].booked == 0


def test_a_closed_period_is_never_billed_again() -> None:
    driver = Driver(plan_table([overage_plan()]))
    driver.run(arrive([spend("a", NOON, 3_000)]))
    late = spend("b", DECEMBER - 1, 3_000)[0]
    driver.take([late.record(1, DECEMBER + HOUR)])
    driver.advance(DECEMBER + 3 * HOUR)
    driver.finish()
    assert [(o.period, o.final, o.end // USD) for o in driver.overage()] == [
        ("2026-11", False, 2),
        ("2026-11", True, 2),
        ("2026-12", False, 2),
    ]


def test_the_credit_is_renewed_without_an_event() -> None:
    driver = Driver()
    driver.run(arrive([spend("a", NOON, 11_000)]))
    assert driver.published[-1]["decision"] == "warn"
    driver.advance(DECEMBER)
    driver.finish()
    renewed = driver.published[-1]
    assert (renewed["period"], renewed["decision"], renewed["charge_pico"]) == (
        "2026-12",
        "allow",
        "0",
    )


@pytest.mark.parametrize(("overage", "expected"), [(False, "warn"), (True, "allow")])
def test_without_credit_nothing_is_left_in_a_month_without_events(
    overage: bool, expected: str
) -> None:
    driver = Driver(plan_table([PlanFact(1, None, 0, credit=0, overage=overage)]))
    driver.run(arrive([spend("a", NOON, 1)]))
    assert driver.published[-1]["decision"] == expected
    driver.advance(DECEMBER)
    driver.finish()
    idle = driver.published[-1]
    assert (idle["period"], idle["decision"], idle["remaining_pico"]) == ("2026-12", expected, "0")

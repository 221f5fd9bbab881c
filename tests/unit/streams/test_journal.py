"""A state made from priced rows is the state that priced them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spendstream.schemas.topics import USAGE_PRICED
from spendstream.streams.core.ids import digest
from spendstream.streams.core.journal import JournalGap, JournalRow, apply_row
from tests.support.core import Driver, plan_table
from tests.support.oracle import DAY, PlanFact
from tests.support.records import NOON, Call, arrive
from tests.support.strategies import Step, lives, plan_changes


def row_of(row: dict[str, Any]) -> JournalRow:
    usage = row["event"].get("usage") or {}
    return JournalRow(
        row["seq"],
        row["topic"],
        row["counted_ms"],
        row["judged_ms"],
        row["event_id"],
        row["event"]["workspace_id"],
        usage.get("input_tokens", 0),
        usage.get("output_tokens", 0),
        None if row["cost_pico"] is None else int(row["cost_pico"]),
        None if row["charge_pico"] is None else int(row["charge_pico"]),
        row["event"].get("status") == "blocked",
        row["billing_period"],
        row["plan_version"],
    )


def replayed(driver: Driver, split: set[int]) -> Driver:
    again = Driver(driver.plans)
    for row in driver.decoded(USAGE_PRICED):
        if row["seq"] in split:
            again.finish()
        apply_row(again.state, again.batch, row_of(row), again.plans)
    again.finish()
    return again


def live(driver: Driver, digests: list[bytes]) -> list[bool]:
    ids = driver.state.ids
    return [ids.seen(*pair) for pair in zip(digests, ids.look_up(digests), strict=True)]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(lives(), plan_changes(), st.sets(st.integers(1, 40)))
def test_rows_make_the_same_state(life: list[Step], plans: list[PlanFact], split: set[int]) -> None:
    """Records that leave no row are known by the time that they have made pass."""
    driver = Driver(plan_table(plans))
    for offset, step in enumerate(life):
        driver.take([step.record(offset)])
        driver.finish()
    again = replayed(driver, split)
    counted = [
        digest(row["event"]["workspace_id"], row["event_id"])
        for row in driver.decoded(USAGE_PRICED)
    ]
    assert live(again, counted) == live(driver, counted)
    end = life[-1].arrival_ms + 70 * DAY
    for one in (driver, again):
        one.advance(end)
        one.finish()
    assert again.workspaces() == driver.workspaces()
    assert again.alerts() == driver.alerts()
    assert again.overage() == driver.overage()


def test_a_missing_row_is_an_error() -> None:
    driver = Driver().run(arrive([(Call(f"e{i}", NOON + i), NOON + i) for i in range(3)]))
    rows = [row_of(row) for row in driver.decoded(USAGE_PRICED)]
    for applied, wrong in (([], rows[1]), (rows[:1], rows[2]), (rows[:1], rows[0])):
        again = Driver()
        for row in applied:
            apply_row(again.state, again.batch, row, again.plans)
        with pytest.raises(JournalGap):
            apply_row(again.state, again.batch, wrong, again.plans)

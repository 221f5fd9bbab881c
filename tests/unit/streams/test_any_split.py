"""However records are cut into batches and calls, the same comes out; and it is what a naive
recount says."""

from __future__ import annotations

from dataclasses import asdict
from itertools import pairwise
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spendstream.schemas.topics import USAGE_ALERTS, USAGE_EVENTS, USAGE_LATE, USAGE_OVERAGE
from spendstream.streams.core import schedule
from spendstream.streams.core.ids import IdIndex
from tests.support.core import Driver, plan_table
from tests.support.oracle import DAY, Oracle, PlanFact, Sums
from tests.support.strategies import Step, lives, plan_changes

SLOW = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def cut(
    life: list[Step],
    plans: list[PlanFact],
    calls: set[int],
    batches: set[int],
    settle_at: int = 4_096,
) -> Driver:
    """`calls` and `batches` are the indices before which a call and a batch end."""
    driver = Driver(plan_table(plans))
    driver.state.ids = IdIndex(settle_at=settle_at)
    records = [step.record(offset) for offset, step in enumerate(life)]
    edges = sorted({0, len(records)} | calls | batches)
    for start, end in pairwise(edges):
        if start in batches:
            driver.finish()
        driver.take(records[start:end])
    driver.finish()
    # what is still due in any of the cuts falls due now
    driver.advance(life[-1].arrival_ms + 70 * DAY)
    driver.finish()
    return driver


@SLOW
@given(lives(), plan_changes(), st.data())
def test_any_split_gives_the_same(
    life: list[Step], plans: list[PlanFact], data: st.DataObject
) -> None:
    indices = st.sets(st.integers(0, len(life)))
    whole = cut(life, plans, set(), set())
    settle_at = data.draw(st.integers(1, 5))
    split = cut(life, plans, data.draw(indices), data.draw(indices), settle_at)
    for topic, rows in whole.rows.items():
        assert split.rows[topic] == rows
    assert split.checkpoint() == whole.checkpoint()
    assert split.workspaces() == whole.workspaces()


@SLOW
@given(lives(), plan_changes(), st.data())
def test_so_does_one_with_more_due_than_a_batch_serves(
    life: list[Step], plans: list[PlanFact], data: st.DataObject
) -> None:
    """But for the order among workspaces."""
    indices = st.sets(st.integers(0, len(life)))
    whole = cut(life, plans, set(), set())
    with patch.object(schedule, "MAX_DUE_RUNS", 1):
        split = cut(life, plans, data.draw(indices), data.draw(indices))
    for _ in range(200):  # a few rounds serve what is left
        split.advance(split.state.time_ms)
        split.finish()
    for topic in whole.rows:
        assert by_workspace(split, topic) == by_workspace(whole, topic)
    assert split.workspaces() == whole.workspaces()


def by_workspace(driver: Driver, topic: str) -> list[dict[str, Any]]:
    rows = [row | {"seq": 0} for row in driver.decoded(topic)]
    return sorted(rows, key=lambda row: str(row.get("workspace_id") or row.get("event")))


@SLOW
@given(lives(), plan_changes())
def test_as_the_oracle_says(life: list[Step], plans: list[PlanFact]) -> None:
    driver = cut(life, plans, set(), set())
    oracle = Oracle(plans)
    for step in life:
        if step.malformed:
            oracle.refuse(step.arrival_ms)
        else:
            oracle.take(step.call, step.arrival_ms)
    oracle.advance(life[-1].arrival_ms + 70 * DAY)

    outcomes = driver.state.checkpoint.outcomes[USAGE_EVENTS]
    assert outcomes == {name: oracle.outcomes[name] for name in outcomes}
    assert [row["event_id"] for row in driver.decoded(USAGE_LATE)] == oracle.late
    assert driver.alerts() == oracle.alerts
    assert sorted(driver.overage()) == sorted(oracle.overage)
    assert set(driver.state.workspaces) == set(oracle.ledgers)
    for name, ws in driver.state.workspaces.items():
        assert sums_of(ws.total) == oracle.total(name)
        months = oracle.months(name)
        for month, kept in ws.months.items():
            assert sums_of(kept.counted) == months.get(month, Sums())
            bill = oracle.ledgers[name].bills[month]
            assert (kept.booked, kept.overage_emitted, kept.final, set(kept.crossed)) == (
                bill.booked,
                bill.emitted,
                bill.closed,
                bill.crossed,
            )


@given(lives())
@SLOW
def test_ids_of_rows_are_unique(life: list[Step]) -> None:
    driver = cut(life, [], set(), set())
    for topic in (USAGE_ALERTS, USAGE_OVERAGE):
        ids = [row["id"] for row in driver.decoded(topic)]
        assert len(ids) == len(set(ids))
    for topic, rows in driver.rows.items():
        assert [row["seq"] for row in driver.decoded(topic)] == list(range(1, len(rows) + 1))


def sums_of(counters: object) -> Sums:
    return Sums(**{name: getattr(counters, name) for name in asdict(Sums())})

"""What happens by itself, and how often."""

from __future__ import annotations

from spendstream.streams.core.schedule import MAX_DUE_RUNS
from tests.support.core import Driver, plan_table
from tests.support.oracle import DAY, HOUR, USD, PlanFact
from tests.support.records import NOON, Call, arrive, month_start

DECEMBER = month_start("2026-12")


def test_a_leap_of_time_runs_a_workspace_a_few_times_only() -> None:
    driver = Driver()
    for i in range(2):  # the second leaves it waiting to be published
        driver.take([Call(f"e{i}", NOON + i).record(i)])
        driver.finish()
    assert driver.state.workspaces["ws-1"].unpublished
    driver.advance(NOON + 70 * DAY)
    assert driver.batch.due_runs < 20
    driver.finish()
    assert not driver.state.workspaces["ws-1"].unpublished


def test_the_public_state_catches_up_within_a_second() -> None:
    driver = Driver()
    for i in range(5):
        driver.take([Call(f"e{i}", NOON + i * 100).record(i)])
        driver.finish()
    told = [r["requests"] for r in driver.published if "workspace_id" in r]
    assert told == [1]
    driver.advance(NOON + 1_000)
    driver.finish()
    assert driver.published[-1]["requests"] == 5


def test_the_saved_state_knows_that_the_public_one_is_behind() -> None:
    driver = Driver()
    driver.take([Call("a", NOON).record(0)])
    assert b"unpublished" not in driver.finish().checkpoint[0][1]
    driver.take([Call("b", NOON + 1).record(1)])
    assert b'"unpublished":true' in driver.finish().checkpoint[0][1]


def test_the_end_of_a_month_for_more_workspaces_than_a_batch_serves() -> None:
    driver = Driver(plan_table([PlanFact(1, None, 0, credit=0, overage=True)]))
    count = MAX_DUE_RUNS + 500
    calls = [(Call(f"e{i}", NOON, f"ws-{i}", input_tokens=4), NOON) for i in range(count)]
    driver.run(arrive(calls))
    driver.advance(NOON + 120_000)
    driver.finish()
    driver.advance(NOON + 240_000)
    driver.finish()
    assert len(driver.overage()) == count
    batches = 0
    while driver.state.due[0][0] <= DECEMBER + 2 * HOUR:
        driver.advance(DECEMBER + 2 * HOUR)
        assert 0 < driver.batch.due_runs <= MAX_DUE_RUNS
        driver.finish()
        batches += 1
    final = [fact for fact in driver.overage() if fact.final]
    assert len(final) == count
    assert {fact.end for fact in final} == {10 * 10**6 + 100 * 10 * 10**6}
    assert batches < 10


def test_what_is_due_is_done_before_the_event_that_comes_after_it() -> None:
    driver = Driver(plan_table([PlanFact(1, None, 0, credit=USD, overage=True)]))
    calls = [(Call("a", NOON, input_tokens=480_000, output_tokens=0), NOON)]
    calls.append((Call("b", NOON + HOUR, input_tokens=480_000, output_tokens=0), NOON + HOUR))
    driver.run(arrive(calls))
    assert [(o.at_ms - NOON, o.end * 10 // USD) for o in driver.overage()] == [
        (60_000, 2),
        (HOUR, 14),
    ]

"""What happens by itself, and how often."""

from __future__ import annotations

from spendstream.streams.core.schedule import MAX_DUE_RUNS
from tests.support.core import Driver, plan_table, plan_version
from tests.support.oracle import DAY, HOUR, USD, LimitFact, PlanFact
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


def test_a_call_of_a_month_that_has_closed_judges_nothing_by_the_plan_of_then() -> None:
    """It came within a day, so that it is counted there; nothing is booked there any more."""
    lowered = PlanFact(1, "ws-1", 0, credit=0, overage=True)
    raised = PlanFact(2, "ws-1", DECEMBER + 12 * HOUR, credit=100 * USD, overage=True)
    driver = Driver(plan_table([lowered, raised]))
    now = DECEMBER + 20 * HOUR
    driver.run([Call("a", now, input_tokens=20_000_000, output_tokens=0).record(0, now)])
    driver.run([Call("b", DECEMBER - HOUR).record(1, now + 1)])
    driver.plans.add(plan_version(PlanFact(3, "someone-else", 0)))
    driver.run([Call("c", now + 2 * HOUR).record(2, now + 2 * HOUR)])
    driver.advance(now + 3 * HOUR)
    driver.finish()
    assert driver.overage() == []
    assert driver.state.workspaces["ws-1"].months["2026-11"].counted.requests == 1


def test_it_makes_no_appointment_in_the_past() -> None:
    """A used-up minute has one a second, which must not begin a month ago."""
    limit = LimitFact("rpm", "requests", "minute", 1)
    driver = Driver(plan_table([PlanFact(1, None, 0, limits=(limit,))]))
    now = DECEMBER + 20 * HOUR
    driver.run([Call("a", now).record(0, now), Call("b", DECEMBER - HOUR).record(1, now)])
    driver.take([Call("c", now + 1_000).record(2, now + 1_000)])
    assert driver.batch.due_runs < 10
    assert driver.state.workspaces["ws-1"].due_ms > now

"""Counters, the sliding minute, violations and the decision."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spendstream.streams.core.limits import used_of
from spendstream.streams.core.public import decide
from tests.support.core import Driver, plan_table, plan_version
from tests.support.oracle import DAY, HOUR, USD, LimitFact, Oracle, PlanFact
from tests.support.records import NOON, Call, arrive, month_start

MILLI = USD // 1_000

A_MINUTE = (
    LimitFact("rpm", "requests", "minute", 10),
    LimitFact("tpm", "tokens", "minute", 5_000),
    LimitFact("cpm", "charge", "minute", 10**9),
)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 30_000),
            st.integers(0, 90_000),
            st.sampled_from((0, 500, None)),
            st.sampled_from(("ok", "blocked")),
        ),
        max_size=40,
    )
)
def test_sliding_minute_against_the_whole_history(
    steps: list[tuple[int, int, int | None, str]],
) -> None:
    facts = [PlanFact(1, None, 0, limits=A_MINUTE)]
    driver, oracle, now = Driver(plan_table(facts)), Oracle(facts), NOON
    for offset, (gap, age, tokens, status) in enumerate(steps):
        now += gap
        call = Call(f"e{offset}", now - age, input_tokens=tokens, status=status)
        driver.take([call.record(offset, now)])
        oracle.take(call, now)
        ws = driver.state.workspaces["ws-1"]
        for limit in ws.force.plan.limits:
            assert used_of(ws, limit, now) == oracle.minute("ws-1", limit.measure, now)
    driver.finish()
    assert driver.alerts() == oracle.alerts


def burst(start: int, count: int, name: str) -> list[tuple[Call, int]]:
    return [(Call(f"{name}{i}", start + i), start + i) for i in range(count)]


def episodes(*bursts: list[tuple[Call, int]]) -> list[int]:
    """Moments at which a violation of 10 requests a minute was reported, after noon."""
    driver = Driver(plan_table([PlanFact(1, None, 0, limits=A_MINUTE[:1])]))
    driver.run(arrive([sent for one in bursts for sent in one]))
    return [alert.at_ms - NOON for alert in driver.alerts()]


def test_one_alert_an_episode() -> None:
    assert episodes(burst(NOON, 100, "a")) == [10]


def test_a_full_minute_below_ends_an_episode() -> None:
    # above until 60 s after noon; a full window below it has passed at 120 s, not at 61 s
    assert episodes(burst(NOON, 100, "a"), burst(NOON + 61_000, 11, "b")) == [10]
    assert episodes(burst(NOON, 100, "a"), burst(NOON + 119_900, 11, "b")) == [10]
    assert episodes(burst(NOON, 100, "a"), burst(NOON + 120_000, 11, "b")) == [10, 120_010]


def test_an_episode_ends_where_the_sum_fell_not_where_events_did() -> None:
    # the 11th of 30 leaves the window at 60 + 19 s
    slow = [(Call(f"a{i}", NOON + i * 1_000), NOON + i * 1_000) for i in range(30)]
    assert episodes(slow, burst(NOON + 138_900, 11, "b")) == [10_000]
    assert episodes(slow, burst(NOON + 139_000, 11, "b")) == [10_000, 139_010]


def test_exactly_the_amount_is_no_violation_but_nothing_is_left() -> None:
    limits = (LimitFact("rpm", "requests", "minute", 10, "block"),)
    driver = Driver(plan_table([PlanFact(1, None, 0, limits=limits)]))
    driver.run(arrive(burst(NOON, 9, "a")))
    assert driver.published[-1]["decision"] == "allow"
    driver.take([Call("last", NOON + 9).record(9)])
    driver.finish()
    assert driver.alerts() == []
    assert driver.published[-1]["decision"] == "block"
    assert (
        driver.published[-1]["limits"][0] | {"remaining": "0", "exceeded": False}
        == (driver.published[-1]["limits"][0])
    )


def test_a_blocked_workspace_is_let_go_by_the_clock_alone() -> None:
    limits = (LimitFact("rpm", "requests", "minute", 10, "block"),)
    driver = Driver(plan_table([PlanFact(1, None, 0, limits=limits)]))
    driver.run(arrive(burst(NOON, 10, "a")))
    for second in range(1, 70):
        driver.advance(NOON + second * 1_000)
        driver.finish()
        expected = "block" if second < 60 else "allow"
        told = [r for r in driver.published if "workspace_id" in r][-1]["decision"]
        assert (second, told) == (second, expected)


def test_a_limit_of_nothing_does_not_keep_the_clock_busy() -> None:
    limits = (LimitFact("never", "requests", "minute", 0, "block"),)
    driver = Driver(plan_table([PlanFact(1, None, 0, limits=limits)]))
    driver.run(arrive(burst(NOON, 1, "a")))
    driver.advance(NOON + 3 * 60_000)
    driver.finish()
    driver.advance(NOON + HOUR)
    assert driver.batch.due_runs == 0
    assert decide(driver.state.workspaces["ws-1"], NOON + HOUR) == "block"


def test_a_month_limit_is_violated_once_a_month() -> None:
    limits = (LimitFact("cap", "requests", "month", 2),)
    december = month_start("2026-12")
    times = [december - 3 * HOUR, december - 2 * HOUR, december - HOUR, december - 1]
    times += [december + i for i in range(4)]
    driver = Driver(plan_table([PlanFact(1, None, 0, limits=limits)]))
    driver.run(arrive([(Call(f"e{at}", at), at) for at in times]))
    assert [(a.episode, a.event_id, a.used) for a in driver.alerts()] == [
        ("2026-11", f"e{december - HOUR}", 3),
        ("2026-12", f"e{december + 2}", 3),
    ]


def test_names_of_limits_cannot_collide_with_months() -> None:
    limits = (
        LimitFact("cap", "requests", "month", 0),
        LimitFact("cap@2026-11", "requests", "minute", 0),
    )
    driver = Driver(plan_table([PlanFact(1, None, 0, limits=limits)]))
    driver.run(arrive(burst(NOON, 1, "a")))
    assert [alert.limit for alert in driver.alerts()] == ["cap", "cap@2026-11"]


def test_episodes_of_forgotten_months_are_forgotten() -> None:
    limits = (LimitFact("cap", "requests", "month", 0),)
    driver = Driver(plan_table([PlanFact(1, None, 0, limits=limits)]))
    for i in range(8):
        at = NOON + i * 31 * DAY
        driver.take([Call(f"e{i}", at).record(i)])
        driver.finish()
    ws = driver.state.workspaces["ws-1"]
    assert len(ws.months) <= 4
    assert len(ws.episodes) == len(ws.months)


def test_without_overage_the_plan_says_what_happens_when_the_credit_is_gone() -> None:
    dear = Call("e", NOON, input_tokens=4_000_000)
    for overage, expected in ((True, "allow"), (False, "warn")):
        driver = Driver(plan_table([PlanFact(1, None, 0, overage=overage)]))
        driver.run([dear.record()])
        assert driver.published[-1]["decision"] == expected
        assert driver.published[-1]["remaining_pico"] == "0"
        assert driver.published[-1]["overage_pico"] == str(MILLI * overage)


def test_block_beats_warn_whatever_comes_first() -> None:
    limits = (
        LimitFact("soft", "requests", "minute", 1, "warn"),
        LimitFact("hard", "requests", "minute", 1, "block"),
    )
    for order in (limits, limits[::-1]):
        driver = Driver(plan_table([PlanFact(1, None, 0, limits=order)]))
        driver.run([Call("e", NOON).record()])
        assert driver.published[-1]["decision"] == "block"


def test_a_higher_limit_is_published_without_an_event() -> None:
    limits = (LimitFact("cap", "requests", "month", 1, "block"),)
    driver = Driver(plan_table([PlanFact(1, None, 0, limits=limits)]))
    driver.run([Call("e", NOON).record()])
    assert driver.published[-1]["decision"] == "block"
    driver.plans.add(plan_version(PlanFact(2, "ws-1", 0)))
    driver.advance(NOON + 10)
    driver.finish()
    assert driver.published[-1]["decision"] == "allow"

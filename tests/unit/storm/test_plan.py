"""A seed gives the same faults and the same traffic, every time."""

from __future__ import annotations

from collections import Counter

from tests.storm.plan import KINDS, plan
from tests.storm.traffic import Traffic, plans
from tests.support.oracle_prices import cost_of


def test_a_seed_repeats_and_another_differs() -> None:
    assert plan(3, 60) == plan(3, 60)
    assert [one.kind for one in plan(3, 60)] != [one.kind for one in plan(4, 60)]
    one, same, other = Traffic(3, 1_000), Traffic(3, 1_000), Traffic(4, 1_000)
    assert [one.call(n, 0) for n in range(300)] == [same.call(n, 0) for n in range(300)]
    assert [one.sendings(n) for n in range(300)] == [same.sendings(n) for n in range(300)]
    amounts = [[cost_of(traffic.call(n, 0)) for n in range(300)] for traffic in (one, other)]
    assert amounts[0] != amounts[1]
    assert plans(one) == plans(same)


def test_every_kind_comes_once_before_any_comes_twice() -> None:
    assert {one.kind for one in plan(1, len(KINDS))} == KINDS.keys()
    assert Counter(one.kind for one in plan(1, 100)).keys() == KINDS.keys()
    assert {one.kind.kind for one in plan(1, 5, ["worker killed"])} == {"worker killed"}


def test_traffic_has_all_that_it_should() -> None:
    traffic = Traffic(1, 5_000, late=50)
    calls = [traffic.call(n, 10**12) for n in range(5_000)]
    assert len({call.id for call in calls}) == 5_000
    assert all(traffic.number(call.id) == n for n, call in enumerate(calls))
    busiest = Counter(call.workspace_id for call in calls).most_common()
    assert busiest[0][1] > 20 * busiest[-1][1]
    assert {call.status for call in calls} == {"ok", "error", "blocked"}
    assert any(cost_of(call) is None for call in calls)
    assert any(call.cache_read and call.cache_write for call in calls)
    reported = sum("reported_cost_pico" in call.more for call in calls)
    assert 5_000 / 8 < reported < 5_000 / 4
    assert any(call.time_ms < 10**12 - 86_400_000 for call in calls)
    ways = Counter(sending.way for n in range(5_000) for sending in traffic.sendings(n))
    assert ways.keys() == {"emit", "astray", "keyless", "bad"}
    repeats = [s for n in range(5_000) for s in traffic.sendings(n) if s.number != n]
    assert len(repeats) > 100


def test_plans_charge_in_all_ways() -> None:
    made = plans(Traffic(1, 5_000))
    for some in (
        [one.reported for one in made],
        [one.own != () for one in made],
        [one.markup != "0" for one in made],
        [one.overage for one in made],
    ):
        assert 10 < sum(some) <= len(made) / 2
    assert any(one.overage and one.own and one.markup != "0" for one in made)
    assert any(one.overage and one.reported and one.markup != "0" for one in made)

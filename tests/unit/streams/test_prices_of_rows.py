"""Costs of priced rows, against prices written down by hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spendstream.schemas.topics import USAGE_PRICED
from tests.support.core import Driver
from tests.support.oracle_prices import PRICES, cost_of
from tests.support.records import NOON, Call


@st.composite
def calls(draw: st.DrawFn) -> Call:
    provider, model = draw(st.sampled_from(sorted(PRICES)))
    tokens = draw(st.one_of(st.integers(0, 10**9), st.sampled_from((200_000, 200_001))))
    read = draw(st.integers(0, tokens))
    write = draw(st.integers(0, tokens - read))
    output = draw(st.integers(0, 10**9))
    return Call("e", NOON, "ws-1", provider, model, tokens, output, read, write)


@given(calls())
def test_cost_is_what_a_person_would_reckon(call: Call) -> None:
    (row,) = Driver().run([call.record()]).decoded(USAGE_PRICED)
    assert int(row["cost_pico"]) == cost_of(call)
    assert row["charge_pico"] == row["cost_pico"]
    assert sum(int(leaf["cost_pico"]) for leaf in row["leaves"]) == cost_of(call)
    quantities = {leaf["leaf"]: leaf["quantity"] for leaf in row["leaves"]}
    assert sum(quantities.values()) == (call.input_tokens or 0) + call.output_tokens


def test_unpriced_is_not_free() -> None:
    for call in (Call("e", NOON, model="unheard-of"), Call("e", NOON, input_tokens=None)):
        driver = Driver().run([call.record()])
        (row,) = driver.decoded(USAGE_PRICED)
        assert (row["cost_pico"], row["charge_pico"], row["cost_quality"]) == (
            None,
            None,
            "unpriced",
        )
        total = driver.state.workspaces["ws-1"].total
        assert (total.unpriced, total.requests, total.charge) == (1, 1, 0)


def test_a_blocked_call_cost_nothing() -> None:
    driver = Driver().run([Call("e", NOON, status="blocked").record()])
    (row,) = driver.decoded(USAGE_PRICED)
    assert (row["cost_pico"], row["leaves"]) == ("0", [])
    assert driver.state.workspaces["ws-1"].total.unpriced == 0


def test_sums_beyond_64_bits_are_kept() -> None:
    dear = [
        Call(f"e{i}", NOON, "ws-1", "anthropic", "claude-sonnet-4-5", 10**9, 10**9)
        for i in range(700)
    ]
    driver = Driver()
    driver.take([call.record(i) for i, call in enumerate(dear)])
    closing = driver.finish()
    total = driver.state.workspaces["ws-1"].total.charge
    assert total == 700 * (cost_of(dear[0]) or 0) > 2**63
    assert b'"charge":%d' % total in closing.checkpoint[0][1]

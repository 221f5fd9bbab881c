"""What a workspace is charged: markup, its own prices, and which of two costs counts."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.schemas.charge import charge_of, parts_of
from spendstream.schemas.prices.compile import compile_book
from spendstream.schemas.prices.overrides import parse_overrides
from spendstream.schemas.topics import USAGE_PRICED
from tests.support.core import BOOK, Driver, plan_table
from tests.support.oracle import PlanFact
from tests.support.records import NOON, Call

COST = 1_000 * 2_500_000 + 100 * 10_000_000
REPORTED = {"reported_cost_pico": "3400000000"}


def row_of(plan: PlanFact, call: Call | None = None, driver: Driver | None = None) -> Any:
    driver = driver or Driver(plan_table([plan]))
    return driver.run([(call or Call("e", NOON)).record()]).decoded(USAGE_PRICED)[0]


def money(row: Any) -> tuple[Any, ...]:
    names = ("computed_cost_pico", "cost_pico", "charge_pico", "cost_quality")
    return tuple(row[name] for name in names)


@given(st.integers(0, 10**21), st.decimals(0, 1000, places=6))
def test_a_charge_is_cost_and_markup_rounded_once(cost: int, markup: Decimal) -> None:
    with localcontext() as context:
        context.prec = 60
        exact = Decimal(cost) * (100 + markup) / 100
        assert charge_of(cost, parts_of(f"{markup:f}")) == exact.quantize(
            Decimal(1), ROUND_HALF_EVEN
        )


@pytest.mark.parametrize(
    ("markup", "charge"),
    [("0", COST), ("20", COST * 12 // 10), ("12.5", COST * 9 // 8), ("1000", COST * 11)],
)
def test_the_markup_is_on_the_charge_alone(markup: str, charge: int) -> None:
    row = row_of(PlanFact(1, markup=markup))
    assert money(row) == (str(COST), str(COST), str(charge), "measured")


def test_credit_is_used_up_by_the_charge() -> None:
    driver = Driver(plan_table([PlanFact(1, credit=2 * COST, markup="100")]))
    row_of(PlanFact(), driver=driver)
    assert [alert.threshold for alert in driver.alerts()] == [75, 80, 90, 95, 100]
    assert driver.state.workspaces["ws-1"].total.charge == 2 * COST
    assert driver.state.workspaces["ws-1"].total.cost == COST


def test_own_prices_are_the_charge_without_markup() -> None:
    own = (("openai", "gpt-4o", "1", "2"),)
    row = row_of(PlanFact(1, markup="50", own=own))
    assert money(row) == (str(COST), str(COST), str(1_200_000_000), "measured")
    other = row_of(PlanFact(1, markup="50", own=own), Call("e", NOON, model="gpt-4o-mini"))
    assert int(other["charge_pico"]) * 2 == int(other["cost_pico"]) * 3


@pytest.mark.parametrize(
    ("more", "quality"),
    [
        ({"service_tier": "priority"}, "estimated"),  # which the list has a price for
        ({"service_tier": "priority", **REPORTED}, "estimated"),
        (REPORTED, "provider_reported"),
        ({"usage_quality": "conflicting", "provider_usage": {"a": 1}, **REPORTED}, "conflicting"),
    ],
)
def test_a_charge_that_is_an_estimate_makes_the_row_one(more: Any, quality: str) -> None:
    plan = PlanFact(1, own=(("openai", "gpt-4o", "1", "2"),), reported=True)
    row = row_of(plan, Call("e", NOON, more=more))
    assert row["charge_pico"] == str(1_200_000_000)
    assert row["cost_quality"] == quality
    of_cost = row_of(PlanFact(1, reported=True), Call("e", NOON, more=more))
    assert of_cost["cost_quality"] in ("measured", "provider_reported")


def test_own_prices_hold_for_the_operators_aliases() -> None:
    driver = Driver(plan_table([PlanFact(1, own=(("openai", "gpt-4o", "1", "2"),))]))
    target = {"provider": "openai", "model": "gpt-4o"}
    alias = {"provider": "azure", "model": "ours", "valid_from": "2026-01-01", "same_as": target}
    driver.book = compile_book(parse_overrides({"aliases": [alias]}))
    row = row_of(PlanFact(), Call("e", NOON, provider="azure", model="ours"), driver)
    assert money(row)[1:3] == (str(COST), str(1_200_000_000))


def test_other_models_need_an_own_price_as_well() -> None:
    more = {"input_tokens": 1_000, "output_tokens": 100}
    usage = {**more, "other_models": [{"model": "gpt-4o-mini", **more}]}
    call = Call("e", NOON, more={"usage": usage})
    row = row_of(PlanFact(1, own=(("openai", "gpt-4o", "1", "2"),)), call)
    assert row["charge_pico"] == row["cost_pico"]
    own = (("openai", "gpt-4o", "1", "2"), ("openai", "gpt-4o-mini", "0", "1"))
    assert row_of(PlanFact(1, own=own), call)["charge_pico"] == str(1_300_000_000)


def test_a_model_without_a_price_may_have_the_workspaces() -> None:
    driver = Driver(plan_table([PlanFact(1, own=(("openai", "home-made", "1", "2"),))]))
    row = row_of(PlanFact(), Call("e", NOON, model="home-made"), driver)
    assert money(row) == (None, None, str(1_200_000_000), "unpriced")
    total = driver.state.workspaces["ws-1"].total
    assert (total.unpriced, total.cost, total.charge) == (1, 0, 1_200_000_000)


@pytest.mark.parametrize(
    ("plan", "call", "found"),
    [
        (PlanFact(1), Call("e", NOON, more=REPORTED), (COST, COST, COST, "measured")),
        (
            PlanFact(1, reported=True, markup="50"),
            Call("e", NOON, more=REPORTED),
            (COST, 3_400_000_000, 5_100_000_000, "provider_reported"),
        ),
        (PlanFact(1, reported=True), Call("e", NOON), (COST, COST, COST, "measured")),
        (
            PlanFact(1, reported=True),
            Call("e", NOON, model="unheard-of", more=REPORTED),
            (None, 3_400_000_000, 3_400_000_000, "provider_reported"),
        ),
        (
            PlanFact(1, reported=True),
            Call("e", NOON, input_tokens=None, more=REPORTED),
            (None, 3_400_000_000, 3_400_000_000, "provider_reported"),
        ),
        (
            PlanFact(1, reported=True, markup="50"),
            Call("e", NOON, status="blocked", more=REPORTED),
            (0, 0, 0, "measured"),
        ),
    ],
)
def test_a_reported_cost_counts_only_where_the_plan_says_so(
    plan: PlanFact, call: Call, found: tuple[Any, ...]
) -> None:
    wanted = tuple(str(one) if isinstance(one, int) else one for one in found)
    row = row_of(plan, call)
    assert money(row) == wanted
    assert row["event"].get("reported_cost_pico") == call.more.get("reported_cost_pico")


def test_the_book_of_own_prices_is_made_once() -> None:
    entries = parse_overrides(
        {"prices": [{"provider": "a", "model": "b", "valid_from": "2026-01-01",
                     "prices": {"input": "1"}}]}
    ).prices  # fmt: skip
    assert BOOK.only(entries) is BOOK.only(entries)
    assert BOOK.only((*entries,)) is not BOOK.only(entries)

"""Stored rows priced again: what a check lists of them, how a charge is explained line by line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from spendstream.api.jobs.control_prices import mirrored_records
from spendstream.api.prices.check import check_prices
from spendstream.api.prices.explain import explain
from spendstream.schemas import Plan
from spendstream.schemas.prices.book import PriceBook
from spendstream.schemas.prices.compile import compile_book
from spendstream.schemas.prices.overrides import Overrides, parse_overrides
from spendstream.schemas.prices.version import PriceVersion
from spendstream.schemas.usage import OtherModel, Usage
from tests.integration.stored import NOON, Figures, Said, calls, filled
from tests.servers.clickhouse import ClickHouseServer

pytestmark = [pytest.mark.clickhouse, pytest.mark.xdist_group("price_rows")]

DATABASE = f"price_rows_{os.getpid()}"
LATER = "2026-11-24T00:00:00Z"


def prices(model: str, provider: str = "openai", **more: Any) -> dict[str, Any]:
    return {"provider": provider, "model": model, "valid_from": "2026-01-01"} | more


def said(*entries: dict[str, Any], aliases: tuple[dict[str, Any], ...] = ()) -> Overrides:
    return parse_overrides({"prices": list(entries), "aliases": list(aliases)})


def tokens(model: str) -> OtherModel:
    return OtherModel(model=model, input_tokens=900, output_tokens=3, cache_read_input_tokens=100)


OLD = said(
    prices("ours", prices={"input": "1", "output": "2", "web_searches": "5", "requests": "4"}),
    prices("gpt-4o", when={"batch": True}, prices={"input": "1", "output": "2"}),
    prices("claude-haiku-4-5", "anthropic", prices={"input": "1", "output": "2"}),
    prices("own", prices={"input": "1", "output": "1"}),
    aliases=({**prices("deployed"), "same_as": {"provider": "openai", "model": "own"}},),
)
USAGE = Usage(input_tokens=1_000, output_tokens=100, cache_read_input_tokens=400)
DRAWN = Usage(input_tokens=0, output_tokens=0, images=1)
SEARCHED = Usage(input_tokens=1, output_tokens=1, web_searches=1)
WITH_OTHERS = Usage(
    input_tokens=10,
    output_tokens=5,
    other_models=(tokens("claude-haiku-4-5"), tokens("claude-haiku-4-5")),
)
SENT: tuple[Said, ...] = (
    ("first", "ws-0", "openai", "ours", {"usage": Usage(input_tokens=1, output_tokens=1)}),
    (
        "searched",
        "ws-0",
        "openai",
        "ours",
        {"usage": Usage(input_tokens=1_000, output_tokens=0, web_searches=2)},
    ),
    ("batch", "ws-1", "openai", "gpt-4o", {"batch": True}),
    ("plain", "ws-1", "openai", "gpt-4o", {}),
    ("others", "ws-1", "anthropic", "claude-opus-4-6", {"usage": WITH_OTHERS}),
    (
        "three",
        "ws-1",
        "anthropic",
        "claude-opus-4-6",
        {
            "region": "us",
            "usage": Usage(
                input_tokens=10,
                output_tokens=5,
                other_models=(tokens("claude-haiku-4-5"), tokens("claude-opus-4-6")),
            ),
        },
    ),
    ("drawn", "ws-1", "openai", "gpt-draw", {"usage": DRAWN}),
    ("aliased", "ws-own", "openai", "deployed", {}),
    ("searched-too", "ws-own", "openai", "gpt-4o", {"usage": SEARCHED}),
)
PLANS = {
    1: Plan(
        markup_percent="10",
        prices=said(
            prices("own", prices={"input": "3", "cache_read": "0.5", "output": "7"}),
            prices("gpt-4o", prices={"input": "3", "output": "7"}),
        ).prices,
    )
}


@pytest.fixture(scope="module")
def figures(clickhouse: ClickHouseServer) -> Iterator[Figures]:
    with filled(clickhouse, DATABASE) as figures:
        figures.set_plans({"ws-own": PLANS[1]})
        figures.add_prices(OLD)
        figures.load(calls(SENT, USAGE, NOON))
        yield figures


@pytest.fixture(scope="module")
def records(figures: Figures) -> list[PriceVersion]:
    return [record.version for record in mirrored_records(figures.client)]


def book(*entries: dict[str, Any]) -> PriceBook:
    """Of what held when the rows were priced, and more."""
    new = said(*entries)
    return compile_book(OLD.model_copy(update={"prices": (*OLD.prices, *new.prices)}))


def changed(figures: Figures, *entries: dict[str, Any]) -> list[tuple[Any, ...]]:
    found = check_prices(figures.client, book(*entries), NOON)
    names = ("model", "batch", "priced_as", "leaf", "then_usd", "now_usd", "per")
    return [tuple(one[name] for name in names) for one in found["changed_since_priced"]]


TOKENS = "1,000,000 tokens"


def test_everything_that_the_last_call_used_is_compared(figures: Figures) -> None:
    again = {"input": "1", "output": "2.5", "web_searches": "6", "requests": "4"}
    assert changed(figures, prices("ours", prices=again)) == [
        ("ours", False, "ours", "web_searches", "5", "6", "1,000 searches"),
    ]
    without_fee = {"input": "1", "output": "2", "web_searches": "5"}
    assert changed(figures, prices("ours", prices=without_fee)) == [
        ("ours", False, "ours", "requests", "4", None, "1,000 requests"),
    ]


def test_a_leaf_that_comes_or_goes_is_listed(figures: Figures) -> None:
    when = {"batch": True}
    with_cache = {"input": "1", "output": "2", "cache_read": "0.1"}
    assert changed(figures, prices("gpt-4o", prices=with_cache, when=when)) == [
        ("gpt-4o", True, "gpt-4o", "cache_read", None, "0.1", TOKENS),
    ]
    assert changed(figures, prices("gpt-4o", prices={"input": "1"}, when=when)) == [
        ("gpt-4o", True, "gpt-4o", "input", "1", None, TOKENS),
        ("gpt-4o", True, "gpt-4o", "output", "2", None, TOKENS),
    ]


def test_other_models_inside_a_call_are_compared(figures: Figures) -> None:
    dearer = prices("claude-haiku-4-5", "anthropic", prices={"input": "1", "output": "3"})
    found = changed(figures, dearer)
    calls = {("claude-opus-4-6", False, "claude-haiku-4-5", "output", "2", "3", TOKENS)}
    assert set(found) == calls
    assert len(found) == 2  # of calls with and without a region, each once


def test_what_changed_since_asks_nobody_to_act(figures: Figures) -> None:
    image = prices("gpt-draw", images=[{"price": "0.04"}])
    found = check_prices(figures.client, book(image), NOON)
    assert found["ok"]
    assert [(one["model"], one["priced_now"]) for one in found["unpriced"]] == [("gpt-draw", True)]
    cheaper = prices("ours", prices={"input": "0", "output": "0", "web_searches": "0"})
    found = check_prices(figures.client, book(image, cheaper), NOON)
    assert found["changed_since_priced"]
    assert found["ok"]


@pytest.mark.parametrize(
    "entry",
    [
        prices("gpt-draw", prices={"input": "1", "output": "1"}),  # no price of an image
        prices("gpt-draw", images=[{"price": "0.04"}]) | {"valid_from": LATER},
        prices("gpt-draw", when={"batch": True}, images=[{"price": "0.04"}]),
    ],
    ids=["something-else", "later", "batch"],
)
def test_a_price_that_is_not_the_calls_own_is_none(figures: Figures, entry: dict[str, Any]) -> None:
    found = check_prices(figures.client, book(entry), NOON)
    assert [one["priced_now"] for one in found["unpriced"]] == [False]
    assert not found["ok"]


def test_each_line_says_its_own_rule(figures: Figures, records: list[PriceVersion]) -> None:
    found = explain(figures.client, "others", None, PLANS, records)
    rules = {line["model"]: (line["rule"], line["source"]) for line in found["lines"]}
    haiku = "override anthropic/claude-haiku-4-5@2026-01-01"
    assert rules["claude-haiku-4-5"] == (haiku, "control.prices")
    assert rules["claude-opus-4-6"][0].startswith("anthropic/claude-opus-4-6")
    assert rules["claude-opus-4-6"][1] == "genai-prices"
    assert found["source"] == "genai-prices and control.prices"
    three = explain(figures.client, "three", None, PLANS, records)["lines"]
    assert len({line["rule"] for line in three}) == 2
    assert all("," not in line["rule"] for line in three)


def test_a_charge_by_own_prices_is_explained_line_by_line(
    figures: Figures, records: list[PriceVersion]
) -> None:
    """The operator's alias leads to the plan's price."""
    found = explain(figures.client, "aliased", None, PLANS, records)
    assert (found["cost_usd"], found["charge_usd"]) == ("0.0011", "0.0027")
    assert found["charge_is"] == "the workspace's own prices"
    by = ("override openai/own@2026-01-01", "control.plans")
    assert [tuple(line.values()) for line in found["charge_lines"]] == [
        ("deployed", "input", 600, "3", TOKENS, "0.0018", *by),
        ("deployed", "cache_read", 400, "0.5", TOKENS, "0.0002", *by),
        ("deployed", "output", 100, "7", TOKENS, "0.0007", *by),
    ]
    assert found["why_no_charge_lines"] is None


def test_why_a_charge_has_no_lines(figures: Figures, records: list[PriceVersion]) -> None:
    some = explain(figures.client, "aliased", None, PLANS, records[:4])
    assert some["charge_lines"] == []
    assert some["why_no_charge_lines"] == (
        "worked out again, the prices of plan version 1 have no price for it: "
        "control.prices has 4 of the 5 records that it was priced with"
    )
    dearer = prices("own", prices={"input": "4", "output": "7"})
    others = {1: Plan(prices=said(dearer).prices)}
    wrong = explain(figures.client, "aliased", None, others, records)
    assert wrong["charge_lines"] == []
    assert (
        "plan version 1 come to 0.0047 USD: it was priced with genai-prices"
        in (wrong["why_no_charge_lines"])
    )


def test_what_the_plan_has_no_price_for_is_charged_by_its_cost(
    figures: Figures, records: list[PriceVersion]
) -> None:
    found = explain(figures.client, "searched-too", None, PLANS, records)
    assert found["charge_is"] == "the cost and 10 %"
    assert (found["charge_lines"], found["why_no_charge_lines"]) == ([], None)

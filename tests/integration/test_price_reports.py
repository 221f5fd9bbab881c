"""What one event cost, and what of the prices asks for a look, from stored rows."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ConditionalPrice, ModelPrice, StartDateConstraint

from spendstream.api.prices.check import check_prices
from spendstream.api.prices.explain import NoSuchEvent, explain
from spendstream.schemas import Plan
from spendstream.schemas.prices.compile import compile_book, read_providers
from spendstream.schemas.prices.overrides import parse_overrides
from spendstream.schemas.usage import OtherModel, Usage
from tests.integration.stored import CHARGED, NOON, Figures, Said, calls, filled
from tests.servers.clickhouse import ClickHouseServer

pytestmark = [pytest.mark.clickhouse, pytest.mark.xdist_group("price_reports")]

DATABASE = f"price_reports_{os.getpid()}"
OTHER = OtherModel(
    model="claude-haiku-4-5", input_tokens=900, output_tokens=3, cache_read_input_tokens=100
)
SENT: tuple[Said, ...] = (
    ("plain", "ws-1", "openai", "gpt-4o", {}),
    ("plain", "ws-2", "openai", "gpt-4o-mini", {}),
    ("marked-up", "ws-3", "openai", "gpt-4o", {"reported_cost_pico": "800000000"}),
    ("own", "ws-4", "openai", "gpt-4o", {}),
    ("unknown", "ws-1", "openai", "unheard-of", {}),
    ("retired", "ws-1", "avian", "Meta-Llama-3.1-8B-Instruct", {}),
    ("blocked", "ws-3", "openai", "gpt-4o", {"status": "blocked", "usage": None}),
    ("silent", "ws-1", "openai", "gpt-4o", {"usage": None}),
    (
        "others",
        "ws-1",
        "anthropic",
        "claude-opus-4-6",
        {"usage": Usage(input_tokens=10, output_tokens=5, other_models=(OTHER, OTHER))},
    ),
)
PLANS = dict(enumerate(CHARGED.values(), 1))
"""As `Figures.set_plans` numbers them."""
DEARER = parse_overrides(
    {
        "prices": [
            {
                "provider": "openai",
                "model": "gpt-4o",
                "valid_from": "2026-01-01",
                "prices": {"input": "2.5", "output": "11", "cache_read": "1"},
            }
        ]
    }
)


@pytest.fixture(scope="module")
def figures(clickhouse: ClickHouseServer) -> Iterator[Figures]:
    with filled(clickhouse, DATABASE) as figures:
        figures.set_plans(CHARGED)
        usage = Usage(input_tokens=1_000, output_tokens=100, cache_read_input_tokens=400)
        figures.load(calls(SENT, usage, NOON + 4 * 86_400_000))
        yield figures


def test_a_sum_is_explained_line_by_line(figures: Figures) -> None:
    found = explain(figures.client, "plain", "ws-1", PLANS, [])
    by = ("1,000,000 tokens", "openai/gpt-4o", "genai-prices")
    assert [tuple(line.values()) for line in found["lines"]] == [
        ("gpt-4o", "input", 600, "2.5", by[0], "0.0015", *by[1:]),
        ("gpt-4o", "cache_read", 400, "1.25", by[0], "0.0005", *by[1:]),
        ("gpt-4o", "output", 100, "10", by[0], "0.001", *by[1:]),
    ]
    assert (found["charge_lines"], found["why_no_charge_lines"]) == ([], None)
    money = ("computed_cost_usd", "reported_cost_usd", "cost_usd", "charge_usd", "charge_is")
    assert [found[name] for name in money] == ["0.003", None, "0.003", "0.003", "the cost"]
    assert (found["rule"], found["source"]) == ("openai/gpt-4o", "genai-prices")
    assert found["time"] == "2026-11-26T12:00:00.000Z"
    json.dumps(found)


@pytest.mark.parametrize(
    ("event", "computed", "cost", "quality", "charge", "how"),
    [
        ("marked-up", "0.003", "0.0008", "provider_reported", "0.0009", "the cost and 12.5 %"),
        ("own", "0.003", "0.003", "measured", "0.00226", "the workspace's own prices"),
        ("blocked", "0", "0", "measured", "0", "the cost"),
        ("unknown", None, None, "unpriced", None, "unknown"),
    ],
)
def test_which_cost_counts_and_how_it_is_charged(
    figures: Figures, event: str, computed: str, cost: str, quality: str, charge: str, how: str
) -> None:
    found = explain(figures.client, event, None, PLANS, [])
    assert (found["computed_cost_usd"], found["cost_usd"]) == (computed, cost)
    assert (found["quality"], found["charge_usd"], found["charge_is"]) == (quality, charge, how)


def test_a_plan_that_is_gone_is_said(figures: Figures) -> None:
    assert (
        "version 1 of control.plans"
        in explain(figures.client, "marked-up", None, {}, [])["charge_is"]
    )


def test_each_model_inside_a_response_has_its_own_lines(figures: Figures) -> None:
    lines = explain(figures.client, "others", None, PLANS, [])["lines"]
    assert [(line["model"], line["leaf"], line["quantity"]) for line in lines] == [
        ("claude-opus-4-6", "input", 10),
        ("claude-opus-4-6", "output", 5),
        *(
            ("claude-haiku-4-5", "input", 800),
            ("claude-haiku-4-5", "cache_read", 100),
            ("claude-haiku-4-5", "output", 3),
        )
        * 2,
    ]


def test_why_there_is_no_cost(figures: Figures) -> None:
    assert "held no usage" in explain(figures.client, "silent", None, PLANS, [])["why_unpriced"]
    assert "had no price" in explain(figures.client, "unknown", None, PLANS, [])["why_unpriced"]


def test_an_id_that_is_not_there_or_not_alone(figures: Figures) -> None:
    with pytest.raises(NoSuchEvent, match="no row of usage_raw"):
        explain(figures.client, "nothing", None, PLANS, [])
    with pytest.raises(NoSuchEvent, match="ws-1, ws-2; name one"):
        explain(figures.client, "plain", None, PLANS, [])


def test_what_is_unpriced_or_retired_is_listed(figures: Figures) -> None:
    found = check_prices(figures.client, compile_book(), NOON)
    assert not found["ok"]
    (unpriced,) = found["unpriced"]
    assert (unpriced["model"], unpriced["events"], unpriced["priced_now"]) == (
        "unheard-of",
        1,
        False,
    )
    assert [one["model"] for one in found["retired"]] == ["Meta-Llama-3.1-8B-Instruct"]
    assert found["changed_since_priced"] == found["changed_in_newer_data"] == []
    assert len(found["cleaned"]) > 0
    assert found["models_seen"] == 5
    json.dumps(found)


@pytest.mark.parametrize(("days", "still_called"), [(35, True), (36, False)])
def test_a_retired_model_that_nobody_calls_any_more_asks_for_nothing(
    figures: Figures, days: int, still_called: bool
) -> None:
    """It was called on the fourth day, and 31 are looked at."""
    unheard_of = {"prices": {"input": "1", "output": "1"}, "valid_from": "2026-01-01"}
    entry = {"provider": "openai", "model": "unheard-of"} | unheard_of
    book = compile_book(parse_overrides({"prices": [entry]}))
    found = check_prices(figures.client, book, NOON + days * 86_400_000)
    assert found["retired"] == [
        {
            "provider": "avian",
            "model": "Meta-Llama-3.1-8B-Instruct",
            "last_day": "2026-11-26",
            "still_called": still_called,
        }
    ]
    assert found["ok"] is not still_called


def test_what_was_unpriced_and_has_a_price_by_now_is_said(figures: Figures) -> None:
    entry = {"provider": "openai", "model": "unheard-of", "valid_from": "2026-01-01"}
    book = compile_book(
        parse_overrides({"prices": [entry | {"prices": {"input": "1", "output": "1"}}]})
    )
    (unpriced,) = check_prices(figures.client, book, NOON)["unpriced"]
    assert (unpriced["model"], unpriced["priced_now"]) == ("unheard-of", True)


def test_prices_that_changed_since_are_listed(figures: Figures) -> None:
    found = check_prices(figures.client, compile_book(DEARER), NOON)["changed_since_priced"]
    moved = {(one["model"], one["leaf"]): (one["then_usd"], one["now_usd"]) for one in found}
    assert moved == {("gpt-4o", "cache_read"): ("1.25", "1"), ("gpt-4o", "output"): ("10", "11")}
    assert {one["events"] for one in found} == {3}


def test_prices_that_a_newer_data_file_changes_are_listed(figures: Figures) -> None:
    file = json.dumps(
        [
            {
                "id": "openai",
                "name": "OpenAI",
                "api_pattern": "x",
                "models": [
                    {
                        "id": "gpt-4o",
                        "match": {"starts_with": "gpt-4o"},
                        "prices": {"input_mtok": "2.5", "output_mtok": "9"},
                    }
                ],
            }
        ]
    )
    found = check_prices(figures.client, compile_book(), NOON, read_providers(file.encode()))
    changed = {
        (one["model"], one["leaf"]): (one["installed_usd"], one["newer_usd"])
        for one in found["changed_in_newer_data"]
        if one["provider"] == "openai" and one["calls"] is None
    }
    assert changed[("gpt-4o", "output")] == ("10", "9")
    assert changed[("gpt-4o", "cache_read")] == ("1.25", None)
    assert ("gpt-4o", "input") not in changed


@pytest.mark.parametrize("calls", ["batch", "priority"])
def test_so_are_those_of_a_kind_of_calls_and_of_a_later_day(figures: Figures, calls: str) -> None:
    newer = deepcopy(get_snapshot().providers)
    openai = next(one for one in newer if one.id == "openai")
    model = next(one for one in openai.models if one.id == "gpt-4o")
    for variant in model.price_variants or ():
        if calls in variant.when.values():
            variant.prices = ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(99))
    later = StartDateConstraint(date(2027, 1, 1))
    model.prices = [
        ConditionalPrice(prices=model.get_prices(datetime(2026, 11, 1, tzinfo=UTC))),
        ConditionalPrice(constraint=later, prices=ModelPrice(input_mtok=Decimal(50))),
    ]
    found = check_prices(figures.client, compile_book(), NOON, newer)
    changed = {
        (one["calls"], one["from"], one["leaf"]): one["newer_usd"]
        for one in found["changed_in_newer_data"]
    }
    assert changed[calls, None, "output"] == "99"
    assert changed[None, "2027-01-01T00:00:00Z", "input"] == "50"
    assert not found["ok"]


def test_the_installed_data_changes_nothing(figures: Figures) -> None:
    installed = get_snapshot().providers
    found = check_prices(figures.client, compile_book(), NOON, installed)
    assert found["changed_in_newer_data"] == []


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'[{"id": "a"}]'])
def test_a_file_that_is_no_data_is_refused(data: bytes) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        read_providers(data)


def test_a_default_plan_needs_no_version(figures: Figures) -> None:
    assert Plan().markup_percent == "0"
    assert explain(figures.client, "others", None, {}, [])["charge_is"] == "the cost"

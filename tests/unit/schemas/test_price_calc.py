"""Lines of JSON, priced: what they answer, and what is refused."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from spendstream.schemas.prices.calc import answer
from spendstream.schemas.prices.compile import compile_book

BOOK = compile_book()


def line(usage: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "id": "a",
        "provider": "openai",
        "model": "gpt-4o",
        "timestamp": "2026-11-22T12:00:00Z",
        "usage": {"input_tokens_total": 1000, "output_tokens_total": 500}
        if usage is None
        else usage,
        **more,
    }


def test_an_answer_has_its_parts() -> None:
    assert answer(BOOK, line(price_context={"processing": "batch"})) == {
        "id": "a",
        "cost_usd": "0.00375",
        "quality": "measured",
        "rule": "openai/gpt-4o +batch@2026-10-14",
        "parts": {"input": "0.00125", "output": "0.0025", "other": "0"},
        "leaves": [
            {"leaf": "input", "quantity": 1000, "price_usd": "0.00000125", "cost_usd": "0.00125"},
            {"leaf": "output", "quantity": 500, "price_usd": "0.000005", "cost_usd": "0.0025"},
        ],
    }


def test_a_condition_without_a_price_is_an_estimate() -> None:
    found = answer(BOOK, line(price_context={"service_tier": "flex"}))
    assert (found["cost_usd"], found["quality"]) == ("0.0075", "estimated")


def test_a_speed_has_its_price() -> None:
    for speed, cost in (("fast", "0.035"), ("standard", "0.0175")):
        context = {"speed": speed}
        named = {"provider": "anthropic", "model": "claude-opus-4-8"}
        found = answer(BOOK, line(price_context=context, **named))
        assert (found["cost_usd"], found["quality"]) == (cost, "measured")


def test_lines_may_bring_their_own_prices() -> None:
    tiered = {"base": "1", "tiers": [{"start": 999, "price": "2"}]}
    own = {"input_mtok": tiered, "output_mtok": "10", "web_searches_kcount": 10}
    usage = {"input_tokens_total": 1000, "output_tokens_total": 1, "web_search_requests": 1}
    found = answer(BOOK, line(usage, prices=own, model="any"))
    assert found["cost_usd"] == "0.01201"
    assert found["parts"] == {"input": "0.002", "output": "0.00001", "other": "0.01"}


def test_counts_may_be_fractions() -> None:
    usage = {"input_tokens_total": 0.3, "cache_read_tokens": 0.1}
    found = answer(BOOK, line(usage, prices={"input_mtok": "1", "cache_read_mtok": "2"}))
    assert found["cost_usd"] == "0.0000004"
    assert [leaf["quantity"] for leaf in found["leaves"]] == [0.2, 0.1]


def test_unknown_models_are_unpriced() -> None:
    assert answer(BOOK, line(model="unheard-of")) == {
        "id": "a",
        "cost_usd": None,
        "quality": "unpriced",
    }
    assert answer(BOOK, line(prices={"input_gpixels": "1"}))["quality"] == "unpriced"


@pytest.mark.parametrize(
    ("context", "cost", "quality"),
    [
        ({"service_tier": "PRIORITY"}, "0.01275", "measured"),
        ({"service_tier": "Default"}, "0.0075", "measured"),
        ({"service_tier": "batch"}, "0.00375", "measured"),
        ({"processing": "standard"}, "0.0075", "measured"),
    ],
)
def test_a_context_is_an_events(context: dict[str, str], cost: str, quality: str) -> None:
    found = answer(BOOK, line(price_context=context))
    assert (found["cost_usd"], found["quality"]) == (cost, quality)


def test_where_anthropic_ran_it_is_a_region() -> None:
    named = {"provider": "anthropic", "model": "claude-opus-4-8"}
    plain, in_us = (
        answer(BOOK, line(price_context={"inference_geo": geo}, **named))["cost_usd"]
        for geo in ("not_available", "us")
    )
    assert Decimal(in_us) == Decimal(plain) * Decimal("1.1")


@pytest.mark.parametrize(
    ("usage", "prices", "told"),
    [
        ({"input_tokens_total": 1e308}, {}, "usage.input_tokens_total: more than"),
        ({"input_tokens_total": 10**90}, {}, "usage.input_tokens_total: more than"),
        ({"input_tokens_total": 1}, {"input_mtok": "1e400"}, "prices.input_mtok: '1e400' USD is"),
        ({"input_tokens_total": 1}, {"input_mtok": "1e-40"}, "prices.input_mtok: '1e-40' USD is"),
        ({"input_tokens_total": 1}, {"input_mtok": True}, "prices.input_mtok: True is no price"),
        (
            {"input_tokens_total": 1, "audio_seconds": 1, "input_audio_seconds": 2},
            {},
            "usage.input_audio_seconds: said twice",
        ),
    ],
)
def test_what_no_call_has(usage: dict[str, Any], prices: dict[str, Any], told: str) -> None:
    found = answer(BOOK, line(usage, prices=prices))
    assert (found["quality"], found["error"][: len(told)]) == ("refused", told)


def test_a_mistyped_price_is_refused_and_does_not_make_its_tokens_free() -> None:
    found = answer(BOOK, line(prices={"input_mtok": "1", "ouput_mtok": "2"}))
    assert (found["quality"], found["error"]) == ("refused", "prices.ouput_mtok: unknown price")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"usage": 3}, "usage: a mapping is required"),
        ({"usage": {"tokens": 3}}, "usage.tokens: unknown field"),
        ({"usage": {"input_tokens_total": -1}}, "usage.input_tokens_total: -1 is no count"),
        ({"usage": {"input_tokens_total": True}}, "usage.input_tokens_total: True is no count"),
        ({"usage": {"input_tokens_total": float("inf")}}, "usage.input_tokens_total: inf is no"),
        (
            {"usage": {"input_tokens_total": 1, "cache_read_tokens": 2}},
            "usage: cache_read_input_tokens 2 > input_tokens 1",
        ),
        ({"usage": {"citation_tokens": 2}}, "usage: citation_tokens > output_tokens_total"),
        ({"prices": 3}, "prices: a mapping is required"),
        ({"prices": {"input_mtok": "-1"}}, "prices.input_mtok: '-1' is no price"),
        ({"prices": {"input_mtok": "Infinity"}}, "prices.input_mtok: 'Infinity' is no price"),
        ({"prices": {"input_mtok": 0.1}}, "prices.input_mtok: 0.1 is no price"),
        ({"prices": {"input_mtok": "x"}}, "prices.input_mtok: 'x' is no price"),
        (
            {"prices": {"input_mtok": {"base": "1", "tiers": [{"start": -1, "price": "2"}]}}},
            "prices.input_mtok.tiers: starts at -1",
        ),
        ({"prices": {"input_mtok": {"base": "1", "tiers": 2}}}, "prices.input_mtok.tiers: a list"),
        (
            {"prices": {"input_mtok": {"base": "1", "tiers": [2]}}},
            "prices.input_mtok.tiers: a list",
        ),
        ({"price_context": {"processing": 1}}, "price_context: a mapping"),
        ({"provider": None}, "provider: a text is required"),
        ({"timestamp": "noon"}, "timestamp: 'noon' is no time"),
    ],
)
def test_what_is_refused_names_field_and_reason(wrong: dict[str, Any], told: str) -> None:
    found = answer(BOOK, line(**wrong) if "usage" not in wrong else line(wrong["usage"]))
    assert (found["cost_usd"], found["quality"]) == (None, "refused")
    assert found["error"].startswith(told)

"""The operator's prices, recounted: by hand, and against the price book."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spendstream.api.jobs.recount_overrides import Operator
from spendstream.api.jobs.recount_prices import Prices
from spendstream.schemas.money import usd_from_pico
from spendstream.schemas.period import to_ms
from spendstream.schemas.prices.calls import price_call
from spendstream.schemas.prices.compile import compile_book
from spendstream.schemas.prices.context import context_of
from spendstream.schemas.prices.overrides import Overrides, OverridesError, parse_overrides
from spendstream.schemas.prices.units import LEAVES, TOKENS
from spendstream.schemas.usage import OtherModel, Usage, broken_sums

DAY = "2026-11-22T12:00:00Z"
MODELS = ("gpt-4o", "GPT-4o-2024-08-06", "gpt-4o-mini", "ours", "unheard-of")
BACK = {"provider": "openai", "model": "gpt-4o", "published": True}
PATTERNS = ("gpt-4o", "gpt-4o*", "gpt-*-mini", "*", "ours", "gpt*o*mini")


def operator_of(overrides: Overrides) -> Operator:
    plain = json.loads(overrides.model_dump_json())
    return Operator(plain["prices"], plain["aliases"])


def both(overrides: Overrides, line: dict[str, Any], usage: Usage) -> list[Decimal | None]:
    """What the price book says, and the recount."""
    context = context_of(line["batch"], line["service_tier"], line["region"])
    book = compile_book(overrides)
    cost = price_call(book, line["provider"], line["model"], usage, line["time_ms"], context)
    again = Prices().cost(line | usage.model_dump(mode="json"), operator_of(overrides))
    return [
        None if cost is None else usd_from_pico(cost.pico),
        None if again is None else again.total,
    ]


def call(model: str = "gpt-4o", at: str = DAY, **changes: Any) -> dict[str, Any]:
    time_ms = to_ms(datetime.fromisoformat(at))
    said = {"batch": False, "service_tier": None, "region": None}
    return {"provider": "openai", "model": model, "time_ms": time_ms} | said | changes


def entry(model: str = "gpt-4o", **changes: Any) -> dict[str, Any]:
    said = {"provider": "openai", "model": model, "valid_from": "2026-01-01"}
    return said | {"prices": {"input": "1", "output": "2"}} | changes


@pytest.mark.parametrize(
    ("entries", "line", "cost"),
    [
        ([entry()], call(), "0.0012"),
        ([entry()], call(at="2025-12-31T23:59:59Z"), "0.0035"),
        ([entry(tokens_per=1000, prices={"input": "0.01", "output": "0.03"})], call(), "0.013"),
        ([entry("gpt-4*", prices={"input": "9"}), entry("gpt-4o")], call(), "0.0012"),
        ([entry("gpt-4o", prices={"input": "9"}), entry("gpt-4*")], call(), None),
        ([entry(), entry(when={"batch": True}, prices={"input": "0", "output": "1"})],
         call(batch=True), "0.0001"),
        ([entry(when={"between": ["11:00", "12:00"]})], call(), "0.0035"),
        ([entry(when={"tier": "Flex"})], call(service_tier="FLEX"), "0.0012"),
        ([entry(), {**BACK, "valid_from": "2026-06-01"}], call(), "0.0035"),
        ([entry(), {**BACK, "valid_from": "2026-12-01"}], call(), "0.0012"),
        ([{**entry("openai/gpt-4o"), "provider": "litellm"}], call(), "0.0012"),
        ([entry(when={"between": ["12:00", "11:00"]})], call(), "0.0012"),
    ],
)  # fmt: skip
def test_costs_worked_out_by_hand(
    entries: list[dict[str, Any]], line: dict[str, Any], cost: str | None
) -> None:
    usage = Usage(input_tokens=1_000, output_tokens=100)
    wanted = None if cost is None else Decimal(cost)
    assert both(parse_overrides({"prices": entries}), line, usage) == [wanted, wanted]


prices = st.dictionaries(
    st.sampled_from([leaf for leaf in LEAVES if leaf != "images"]),
    st.sampled_from(["0", "1", "2.5", "0.000001", "1234.567"]),
    max_size=6,
)


@st.composite
def some_entries(draw: st.DrawFn) -> list[dict[str, Any]]:
    found = []
    for _ in range(draw(st.integers(0, 4))):
        said = entry(draw(st.sampled_from(PATTERNS)), prices=draw(prices))
        said["valid_from"] = draw(st.sampled_from(["2026-01-01", "2026-11-22T12:00:00Z"]))
        when = draw(
            st.sampled_from(
                [{}, {"batch": True}, {"tier": "flex"}, {"region": "us", "tier": "flex"},
                 {"between": ["11:30", "12:30"]}, {"between": ["22:00", "12:00"]}]
            )
        )  # fmt: skip
        if draw(st.integers(0, 4)) == 0:
            found.append({**BACK, "valid_from": said["valid_from"], "when": when})
            continue
        said |= {"when": when, "tokens_per": draw(st.sampled_from([1000, 1_000_000]))}
        if draw(st.booleans()):
            step = {name: usd for name, usd in draw(prices).items() if name in TOKENS}
            said["long_context"] = [{"input_above": 5_000, "prices": step}]
        if draw(st.booleans()):
            said["images"] = [{"size": "1024x1024", "price": "0.08"}, {"price": "0.04"}]
        found.append(said)
    return found


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    few = st.sampled_from([0, 0, 1, 40])
    parts: dict[str, Any] = {
        name: draw(few)
        for name in (
            "cache_read_input_tokens", "cache_write_5m_input_tokens", "cache_write_1h_input_tokens",
            "cache_write_30m_input_tokens", "audio_input_tokens", "reasoning_output_tokens",
            "audio_output_tokens", "citation_tokens", "web_searches", "web_fetches", "images",
            "image_output_tokens",
            "pages", "search_units", "input_characters", "audio_input_ms",
        )
    }  # fmt: skip
    written = sum(n for name, n in parts.items() if name.startswith("cache_write"))
    others = (OtherModel(model="gpt-4o-mini", input_tokens=70, output_tokens=7),)
    return Usage(
        input_tokens=draw(st.sampled_from([200, 5_000, 5_001])),
        output_tokens=draw(st.sampled_from([90, 100])),
        cache_write_input_tokens=written + draw(few),
        image_size=draw(st.sampled_from([None, "1024x1024"])) if parts["images"] else None,
        other_models=draw(st.sampled_from([(), others])),
        **parts,
    )


@settings(max_examples=500, deadline=None)
@given(
    entries=some_entries(),
    alias=st.sampled_from(["gpt-4o", "gpt-4o-mini", None]),
    usage=usages(),
    model=st.sampled_from(MODELS),
    at=st.sampled_from(["2025-11-22T12:00:00Z", "2026-11-22T11:59:59.999Z", DAY]),
    batch=st.booleans(),
    tier=st.sampled_from([None, "flex", "Flex", "default", "batch"]),
    region=st.sampled_from([None, "us"]),
)
def test_agrees_with_the_price_book(
    entries: list[dict[str, Any]], alias: str | None, usage: Usage, model: str, at: str, **said: Any
) -> None:
    target = {"provider": "openai", "model": alias}
    names = {"provider": "openai", "model": "our*", "valid_from": "2026-01-01", "same_as": target}
    try:
        overrides = parse_overrides({"prices": entries, "aliases": [names] if alias else []})
    except OverridesError:
        return  # a combination that is none
    assert not broken_sums(usage)
    said["service_tier"] = said.pop("tier")
    cost, again = both(overrides, call(model, at, **said), usage)
    assert cost == again


@pytest.mark.parametrize(
    ("prices", "used", "cost"),
    [
        ({"web_searches": "10"}, {"web_searches": 1}, None),
        ({"web_searches": "10", "pages": "1"}, {"web_searches": 1, "pages": 1}, "0.011"),
        ({"output_citation": "1"}, {"citation_tokens": 1}, None),
    ],
)
def test_what_tools_did_pays_for_no_token(
    prices: dict[str, str], used: dict[str, Any], cost: str | None
) -> None:
    usage = Usage(input_tokens=1_000, output_tokens=100, **used)
    wanted = None if cost is None else Decimal(cost)
    assert both(parse_overrides({"prices": [entry(prices=prices)]}), call(), usage) == [wanted] * 2


DRAWN = {"input": "1", "output": "2", "output_reasoning": "4"}
HEARD = {"cache_read": "1", "cache_read_audio": "2", "input_audio": "8", "output": "1"}
SPOKEN = {"input_audio_time": "0.1"}


@pytest.mark.parametrize(
    ("said", "usage"),
    [
        # images that were paid by number, and thoughts that must be among what is left
        (
            entry(images=[{"price": "0.04"}], prices=DRAWN),
            {
                "output_tokens": 100,
                "images": 1,
                "image_output_tokens": 80,
                "reasoning_output_tokens": 50,
            },
        ),
        # audio that must have come from the cache, without a price for what is left
        (
            entry(prices=HEARD),
            {"input_tokens": 100, "cache_read_input_tokens": 60, "audio_input_tokens": 80},
        ),
        (
            entry("whisper-large-v3*", provider="groq", prices=SPOKEN),
            {"audio_input_ms": 1_000},
        ),
        (entry("gemini-2.5-flash", provider="vertex_ai"), {"input_tokens": 10}),
        (entry(images=[{"size": "1", "price": "1"}]), {"images": 3, "output_tokens": 5}),
    ],
)
def test_agrees_about_odd_calls(said: dict[str, Any], usage: dict[str, Any]) -> None:
    model = {"gpt-4o": "gpt-4o", "whisper-large-v3*": "whisper-large-v3"}.get(said["model"])
    line = call(model or said["model"]) | {"provider": said["provider"]}
    used = Usage(**{"input_tokens": 0, "output_tokens": 0} | usage)
    cost, again = both(parse_overrides({"prices": [said]}), line, used)
    assert cost == again
    assert (cost is None) == ("size" in str(said))


@pytest.mark.parametrize(
    "model",
    ["claude-3-5-haiku-latest", "claude-3-7-sonnet-latest", "claude-opus-4-6", "claude-sonnet-5"],
)
@pytest.mark.parametrize("provider", ["anthropic", "azure.ai.openai"])
def test_agrees_about_the_region(model: str, provider: str) -> None:
    line = call(model, region="us") | {"provider": provider}
    cost, again = both(parse_overrides({}), line, Usage(input_tokens=1_000, output_tokens=100))
    assert cost == again
    assert cost is not None

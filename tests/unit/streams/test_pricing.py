"""Events and what they cost: every condition that an event carries reaches its price."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given, settings
from hypothesis import strategies as st

from spendstream.schemas.event import UsageEvent
from spendstream.schemas.period import to_ms
from spendstream.schemas.prices.book import Prices, Rates
from spendstream.schemas.prices.calls import price_call
from spendstream.schemas.prices.compile import compile_book
from spendstream.schemas.prices.context import context_of
from spendstream.schemas.usage import OtherModel, Usage
from spendstream.streams.core.outputs import LeafStruct
from spendstream.streams.core.pricing import price_event
from tests.support.price_usages import INPUT, OUTPUT, Parts

BOOK = compile_book()
NOON = to_ms(datetime(2026, 11, 22, 12, tzinfo=UTC))
TEXT = Usage(input_tokens=1_000, output_tokens=100)


def event(model: str = "openai/gpt-4o", usage: Usage | None = TEXT, **more: Any) -> UsageEvent:
    provider, _, name = model.partition("/")
    return UsageEvent(
        provider=provider, request_model="asked", response_model=name, workspace_id="ws-1",
        usage=usage, **more,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("sent", "millionths", "quality"),
    [
        (event(), 3_500, "measured"),
        (event(service_tier="default"), 3_500, "measured"),
        (event(batch=True), 1_750, "measured"),
        (event(service_tier="priority"), 5_950, "measured"),
        # no price of its own: the standard one, and no more than an estimate
        (event(service_tier="flex"), 3_500, "estimated"),
        (event("azure.ai.openai/gpt-4o", batch=True), 3_500, "estimated"),
        (event("anthropic/claude-opus-4-6", region="us"), 8_250, "measured"),
        (event(usage_quality="estimated"), 3_500, "estimated"),
        (
            event(service_tier="flex", usage_quality="conflicting", provider_usage={"a": 1}),
            3_500,
            "conflicting",
        ),
        (event(usage=None), None, "unpriced"),
        (event("openai/unheard-of"), None, "unpriced"),
        (event(usage=None, status="blocked"), 0, "measured"),
    ],
)
def test_conditions(sent: UsageEvent, millionths: int | None, quality: str) -> None:
    _, cost, rule, found = price_event(BOOK, sent, NOON)
    assert found == quality
    assert cost == (None if millionths is None else millionths * 10**6)
    assert (rule is None) == (not cost)


def test_details_are_leaves() -> None:
    used = Usage(
        input_tokens=1_000,
        output_tokens=100,
        cache_write_input_tokens=300,
        cache_write_5m_input_tokens=100,
        cache_write_1h_input_tokens=200,
        web_searches=2,
    )
    leaves, cost, rule, quality = price_event(BOOK, event("anthropic/claude-opus-4-6", used), NOON)
    assert leaves == (
        LeafStruct("input", 700, "5000000000000", "3500000000"),
        LeafStruct("cache_write_1h", 200, "10000000000000", "2000000000"),
        LeafStruct("cache_write", 100, "6250000000000", "625000000"),
        LeafStruct("output", 100, "25000000000000", "2500000000"),
        LeafStruct("web_searches", 2, "10000000000000000", "20000000000"),
    )
    assert cost == sum(int(leaf.cost_pico) for leaf in leaves)
    assert (rule, quality) == ("anthropic/claude-opus-4-6@2026-03-13", "measured")


def test_a_detail_without_a_price_makes_the_call_unpriced() -> None:
    used = TEXT.model_copy(update={"search_units": 1})
    assert price_event(BOOK, event(usage=used), NOON) == ((), None, None, "unpriced")


def test_other_models() -> None:
    other = OtherModel(model="claude-haiku-4-5", input_tokens=2_000, output_tokens=10)
    used = TEXT.model_copy(update={"other_models": (other,)})
    leaves, cost, rule, _ = price_event(BOOK, event("anthropic/claude-opus-4-6", used), NOON)
    assert cost == (7_500 + 2_050) * 10**6
    assert len(leaves) == 4
    assert rule == "anthropic/claude-opus-4-6@2026-03-13, anthropic/claude-haiku-4-5"


REFERENCES = [
    (provider.id, model.id)
    for provider in get_snapshot().providers
    for model in provider.models
    if provider.find_model(model.id) is model
]
FEW = st.sampled_from([0, 0, 0, 1, 40, 300_000])


@settings(max_examples=1_000, deadline=None)
@given(
    reference=st.sampled_from(REFERENCES),
    parts=st.builds(
        Parts,
        st.fixed_dictionaries(dict.fromkeys(INPUT, FEW)),
        st.fixed_dictionaries(dict.fromkeys(OUTPUT, FEW)),
        searches=FEW,
    ),
    text_alone=st.booleans(),
    batch=st.booleans(),
    tier=st.sampled_from([None, "flex", "priority", "fast"]),
    region=st.sampled_from([None, "us"]),
)
def test_the_short_way_finds_what_the_long_one_does(
    reference: tuple[str, str],
    parts: Parts,
    text_alone: bool,
    batch: bool,
    tier: str | None,
    region: str | None,
) -> None:
    """Over every listed model; text alone, which is priced apart, and everything else."""
    provider, model = reference
    if text_alone:
        kept = ("text", "read_text", "write_5m")
        parts = replace(
            parts,
            input={name: count if name in kept else 0 for name, count in parts.input.items()},
            output={name: count if name == "text" else 0 for name, count in parts.output.items()},
        )
    usage, context = parts.ours(), context_of(batch, tier, region)
    cost = price_call(BOOK, provider, model, usage, NOON, context)
    sent = event(f"{provider}/{model}", usage, batch=batch, service_tier=tier, region=region)
    leaves, pico, rule, quality = price_event(BOOK, sent, NOON)
    if cost is None:
        assert (leaves, pico, rule, quality) == ((), None, None, "unpriced")
        return
    assert (pico, rule, quality == "measured") == (cost.pico, cost.rule, cost.exact)
    assert cost.leaves == tuple(
        (leaf.leaf, leaf.quantity, int(leaf.price_atto), int(leaf.cost_pico)) for leaf in leaves
    )


def test_prices_of_text_that_need_the_long_way() -> None:
    """A fee a request, a price finer than a pico-USD, none of output, reasoning of its own."""
    rates = Rates(2_000_000, 1_000_000, None, 8_000_000)
    assert Prices("m", rates).text
    assert Prices("m", rates, tiers=((10, rates),)).text[0].above == 10
    for prices in (
        Prices("m", rates, request=1),
        Prices("m", rates._replace(cache_read=1_000_001)),
        Prices("m", rates, tiers=((10, rates._replace(input=1)),)),
        Prices("m", rates, beside={"web_searches": 1}),
        Prices("m", rates._replace(output=None)),
        Prices("m", rates._replace(details={"output_reasoning": 10**6})),
    ):
        assert prices.text == ()

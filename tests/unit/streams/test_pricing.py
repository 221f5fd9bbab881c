"""Events and what they cost: every condition that an event carries reaches its price."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from spendstream.schemas.event import UsageEvent
from spendstream.schemas.period import to_ms
from spendstream.schemas.prices.compile import compile_book
from spendstream.schemas.usage import OtherModel, Usage
from spendstream.streams.core.outputs import LeafStruct
from spendstream.streams.core.pricing import price_event

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

"""Attributes of spans, by the conventions' names and by those of instrumentations."""

from __future__ import annotations

from typing import Any

import pytest

from spendstream.producers.extract import ExtractedUsage, Unreadable, read_usage, usage_from


def used(payload: object) -> ExtractedUsage:
    usage = usage_from(payload, provider="otel")
    assert usage is not None
    return usage


def said(usage: ExtractedUsage) -> dict[str, Any]:
    """The counts that are not 0."""
    counts = usage.model_dump(exclude_defaults=True)
    return {name: n for name, n in counts.items() if n and type(n) is int}


CURRENT = {
    "gen_ai.provider.name": "anthropic",
    "gen_ai.request.model": "claude-sonnet-5",
    "gen_ai.response.model": "claude-sonnet-5-20260801",
    "gen_ai.response.id": "msg_1",
    "openai.response.service_tier": "flex",
    "gen_ai.usage.input_tokens": 100,
    "gen_ai.usage.cache_read.input_tokens": 60,
    "gen_ai.usage.cache_creation.input_tokens": 10,
    "gen_ai.usage.output_tokens": 40,
    "gen_ai.usage.reasoning.output_tokens": 30,
}
COUNTS = {
    "input_tokens": 100,
    "cache_read_input_tokens": 60,
    "cache_write_input_tokens": 10,
    "output_tokens": 40,
    "reasoning_output_tokens": 30,
}


def test_everything_is_inside_the_two_totals() -> None:
    for payload in (CURRENT, {"name": "chat", "attributes": CURRENT}):
        usage = used(payload)
        assert said(usage) == COUNTS
        assert (usage.model, usage.response_id) == ("claude-sonnet-5-20260801", "msg_1")
        assert (usage.service_tier, usage.quality) == ("flex", "measured")


def test_the_json_of_otlp_has_its_integers_as_text() -> None:
    attributes = [
        {"key": name, "value": {"intValue": str(n)} if isinstance(n, int) else {"stringValue": n}}
        for name, n in CURRENT.items()
    ]
    usage = used({"traceId": "t", "attributes": attributes})
    assert said(usage) == COUNTS
    assert usage.model == "claude-sonnet-5-20260801"


@pytest.mark.parametrize(
    ("prompt", "completion", "read", "written", "reasoning"),
    [
        (
            "gen_ai.usage.prompt_tokens",
            "gen_ai.usage.completion_tokens",
            "gen_ai.usage.cache_read_input_tokens",
            "gen_ai.usage.cache_creation_input_tokens",
            "gen_ai.usage.reasoning_tokens",
        ),
        (
            "gen_ai.usage.input_tokens",
            "gen_ai.usage.output_tokens",
            "gen_ai.usage.details.cache_read_tokens",
            "gen_ai.usage.details.cache_write_tokens",
            "gen_ai.usage.details.reasoning_tokens",
        ),
        (
            "llm.token_count.prompt",
            "llm.token_count.completion",
            "llm.token_count.prompt_details.cache_read",
            "llm.token_count.prompt_details.cache_write",
            "llm.token_count.completion_details.reasoning",
        ),
    ],
)
def test_former_names_and_those_of_others_are_the_same(
    prompt: str, completion: str, read: str, written: str, reasoning: str
) -> None:
    attributes = {prompt: 100, completion: 40, read: 60, written: 10, reasoning: 30}
    assert said(used({"attributes": attributes})) == COUNTS


def test_the_current_name_goes_before_a_former_one() -> None:
    assert used(CURRENT | {"gen_ai.usage.prompt_tokens": 7}).input_tokens == 100


def test_audio_and_what_a_call_cost_are_read() -> None:
    usage = used(
        {
            "llm.model_name": "gpt-audio",
            "llm.token_count.prompt": 50,
            "llm.token_count.prompt_details.audio": 20,
            "llm.token_count.completion": 9,
            "llm.token_count.completion_details.audio": 6,
            "llm.token_count.total": 59,
            "llm.cost.total": 0.0066,
        }
    )
    assert said(usage) == {
        "input_tokens": 50,
        "audio_input_tokens": 20,
        "output_tokens": 9,
        "audio_output_tokens": 6,
    }
    assert usage.reported_cost_pico == "6600000000"
    assert (usage.model, usage.quality) == ("gpt-audio", "measured")


def test_a_cache_beside_the_input_is_added_where_the_total_or_its_size_shows_it() -> None:
    attributes = {
        "gen_ai.usage.input_tokens": 50,
        "gen_ai.usage.cache_read.input_tokens": 30,
        "gen_ai.usage.output_tokens": 20,
    }
    by_total = used(attributes | {"gen_ai.usage.total_tokens": 100})
    assert (by_total.input_tokens, by_total.quality) == (80, "conflicting")
    by_size = used(attributes | {"gen_ai.usage.cache_read.input_tokens": 70})
    assert (by_size.input_tokens, by_size.quality) == (120, "conflicting")
    assert by_size.provider_usage == {
        "gen_ai.usage.input_tokens": 50,
        "gen_ai.usage.cache_read.input_tokens": 70,
        "gen_ai.usage.output_tokens": 20,
    }
    inside = used(attributes | {"gen_ai.usage.total_tokens": 70})
    assert (inside.input_tokens, inside.quality) == (50, "measured")


def test_another_total_is_a_conflict() -> None:
    usage = used({"gen_ai.usage.input_tokens": 5, "gen_ai.usage.total_tokens": 9})
    assert (usage.input_tokens, usage.output_tokens) == (5, 0)
    assert usage.conflicts == ("the total 9 is not 5 input + 0 output",)


def test_a_span_without_usage_is_unknown() -> None:
    spans: list[dict[str, Any]] = [
        {"gen_ai.request.model": "gpt-5"},
        {"attributes": []},
        {"attributes": {}},
    ]
    for span in spans:
        assert read_usage(span, provider="otel") is None


@pytest.mark.parametrize(
    "payload",
    [
        {"gen_ai.usage.input_tokens": "5"},
        {"gen_ai.usage.total_tokens": 9},
        {"attributes": "gen_ai"},
        {"attributes": [{"key": "gen_ai.usage.input_tokens", "value": {"intValue": "-5"}}]},
        [CURRENT, CURRENT],
    ],
)
def test_what_cannot_be_trusted_is_unreadable(payload: object) -> None:
    with pytest.raises(Unreadable):
        read_usage(payload, provider="otel")

"""xAI: which sums its usage blocks have, its SDK, realtime sessions, what it charged."""

from __future__ import annotations

from typing import Any

import pytest

from spendstream.producers.extract import ExtractedUsage, Unreadable, read_usage, usage_from


def used(payload: object, api: str | None = None) -> ExtractedUsage:
    usage = usage_from(payload, provider="x_ai", api=api)
    assert usage is not None
    return usage


def said(usage: ExtractedUsage) -> dict[str, Any]:
    """The counts that are not 0."""
    counts = usage.model_dump(exclude_defaults=True)
    return {name: n for name, n in counts.items() if n and type(n) is int}


def chat(
    prompt: int,
    completion: int,
    total: int | None,
    cached: int = 0,
    reasoning: int = 0,
    **more: Any,
) -> dict[str, Any]:
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": total,
        "prompt_tokens_details": {"cached_tokens": cached, "image_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    choice = {"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}
    return {"id": "c-1", "model": "grok-4", "choices": [choice], "usage": usage | more}


def test_reasoning_stands_beside_the_completion_and_the_cache_inside_the_prompt() -> None:
    usage = used(chat(100, 10, 140, cached=60, reasoning=30))
    assert said(usage) == {
        "input_tokens": 100,
        "cache_read_input_tokens": 60,
        "output_tokens": 40,
        "reasoning_output_tokens": 30,
    }
    assert usage.quality == "measured"
    assert (usage.model, usage.response_id) == ("grok-4", "c-1")
    assert used(chat(100, 10, None, reasoning=30)).output_tokens == 40


@pytest.mark.parametrize(
    ("total", "inputs", "outputs"), [(140, 100, 40), (110, 100, 10), (170, 130, 40), (160, 130, 30)]
)
def test_the_total_decides_what_is_inside(total: int, inputs: int, outputs: int) -> None:
    completion = {40: 32, 10: 10, 30: 30}[outputs]
    usage = used(chat(100, completion, total, cached=30, reasoning=8))
    assert (usage.input_tokens, usage.output_tokens) == (inputs, outputs)
    assert usage.quality == "measured"


def test_a_cache_larger_than_the_prompt_cannot_be_inside_it() -> None:
    fits = used(chat(40, 5, 105, cached=60))
    assert (fits.input_tokens, fits.cache_read_input_tokens) == (100, 60)
    assert fits.quality == "measured"
    contradicts = used(chat(40, 5, 45, cached=60))
    assert (contradicts.input_tokens, contradicts.cache_read_input_tokens) == (100, 60)
    assert contradicts.conflicts == ("total_tokens 45 is not 100 input + 5 output",)


def test_the_responses_api_has_reasoning_inside() -> None:
    usage = used(
        {
            "object": "response",
            "id": "r-1",
            "model": "grok-4.5",
            "service_tier": "default",
            "status": "completed",
            "usage": {
                "input_tokens": 200,
                "input_tokens_details": {"cached_tokens": 50},
                "output_tokens": 90,
                "output_tokens_details": {"reasoning_tokens": 70},
                "total_tokens": 290,
                "server_side_tool_usage_details": {"web_search_calls": 4, "x_search_calls": 1},
                "cost_in_usd_ticks": 37756000,
            },
        }
    )
    assert said(usage) == {
        "input_tokens": 200,
        "cache_read_input_tokens": 50,
        "output_tokens": 90,
        "reasoning_output_tokens": 70,
        "web_searches": 4,
    }
    assert usage.reported_cost_pico == "3775600000"
    assert usage.service_tier == "default"


def test_a_tick_is_a_ten_billionth_of_a_dollar() -> None:
    ticks = 10_000_000_000
    assert used(chat(1, 1, 2, cost_in_usd_ticks=ticks)).reported_cost_pico == str(10**12)
    assert used(chat(1, 1, 2, cost_in_usd_ticks=str(ticks))).reported_cost_pico == str(10**12)
    for nonsense in (-1, 0.5, True, "free", None, 10**30):
        assert used(chat(1, 1, 2, cost_in_usd_ticks=nonsense)).reported_cost_pico is None


def test_the_message_of_the_sdk_has_everything_at_its_top() -> None:
    usage = used(
        {
            "id": "s-1",
            "model": "grok-4-1-fast",
            "service_tier": "SERVICE_TIER_PRIORITY",
            "outputs": [{"message": {"content": "hi"}, "finish_reason": "REASON_STOP"}],
            "usage": {
                "prompt_tokens": 900,
                "prompt_text_tokens": 400,
                "prompt_image_tokens": 500,
                "cached_prompt_text_tokens": 300,
                "completion_tokens": 20,
                "reasoning_tokens": 80,
                "total_tokens": 1000,
                "server_side_tools_used": [
                    "SERVER_SIDE_TOOL_WEB_SEARCH",
                    "SERVER_SIDE_TOOL_MCP",
                    1,
                ],
            },
        }
    )
    assert said(usage) == {
        "input_tokens": 900,
        "cache_read_input_tokens": 300,
        "image_input_tokens": 500,
        "output_tokens": 100,
        "reasoning_output_tokens": 80,
        "web_searches": 2,
    }
    assert usage.service_tier == "priority"


def test_a_message_of_reasoning_alone_is_not_counted_twice() -> None:
    # protobuf leaves out `completion_tokens` 0
    usage = {"prompt_tokens": 10, "reasoning_tokens": 50, "total_tokens": 60}
    assert said(used({"model": "grok-4", "usage": usage})) == {
        "input_tokens": 10,
        "output_tokens": 50,
        "reasoning_output_tokens": 50,
    }


def chunk(text: str, finish: str | None = None, usage: Any = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return {"id": "c-1", "model": "grok-4", "choices": [choice], "usage": usage}


def test_the_last_usage_of_a_stream_stands_and_without_an_end_it_is_a_lower_bound() -> None:
    so_far = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
    final = {"prompt_tokens": 9, "completion_tokens": 7, "total_tokens": 16}
    stream = [chunk("a", usage=so_far), chunk("b", "stop"), {"choices": [], "usage": final}]
    whole = used(stream)
    assert (said(whole), whole.quality) == ({"input_tokens": 9, "output_tokens": 7}, "measured")
    cut = used([chunk("a" * 40, usage=so_far), chunk("b" * 40)])
    assert (said(cut), cut.quality) == ({"input_tokens": 9, "output_tokens": 20}, "estimated")


def done(seconds: float, **usage: Any) -> dict[str, Any]:
    return {
        "type": "response.done",
        "response": {"id": "r-1", "object": "realtime.response", "usage": {}},
        "usage": usage | {"billable_audio_seconds": seconds, "output_audio_seconds": 9.9},
    }


def test_usage_of_a_realtime_session_stands_beside_its_responses_and_adds_up() -> None:
    usage = used(
        [
            {"type": "session.created"},
            done(
                1,
                input_tokens=12,
                input_token_details={"text_tokens": 2, "audio_tokens": 10, "grok_tokens": 0},
                output_tokens=50,
                output_token_details={"text_tokens": 5, "audio_tokens": 45},
                total_tokens=62,
            ),
            done(2.5, input_tokens=0, output_tokens=30, total_tokens=30),
        ]
    )
    assert said(usage) == {
        "input_tokens": 12,
        "audio_input_tokens": 10,
        "output_tokens": 80,
        "audio_output_tokens": 45,
        "audio_input_ms": 3500,
    }
    assert (usage.quality, usage.response_id) == ("measured", "r-1")


def test_an_image_is_known_by_its_charge() -> None:
    usage = used({"data": [{"url": "u"}, {"url": "v"}], "usage": {"cost_in_usd_ticks": 400}})
    assert said(usage) == {"images": 2}
    assert usage.reported_cost_pico == "40000"


def test_anthropics_shape_is_read_as_anthropics() -> None:
    usage = used(
        {
            "type": "message",
            "model": "grok-4",
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 3, "cache_read_input_tokens": 7, "output_tokens": 2},
        },
        "messages",
    )
    assert (usage.input_tokens, usage.cache_read_input_tokens) == (10, 7)
    # and where it is not in that shape, what was said of it is not believed
    assert used(chat(100, 10, 140, reasoning=30), "messages").output_tokens == 40


def test_no_usage_is_unknown_and_a_broken_one_unreadable() -> None:
    assert read_usage({"error": "quota"}, provider="x_ai") is None
    assert read_usage({"id": "v-1", "usage": {}}, provider="x_ai") is None
    for broken in ("12", -3, 1.5):
        with pytest.raises(Unreadable):
            read_usage({"usage": {"prompt_tokens": broken}}, provider="x_ai")

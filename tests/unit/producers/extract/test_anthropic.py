"""Anthropic's Messages API: what adds up, what replaces, and what other models used."""

from __future__ import annotations

from typing import Any

import pytest

from spendstream.producers.extract import ExtractedUsage, Unreadable, read_usage, usage_from
from spendstream.schemas.usage import MAX_OTHER_MODELS


def used(payload: object) -> ExtractedUsage:
    usage = read_usage(payload, provider="anthropic")
    assert usage is not None
    return usage


def said(usage: Any) -> dict[str, int]:
    """The counts that are not 0."""
    counts = usage.model_dump(exclude_defaults=True)
    return {name: n for name, n in counts.items() if type(n) is int}


def message(model: str = "claude-a", **usage: Any) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "model": model,
        "content": [{"type": "text", "text": "hello"}],
        "stop_reason": "end_turn",
        "usage": usage,
    }


def stream(*deltas: dict[str, Any], start: dict[str, Any], text: str = "hi") -> list[Any]:
    """A stream whose `message_delta`s have these usages; without any it was cut off."""
    events: list[Any] = [
        {
            "type": "message_start",
            "message": {"id": "msg_1", "type": "message", "model": "claude-a", "usage": start},
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
    ]
    for usage in deltas:
        delta = {"stop_reason": "end_turn", "stop_sequence": None}
        events.append({"type": "message_delta", "delta": delta, "usage": usage})
    return [*events, {"type": "message_stop"}] if deltas else events


def entry(kind: str, inputs: int, outputs: int, **more: Any) -> dict[str, Any]:
    return {"type": kind, "input_tokens": inputs, "output_tokens": outputs, **more}


def others(usage: ExtractedUsage) -> list[tuple[str, int, int]]:
    return [(other.model, other.input_tokens, other.output_tokens) for other in usage.other_models]


def test_cached_tokens_are_added_to_the_input() -> None:
    usage = used(
        message(
            input_tokens=5,
            cache_read_input_tokens=100,
            cache_creation_input_tokens=30,
            cache_creation={"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
            output_tokens=40,
            output_tokens_details={"thinking_tokens": 25},
            server_tool_use={"web_search_requests": 2, "web_fetch_requests": 1},
            service_tier="priority",
            inference_geo="us",
        )
    )
    assert said(usage) == {
        "input_tokens": 135,
        "output_tokens": 40,
        "cache_read_input_tokens": 100,
        "cache_write_input_tokens": 30,
        "cache_write_5m_input_tokens": 10,
        "cache_write_1h_input_tokens": 20,
        "reasoning_output_tokens": 25,
        "web_searches": 2,
        "web_fetches": 1,
    }
    assert (usage.model, usage.response_id, usage.region) == ("claude-a", "msg_1", "us")
    assert (usage.service_tier, usage.batch, usage.quality) == ("priority", False, "measured")


def test_writes_are_the_split_where_there_is_no_total() -> None:
    split = {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20}
    usage = used(message(input_tokens=5, output_tokens=1, cache_creation=split))
    assert (usage.input_tokens, usage.cache_write_input_tokens) == (35, 30)


def test_a_split_that_leaves_writes_out_is_a_conflict() -> None:
    usage = used(
        message(
            input_tokens=5,
            output_tokens=1,
            cache_creation_input_tokens=30,
            cache_creation={"ephemeral_1h_input_tokens": 20},
        )
    )
    assert (usage.cache_write_input_tokens, usage.cache_write_1h_input_tokens) == (30, 20)
    assert usage.quality == "conflicting"
    assert usage.provider_usage is not None


def test_a_place_that_is_not_told_is_no_region() -> None:
    usage = used(message(input_tokens=1, output_tokens=1, inference_geo="not_available"))
    assert usage.region is None


@pytest.mark.parametrize(
    ("tier", "speed", "expected"),
    [
        ("standard", "fast", "fast"),
        (None, "fast", "fast"),
        ("standard", "standard", "standard"),
        ("priority", "fast", "priority"),
    ],
)
def test_fast_mode_is_a_tier_where_there_is_no_other(
    tier: str | None, speed: str, expected: str
) -> None:
    usage = used(message(input_tokens=1, output_tokens=1, service_tier=tier, speed=speed))
    assert usage.service_tier == expected


def test_the_last_figures_of_a_stream_stand_even_if_they_are_smaller() -> None:
    usage = used(
        stream(
            {"input_tokens": 9, "cache_read_input_tokens": 0, "output_tokens": 0},
            start={"input_tokens": 4, "cache_read_input_tokens": 7, "output_tokens": 1},
        )
    )
    assert said(usage) == {"input_tokens": 9, "output_tokens": 0}
    assert (usage.quality, usage.model, usage.response_id) == ("measured", "claude-a", "msg_1")


def test_what_the_last_event_does_not_say_stands_from_the_first() -> None:
    usage = used(
        stream(
            {"input_tokens": None, "output_tokens": 8},
            {"output_tokens": 12, "server_tool_use": {"web_search_requests": 3}},
            start={"input_tokens": 4, "output_tokens": 1, "service_tier": "standard"},
        )
    )
    assert said(usage) == {"input_tokens": 4, "output_tokens": 12, "web_searches": 3}
    assert usage.service_tier == "standard"


@pytest.mark.parametrize(("last", "minutes"), [(50, 30), (0, 0)])
def test_the_last_total_of_writes_comes_without_its_split(last: int, minutes: int) -> None:
    usage = used(
        stream(
            {"cache_creation_input_tokens": last, "output_tokens": 2},
            start={
                "input_tokens": 4,
                "cache_creation_input_tokens": 30,
                "cache_creation": {"ephemeral_5m_input_tokens": 30},
                "output_tokens": 1,
            },
        )
    )
    assert usage.cache_write_input_tokens == last
    assert usage.cache_write_5m_input_tokens == minutes
    assert usage.quality == "measured"


def test_a_stream_that_was_cut_off_has_at_least_what_was_seen() -> None:
    cut = stream(start={"input_tokens": 9, "output_tokens": 2}, text="x" * 400)
    usage = used(cut)
    assert (usage.input_tokens, usage.output_tokens) == (9, 100)
    assert usage.quality == "estimated"
    assert used(stream(start={"input_tokens": 9, "output_tokens": 2})).output_tokens == 2


def test_a_stream_that_ends_without_a_count_is_estimated() -> None:
    events = [*stream(start={"input_tokens": 9, "output_tokens": 1}), {"type": "message_stop"}]
    assert used(events).quality == "estimated"


def test_a_stream_whose_beginning_is_missing_has_an_unknown_input() -> None:
    usage = used(stream({"output_tokens": 7}, start={"input_tokens": 9})[3:])
    assert (usage.input_tokens, usage.output_tokens) == (0, 7)
    assert usage.quality == "estimated"


def test_a_message_that_has_not_stopped_is_a_snapshot() -> None:
    unfinished = message(input_tokens=9, output_tokens=1) | {"stop_reason": None}
    unfinished["content"] = [
        {"type": "text", "text": "x" * 40},
        {"type": "web_fetch_tool_result", "content": {"text": "not the model's " * 100}},
    ]
    usage = used(unfinished)
    assert (usage.output_tokens, usage.quality) == (10, "estimated")


def test_a_usage_block_alone_is_enough() -> None:
    usage = used({"usage": {"input_tokens": 3, "output_tokens": 4}})
    assert (usage.input_tokens, usage.output_tokens, usage.quality) == (3, 4, "measured")


def test_the_sdks_last_event_brings_the_whole_message_again() -> None:
    events = stream({"output_tokens": 7}, start={"input_tokens": 9, "output_tokens": 1})
    events[-1] = {"type": "message_stop", "message": message(input_tokens=9, output_tokens=7)}
    assert said(used(events)) == {"input_tokens": 9, "output_tokens": 7}


def test_transcripts_repeat_a_message_with_each_of_its_blocks() -> None:
    line = {"type": "assistant", "message": message(input_tokens=3, output_tokens=4)}
    assert said(used([line, line])) == {"input_tokens": 3, "output_tokens": 4}


def test_several_messages_in_one_stream_add_up_and_say_so() -> None:
    first = stream({"output_tokens": 7}, start={"input_tokens": 9, "output_tokens": 1})
    second = stream({"output_tokens": 5}, start={"input_tokens": 20, "output_tokens": 1})
    second[0]["message"]["id"] = "msg_2"
    usage = used(first + second)
    assert (usage.input_tokens, usage.output_tokens) == (29, 12)
    assert usage.quality == "conflicting"


def test_a_compaction_is_billed_beside_the_top_level() -> None:
    usage = used(
        message(
            input_tokens=230,
            cache_creation_input_tokens=0,
            output_tokens=50,
            iterations=[
                entry(
                    "compaction",
                    1_000,
                    70,
                    cache_creation_input_tokens=400,
                    cache_creation={"ephemeral_5m_input_tokens": 400},
                ),
                entry("message", 230, 50),
            ],
        )
    )
    assert said(usage) == {
        "input_tokens": 1_630,
        "output_tokens": 120,
        "cache_write_input_tokens": 400,
        "cache_write_5m_input_tokens": 400,
    }
    assert (usage.quality, usage.other_models) == ("measured", ())


def test_cache_counts_that_the_last_event_resets_stand_in_the_iterations() -> None:
    iterations = [entry("compaction", 10, 20, cache_read_input_tokens=500), entry("message", 30, 5)]
    usage = used(
        stream(
            {
                "input_tokens": 30,
                "cache_read_input_tokens": 0,
                "output_tokens": 5,
                "iterations": iterations,
            },
            start={"input_tokens": 10, "cache_read_input_tokens": 500, "output_tokens": 1},
        )
    )
    assert (usage.input_tokens, usage.cache_read_input_tokens) == (540, 500)
    assert (usage.output_tokens, usage.quality) == (25, "measured")


def test_an_advisor_is_another_model_and_every_pass_is_billed() -> None:
    """As documented, the top level has the input of the first pass only."""
    usage = used(
        message(
            input_tokens=400,
            output_tokens=30,
            iterations=[
                entry("message", 400, 10),
                entry("advisor_message", 800, 90, model="claude-b", cache_read_input_tokens=5),
                entry("message", 900, 20, cache_read_input_tokens=100),
            ],
        )
    )
    assert (usage.input_tokens, usage.output_tokens) == (1_400, 30)
    assert usage.cache_read_input_tokens == 100
    assert (usage.model, usage.quality) == ("claude-a", "measured")
    assert others(usage) == [("claude-b", 805, 90)]
    assert usage.other_models[0].cache_read_input_tokens == 5


def test_many_advisors_are_one_a_model() -> None:
    advice = [entry("advisor_message", 10, 1, model="claude-b")] * (MAX_OTHER_MODELS + 1)
    usage = used(message(input_tokens=1, output_tokens=1, iterations=advice))
    assert others(usage) == [("claude-b", 10 * len(advice), len(advice))]


def test_iterations_that_do_not_fit_the_top_level_are_a_conflict_and_the_larger_stands() -> None:
    more = used(message(input_tokens=9, output_tokens=9, iterations=[entry("message", 20, 30)]))
    fewer = used(message(input_tokens=9, output_tokens=9, iterations=[entry("message", 2, 3)]))
    assert (more.input_tokens, more.output_tokens, more.quality) == (20, 30, "conflicting")
    assert (fewer.input_tokens, fewer.output_tokens, fewer.quality) == (9, 9, "conflicting")


@pytest.mark.parametrize("iterations", [None, [], [entry("message", 9, 3)]])
def test_iterations_that_add_nothing_change_nothing(iterations: Any) -> None:
    usage = used(message(input_tokens=9, output_tokens=3, iterations=iterations))
    assert said(usage) == {"input_tokens": 9, "output_tokens": 3}
    assert usage.quality == "measured"


def fallback(declined: dict[str, Any], trigger: Any = None) -> list[Any]:
    """claude-a declines, claude-b answers; the first event names claude-a."""
    events = stream(
        {
            "input_tokens": 50,
            "output_tokens": 20,
            "iterations": [declined, entry("fallback_message", 50, 20, model="claude-b")],
        },
        start={"input_tokens": 40, "output_tokens": 1},
    )
    block: dict[str, Any] = {
        "type": "fallback",
        "from": {"model": "claude-a"},
        "to": {"model": "claude-b"},
    }
    if trigger is not None:
        block["trigger"] = trigger
    events[1] = {"type": "content_block_start", "index": 0, "content_block": block}
    return events


def test_after_a_fallback_the_usage_is_the_model_s_that_answered() -> None:
    usage = used(fallback(entry("message", 40, 7, model="claude-a")))
    assert (usage.input_tokens, usage.output_tokens, usage.model) == (50, 20, "claude-b")
    assert others(usage) == [("claude-a", 40, 7)]
    assert usage.quality == "measured"


@pytest.mark.parametrize(
    ("trigger", "billed"),
    [
        ({"type": "refusal", "category": "cyber"}, False),
        ({"type": "refusal", "category": None}, False),
        ({"type": "refusal", "category": "bio"}, True),
        (None, True),
    ],
)
def test_a_model_that_declined_before_any_output_is_left_out_unless_it_is_billed(
    trigger: Any, billed: bool
) -> None:
    usage = used(fallback(entry("message", 40, 0, model="claude-a"), trigger))
    assert others(usage) == ([("claude-a", 40, 0)] if billed else [])
    assert (usage.input_tokens, usage.output_tokens) == (50, 20)


def test_a_model_that_declined_amid_its_output_is_billed() -> None:
    trigger = {"type": "refusal", "category": "cyber"}
    usage = used(fallback(entry("message", 40, 3, model="claude-a"), trigger))
    assert others(usage) == [("claude-a", 40, 3)]


def test_a_fallback_without_a_handover_is_named_by_its_iteration() -> None:
    """The API remembers who answered a conversation, and asks that model at once."""
    iterations = [entry("fallback_message", 9, 3, model="claude-b")]
    usage = used(message(input_tokens=9, output_tokens=3, iterations=iterations))
    assert (usage.model, usage.other_models, usage.input_tokens) == ("claude-b", (), 9)


def test_a_stream_cut_off_after_a_handover_is_of_the_model_that_went_on() -> None:
    usage = used(fallback(entry("message", 40, 0, model="claude-a"))[:3])
    assert (usage.model, usage.quality) == ("claude-b", "estimated")


def test_lines_of_a_batch_are_batch_and_add_up() -> None:
    line = {
        "custom_id": "a",
        "result": {
            "type": "succeeded",
            "message": message(input_tokens=3, output_tokens=4, service_tier="batch"),
        },
    }
    usage = used(line)
    assert (usage.input_tokens, usage.batch, usage.service_tier) == (3, True, "batch")
    assert used([line, line]).input_tokens == 6


@pytest.mark.parametrize("kind", ["errored", "canceled", "expired"])
def test_a_line_of_a_batch_without_a_message_has_no_usage(kind: str) -> None:
    line = {"custom_id": "a", "result": {"type": kind, "error": {"type": "error"}}}
    assert usage_from(line, provider="anthropic") is None


def test_openai_s_shapes_on_the_same_host_are_read_as_such() -> None:
    responses = {
        "model": "gpt-x",
        "usage": {
            "input_tokens": 100,
            "input_tokens_details": {"cached_tokens": 60},
            "output_tokens": 7,
        },
    }
    usage = used(responses)
    assert (usage.input_tokens, usage.cache_read_input_tokens) == (100, 60)


@pytest.mark.parametrize(
    "payload",
    [
        {"input_tokens": 14},  # counting tokens is free
        {"type": "error", "error": {"type": "overloaded_error", "message": "later"}},
        {"message": "Forbidden"},
        {"usage": {}},
        {"usage": None, "model": None},
        [{"type": "error", "error": {"type": "overloaded_error"}}],
    ],
)
def test_without_counts_the_usage_is_unknown(payload: object) -> None:
    assert read_usage(payload, provider="anthropic") is None


@pytest.mark.parametrize(
    "usage",
    [
        7,
        {"input_tokens": "12", "output_tokens": 1},
        {"input_tokens": -1, "output_tokens": 1},
        {"input_tokens": 1, "output_tokens": True},
        {"input_tokens": 1, "output_tokens": 1, "cache_creation": [1]},
        {"input_tokens": 1, "output_tokens": 1, "iterations": 3},
        {"input_tokens": 1, "output_tokens": 1, "server_tool_use": {"web_search_requests": 0.5}},
    ],
)
def test_a_usage_that_is_none_of_the_documented_ones_is_not_read(usage: Any) -> None:
    with pytest.raises(Unreadable):
        read_usage({"type": "message", "usage": usage}, provider="anthropic")

"""Amazon Bedrock: Converse, and what each model answers to InvokeModel."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from spendstream.producers.extract import ExtractedUsage, Unreadable, read_usage


def used(payload: object) -> ExtractedUsage:
    usage = read_usage(payload, provider="aws.bedrock")
    assert usage is not None
    return usage


def said(usage: ExtractedUsage) -> dict[str, Any]:
    """The counts that are not 0, of both totals in any case."""
    counts = usage.model_dump(exclude_defaults=True)
    return {name: n for name, n in counts.items() if type(n) is int}


def totals(usage: ExtractedUsage) -> tuple[int, int]:
    return usage.input_tokens, usage.output_tokens


def converse(**usage: Any) -> dict[str, Any]:
    answer = {"message": {"role": "assistant", "content": [{"text": "hello"}]}}
    return {"output": answer, "stopReason": "end_turn", "usage": usage}


def metrics(inputs: int, outputs: int, **more: int) -> dict[str, Any]:
    counts = {"inputTokenCount": inputs, "outputTokenCount": outputs, "invocationLatency": 400}
    return {"amazon-bedrock-invocationMetrics": counts | more}


def with_headers(body: dict[str, Any], **headers: str) -> dict[str, Any]:
    named = {f"x-amzn-bedrock-{name.replace('_', '-')}": v for name, v in headers.items()}
    return body | {"ResponseMetadata": {"RequestId": "req-1", "HTTPHeaders": named}}


def test_cached_tokens_are_added_to_the_input() -> None:
    usage = used(
        converse(
            inputTokens=10,
            outputTokens=20,
            totalTokens=1_230,
            cacheReadInputTokens=900,
            cacheWriteInputTokens=300,
            cacheDetails=[
                {"ttl": "1h", "inputTokens": 100},
                {"ttl": "5m", "inputTokens": 150},
                {"ttl": "5m", "inputTokens": 50},
            ],
        )
        | {"serviceTier": {"type": "flex"}, "ResponseMetadata": {"RequestId": "req-1"}}
    )
    assert said(usage) == {
        "input_tokens": 1_210,
        "output_tokens": 20,
        "cache_read_input_tokens": 900,
        "cache_write_input_tokens": 300,
        "cache_write_5m_input_tokens": 200,
        "cache_write_1h_input_tokens": 100,
    }
    assert (usage.quality, usage.service_tier, usage.response_id) == ("measured", "flex", "req-1")


def test_details_that_leave_writes_out_are_a_conflict_and_the_total_stands() -> None:
    details = [{"ttl": "5m", "inputTokens": 100}, {"ttl": "5m"}, {"ttl": "2h", "inputTokens": 7}]
    usage = used(
        converse(inputTokens=10, outputTokens=5, cacheWriteInputTokens=300, cacheDetails=details)
    )
    assert (usage.input_tokens, usage.cache_write_input_tokens) == (310, 300)
    assert usage.cache_write_5m_input_tokens == 100
    assert usage.quality == "conflicting"


def test_a_total_that_does_not_fit_is_a_conflict() -> None:
    usage = used(converse(inputTokens=10, outputTokens=5, totalTokens=99))
    assert totals(usage) == (10, 5)
    assert usage.conflicts == ("totalTokens 99 is not 10 input + 5 output",)


@pytest.mark.parametrize(
    ("tier", "latency", "expected"),
    [
        ("default", "optimized", "optimized"),
        (None, "optimized", "optimized"),
        ("priority", "optimized", "priority"),
        ("default", "standard", "default"),
    ],
)
def test_optimized_latency_is_a_tier_where_there_is_no_other(
    tier: str | None, latency: str, expected: str
) -> None:
    answer = converse(inputTokens=1, outputTokens=1)
    answer |= {"serviceTier": {"type": tier}, "performanceConfig": {"latency": latency}}
    assert used(answer).service_tier == expected


def test_a_prompt_router_names_the_model_that_answered() -> None:
    answer = converse(inputTokens=1, outputTokens=1)
    answer["trace"] = {"promptRouter": {"invokedModelId": "arn:aws:bedrock:us-east-1::a"}}
    assert used(answer).model == "arn:aws:bedrock:us-east-1::a"


def test_a_stream_has_it_in_its_metadata_wherever_that_comes() -> None:
    events: list[Any] = [
        {"messageStart": {"role": "assistant"}},
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "hi"}}},
        {"metadata": {"usage": {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7}}},
        {"messageStop": {"stopReason": "end_turn"}},
    ]
    assert totals(used(events)) == (3, 4)
    assert used(events).quality == "measured"


def test_a_stream_that_was_cut_off_has_at_least_what_was_seen() -> None:
    delta = {"contentBlockIndex": 0, "delta": {"text": "x" * 40}}
    usage = used([{"messageStart": {"role": "assistant"}}, {"contentBlockDelta": delta}])
    assert (usage.output_tokens, usage.quality) == (10, "estimated")


def test_nova_has_other_names_for_what_is_cached() -> None:
    answer = converse(
        inputTokens=10, outputTokens=5, cacheReadInputTokenCount=100, cacheWriteInputTokenCount=20
    )
    assert said(used(answer)) == {
        "input_tokens": 130,
        "output_tokens": 5,
        "cache_read_input_tokens": 100,
        "cache_write_input_tokens": 20,
    }


def test_a_count_that_is_kept_back_is_estimated_or_in_the_headers() -> None:
    alone = used(converse(inputTokens=10))
    assert totals(alone) == (10, 2)
    assert alone.quality == "estimated"
    told = used(
        with_headers(converse(inputTokens=10), input_token_count="10", output_token_count="51")
    )
    assert totals(told) == (10, 51)
    assert told.quality == "measured"


def test_titan_counts_in_whole_floats() -> None:
    body = {"inputTextTokenCount": 28.0, "results": [{"tokenCount": 197.0, "outputText": "hi"}]}
    assert totals(used(body)) == (28, 197)


def test_titan_counts_a_stream_in_its_last_event() -> None:
    first = {"outputText": "x" * 40, "index": 0, "inputTextTokenCount": 6}
    last = {"outputText": "y", "index": 1, "totalOutputTextTokenCount": 30}
    assert totals(used([first, last | metrics(6, 30)])) == (6, 30)
    cut = used([first])
    assert totals(cut) == (6, 10)
    assert cut.quality == "estimated"


def test_titan_counts_the_input_of_embeddings() -> None:
    usage = used({"embedding": [0.5], "inputTextTokenCount": 7})
    assert totals(usage) == (7, 0)
    assert usage.quality == "measured"


def test_llama_counts_the_prompt_first_and_the_answer_as_it_grows() -> None:
    events: list[dict[str, Any]] = [
        {"generation": "a", "prompt_token_count": 9, "generation_token_count": 1},
        {"generation": "b" * 80, "prompt_token_count": None, "generation_token_count": 2},
    ]
    for event in events:
        event["stop_reason"] = None
    end = {"generation": "", "generation_token_count": 3, "stop_reason": "stop"}
    assert totals(used([*events, end])) == (9, 3)
    assert used([*events, end]).quality == "measured"
    assert totals(used(events)) == (9, 2)
    assert used(events).quality == "estimated"


def test_llama_answers_at_once_too() -> None:
    body = {"generation": "hi", "prompt_token_count": 9, "generation_token_count": 3}
    assert totals(used(body)) == (9, 3)
    assert used(body).quality == "measured"


def test_claude_s_messages_are_read_as_anthropic_s() -> None:
    usage = used(
        {
            "id": "msg_bdrk_1",
            "type": "message",
            "model": "claude-a",
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 4, "cache_read_input_tokens": 90, "output_tokens": 5},
        }
    )
    assert (usage.input_tokens, usage.cache_read_input_tokens) == (94, 90)
    assert (usage.model, usage.response_id) == ("claude-a", "msg_bdrk_1")


def claude_stream(*last: dict[str, Any]) -> list[Any]:
    usage = {"input_tokens": 4, "cache_read_input_tokens": 90, "output_tokens": 1}
    start = {"id": "msg_1", "type": "message", "model": "claude-a", "usage": usage}
    delta = {"type": "content_block_delta", "index": 0, "delta": {"text": "x" * 800}}
    return [{"type": "message_start", "message": start}, delta, *last]


ENDED = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}


def test_where_claude_and_bedrock_count_differently_claude_s_stand() -> None:
    end = ENDED | {"usage": {"output_tokens": 130}}
    agreed = used(claude_stream(end, {"type": "message_stop"} | metrics(4, 130)))
    assert (totals(agreed), agreed.quality) == ((94, 130), "measured")
    usage = used(claude_stream(end, {"type": "message_stop"} | metrics(4, 98)))
    assert (totals(usage), usage.quality) == ((94, 130), "conflicting")
    assert usage.conflicts == ("output_tokens: the model says 130, Bedrock 98",)


def test_bedrock_s_count_stands_for_one_that_is_missing() -> None:
    stop = {"type": "message_stop"} | metrics(4, 98, cacheReadInputTokenCount=90)
    usage = used(claude_stream(stop))
    assert (totals(usage), usage.cache_read_input_tokens) == ((94, 98), 90)
    assert usage.quality == "measured"


def test_models_that_do_not_count_are_counted_by_bedrock() -> None:
    events: list[dict[str, Any]] = [
        {"outputs": [{"text": "hi", "stop_reason": None}]},
        {"outputs": [{"text": "", "stop_reason": "stop"}], **metrics(11, 2)},
    ]
    assert totals(used(events)) == (11, 2)
    embedding = with_headers({"embeddings": [[0.5]]}, input_token_count="6")
    assert totals(used(embedding)) == (6, 0)
    tiered = with_headers({}, input_token_count="6", output_token_count="1", service_tier="flex")
    assert (used(tiered).service_tier, used(tiered).response_id) == ("flex", "req-1")


def test_headers_count_what_is_cached_outside_the_input() -> None:
    usage = used(
        with_headers(
            {},
            input_token_count="6",
            output_token_count="2",
            cache_read_input_token_count="100",
            cache_write_input_token_count="30",
        )
    )
    assert said(usage) == {
        "input_tokens": 136,
        "output_tokens": 2,
        "cache_read_input_tokens": 100,
        "cache_write_input_tokens": 30,
    }


def test_events_may_be_packed_as_on_the_wire() -> None:
    def packed(event: dict[str, Any]) -> str:
        return base64.b64encode(json.dumps(event).encode()).decode()

    last = {"outputText": "y", "inputTextTokenCount": 6, "totalOutputTextTokenCount": 30}
    assert totals(used([{"chunk": {"bytes": packed(last)}}])) == (6, 30)
    assert totals(used([{"bytes": packed(last), "p": "abc"}])) == (6, 30)


@pytest.mark.parametrize(
    "body",
    [
        {"choices": [], "usage": {"prompt_tokens": 6, "completion_tokens": 30}},
        {
            "object": "response",
            "usage": {"input_tokens": 6, "output_tokens": 30, "total_tokens": 36},
        },
        {
            "type": "response.completed",
            "response": {"usage": {"input_tokens": 6, "output_tokens": 30}},
        },
        {"text": "hi", "meta": {"billed_units": {"input_tokens": 6, "output_tokens": 30}}},
    ],
    ids=["chat", "responses", "responses stream", "cohere"],
)
def test_other_makers_shapes_are_read_as_theirs(body: dict[str, Any]) -> None:
    assert totals(used([body])) == (6, 30)


def test_lines_of_a_batch_are_batch_and_add_up() -> None:
    line = {
        "recordId": "1",
        "modelInput": {"prompt": "hi"},
        "modelOutput": converse(inputTokens=3, outputTokens=4),
    }
    failed = {"recordId": "2", "modelInput": {}, "error": {"errorCode": 400}}
    usage = used([line, failed, line])
    assert (totals(usage), usage.batch) == ((6, 8), True)
    assert read_usage(failed, provider="aws.bedrock") is None


@pytest.mark.parametrize(
    "payload",
    [
        {"message": "Too many tokens"},
        converse(),
        {"embeddings": [[0.5]]},
        with_headers({"embeddings": [[0.5]]}, input_token_count="many"),
        {"chunk": {"bytes": "no base64"}},
        {"output": 1, "metadata": "x", "stopReason": []},
    ],
)
def test_without_counts_the_usage_is_unknown(payload: object) -> None:
    assert read_usage(payload, provider="aws.bedrock") is None


@pytest.mark.parametrize(
    "payload",
    [
        {"usage": 7},
        converse(inputTokens="3", outputTokens=1),
        converse(inputTokens=3, outputTokens=-1),
        converse(inputTokens=3, outputTokens=1, cacheDetails={"ttl": "5m"}),
        {"inputTextTokenCount": 0.5, "results": []},
        {"amazon-bedrock-invocationMetrics": {"inputTokenCount": True}},
    ],
)
def test_a_usage_that_is_none_of_the_documented_ones_is_not_read(payload: object) -> None:
    with pytest.raises(Unreadable):
        read_usage(payload, provider="aws.bedrock")

"""Mistral: chat and its streams, audio, conversations, OCR, batches."""

from __future__ import annotations

from typing import Any

import pytest

from spendstream.producers.extract import ExtractedUsage, Unreadable, read_usage, usage_from


def used(payload: object) -> ExtractedUsage:
    usage = usage_from(payload, provider="mistral_ai")
    assert usage is not None
    return usage


def said(usage: ExtractedUsage) -> dict[str, Any]:
    """The counts that are not 0."""
    counts = usage.model_dump(exclude_defaults=True)
    return {name: n for name, n in counts.items() if n and type(n) is int}


def reply(**usage: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}
    return {"id": "m-1", "model": "mistral-large-latest", "choices": [choice], "usage": usage}


@pytest.mark.parametrize(
    "cached",
    [
        {"prompt_tokens_details": {"cached_tokens": 64}},
        {"prompt_token_details": {"cached_tokens": 64}},
        {"num_cached_tokens": 64, "prompt_tokens_details": None},
    ],
)
def test_cached_tokens_are_inside_the_prompt_by_each_of_their_names(cached: dict[str, Any]) -> None:
    details = {"completion_tokens_details": {"reasoning_tokens": 9}}
    usage = used(
        reply(prompt_tokens=100, completion_tokens=20, total_tokens=120, **cached, **details)
    )
    assert said(usage) == {
        "input_tokens": 100,
        "cache_read_input_tokens": 64,
        "output_tokens": 20,
        "reasoning_output_tokens": 9,
    }
    assert (usage.quality, usage.model, usage.response_id) == (
        "measured",
        "mistral-large-latest",
        "m-1",
    )


def test_audio_is_billed_by_its_seconds_and_its_tokens_are_in_the_total_alone() -> None:
    usage = used(
        {
            "model": "voxtral-mini-latest",
            "text": "hello",
            "usage": {
                "prompt_audio_seconds": 12,
                "prompt_tokens": 4,
                "completion_tokens": 30,
                "total_tokens": 184,
            },
        }
    )
    assert said(usage) == {"input_tokens": 4, "output_tokens": 30, "audio_input_ms": 12000}
    assert usage.quality == "measured"


def test_what_connectors_brought_in_stands_beside_the_prompt() -> None:
    usage = used(
        {
            "object": "conversation.response",
            "conversation_id": "conv_1",
            "outputs": [],
            "usage": {
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "connector_tokens": 7000,
                "total_tokens": 7150,
                "connectors": {"web_search": 2, "web_search_premium": 1, "code_interpreter": 1},
            },
        }
    )
    assert said(usage) == {
        "input_tokens": 7100,
        "tool_input_tokens": 7000,
        "output_tokens": 50,
        "web_searches": 3,
    }
    assert usage.quality == "measured"


def test_connectors_that_the_total_has_within_the_prompt_are_not_added() -> None:
    usage = used(
        reply(prompt_tokens=100, completion_tokens=50, connector_tokens=60, total_tokens=150)
    )
    assert (usage.input_tokens, usage.tool_input_tokens) == (100, 60)


def test_responses_are_openais_and_the_tier_stands_in_the_usage() -> None:
    body = {
        "id": "resp_1",
        "object": "response",
        "model": "mistral-medium-latest",
        "usage": {
            "input_tokens": 30,
            "input_tokens_details": {"cached_tokens": 16, "cache_write_tokens": 8},
            "output_tokens": 9,
            "output_tokens_details": {"reasoning_tokens": 4},
            "total_tokens": 39,
            "service_tier": "priority",
        },
    }
    for payload in (body, [{"type": "response.completed", "response": body}]):
        usage = used(payload)
        assert said(usage) == {
            "input_tokens": 30,
            "cache_read_input_tokens": 16,
            "cache_write_input_tokens": 8,
            "output_tokens": 9,
            "reasoning_output_tokens": 4,
        }
        assert (usage.service_tier, usage.response_id) == ("priority", "resp_1")


def test_another_total_is_a_conflict() -> None:
    usage = used(reply(prompt_tokens=100, completion_tokens=50, total_tokens=151))
    assert said(usage) == {"input_tokens": 100, "output_tokens": 50}
    assert usage.quality == "conflicting"


def test_pages_are_counted_where_documents_are_read() -> None:
    usage = used(
        {
            "model": "mistral-ocr-latest",
            "pages": [{"index": 0, "markdown": "x"}],
            "usage_info": {"pages_processed": 3, "doc_size_bytes": 120000},
        }
    )
    assert said(usage) == {"pages": 3}
    assert usage.model == "mistral-ocr-latest"


def test_the_last_chunk_of_a_stream_has_the_usage_also_within_the_sdks_events() -> None:
    delta = {"index": 0, "delta": {"content": "hi"}, "finish_reason": None}
    chunk = {"id": "m-2", "model": "mistral-small", "choices": [delta]}
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    for stream in (
        [chunk, chunk | {"usage": usage}],
        [{"data": chunk}, {"data": chunk | {"usage": usage}}],
    ):
        found = used(stream)
        assert said(found) == {"input_tokens": 5, "output_tokens": 2}
        assert (found.model, found.response_id) == ("mistral-small", "m-2")


def test_a_stream_that_was_cut_off_is_an_estimate_of_what_was_seen() -> None:
    delta = {"index": 0, "delta": {"content": "x" * 40}, "finish_reason": None}
    usage = used([{"id": "m-3", "model": "mistral-small", "choices": [delta]}])
    assert (said(usage), usage.quality) == ({"output_tokens": 10}, "estimated")


def test_lines_of_a_batch_add_up() -> None:
    body = reply(prompt_tokens=5, completion_tokens=2, total_tokens=7, num_cached_tokens=4)
    line = {"id": "b", "custom_id": "0", "response": {"status_code": 200, "body": body}}
    usage = used([line, line, {"custom_id": "1", "response": None, "error": {"message": "x"}}])
    assert said(usage) == {
        "input_tokens": 10,
        "cache_read_input_tokens": 8,
        "output_tokens": 4,
    }
    assert usage.batch


def test_embeddings_have_no_output() -> None:
    usage = {"prompt_tokens": 21, "total_tokens": 21, "completion_tokens": 0}
    data = [{"object": "embedding", "index": 0, "embedding": [0.1]}]
    assert said(used({"model": "mistral-embed", "data": data, "usage": usage})) == {
        "input_tokens": 21
    }


def test_no_usage_is_unknown_and_a_broken_one_unreadable() -> None:
    assert read_usage({"object": "error", "message": "x"}, provider="mistral_ai") is None
    for broken in (
        {"usage": {"prompt_tokens": "5"}},
        {"usage": {"prompt_tokens": 5, "prompt_audio_seconds": -1}},
        {"usage": {"prompt_tokens": 5, "connectors": ["web_search"]}},
        {"usage_info": {"pages_processed": 1.5}},
    ):
        with pytest.raises(Unreadable):
            read_usage(broken, provider="mistral_ai")

"""Cohere: what it bills, not what its models saw."""

from __future__ import annotations

from typing import Any

import pytest

from spendstream.producers.extract import ExtractedUsage, Unreadable, read_usage


def used(payload: object) -> ExtractedUsage:
    usage = read_usage(payload, provider="cohere")
    assert usage is not None
    return usage


def said(usage: ExtractedUsage) -> dict[str, Any]:
    """The counts that are not 0, of both totals in any case."""
    counts = usage.model_dump(exclude_defaults=True)
    return {name: n for name, n in counts.items() if type(n) is int}


COUNTS = {
    "billed_units": {"input_tokens": 12.0, "output_tokens": 5.0},
    "tokens": {"input_tokens": 400.0, "output_tokens": 6.0},
    "cached_tokens": 390.0,
}


def test_billed_units_are_the_usage_and_cached_tokens_no_part_of_them() -> None:
    chat = {"id": "c-1", "finish_reason": "COMPLETE", "usage": COUNTS}
    assert said(used(chat)) == {"input_tokens": 12, "output_tokens": 5}
    assert (used(chat).response_id, used(chat).quality) == ("c-1", "measured")


def test_version_1_has_it_in_the_metadata() -> None:
    chat = {"response_id": "r-1", "generation_id": "g-1", "text": "hi", "meta": COUNTS}
    assert said(used(chat)) == {"input_tokens": 12, "output_tokens": 5}
    assert used(chat).response_id == "r-1"


def test_a_stream_has_it_in_its_last_event() -> None:
    events = [
        {"id": "c-1", "type": "message-start", "delta": {"message": {"role": "assistant"}}},
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "hi"}}}},
        {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": COUNTS}},
    ]
    assert said(used(events)) == {"input_tokens": 12, "output_tokens": 5}
    assert used(events).response_id == "c-1"


def test_a_stream_of_version_1_has_it_in_its_last_event() -> None:
    events = [
        {"event_type": "text-generation", "is_finished": False, "text": "hi"},
        {
            "event_type": "stream-end",
            "is_finished": True,
            "response": {"response_id": "r-1", "meta": COUNTS},
        },
    ]
    assert said(used(events)) == {"input_tokens": 12, "output_tokens": 5}
    assert used(events).response_id == "r-1"


def test_a_stream_that_was_cut_off_has_at_least_what_was_seen() -> None:
    delta = {"message": {"content": {"text": "x" * 40}}}
    usage = used([{"type": "content-delta", "index": 0, "delta": delta}])
    assert (usage.output_tokens, usage.quality) == (10, "estimated")


def test_where_nothing_is_billed_the_usage_is_what_the_model_saw() -> None:
    usage = used({"usage": {"tokens": {"input_tokens": 400, "output_tokens": 6}}})
    assert said(usage) == {"input_tokens": 400, "output_tokens": 6}


@pytest.mark.parametrize(
    ("billed", "expected"),
    [
        ({"input_tokens": 8}, {"input_tokens": 8}),
        ({"search_units": 2}, {"search_units": 2}),
        ({"images": 3}, {"images": 3}),
        ({"pages": 4}, {"pages": 4}),
        (
            {"text_tokens": 8, "image_tokens": 90},
            {"input_tokens": 98, "image_input_tokens": 90},
        ),
        (
            {"input_tokens": 98, "image_tokens": 90},
            {"input_tokens": 98, "image_input_tokens": 90},
        ),
    ],
)
def test_embeddings_reranking_and_parsing_bill_units_of_their_own(
    billed: dict[str, int], expected: dict[str, int]
) -> None:
    usage = used({"id": "e-1", "meta": {"billed_units": billed}})
    assert said(usage) == {"input_tokens": 0, "output_tokens": 0, **expected}


def test_the_compatible_endpoint_is_read_as_openai_s() -> None:
    chat = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}
    assert said(used(chat)) == {"input_tokens": 3, "output_tokens": 4}


@pytest.mark.parametrize(
    "payload",
    [
        {"message": "invalid api token"},
        {"meta": {"api_version": {"version": "2"}}},
        {"usage": {"billed_units": {}}},
        {"delta": "text", "response": [1]},
    ],
)
def test_without_counts_the_usage_is_unknown(payload: object) -> None:
    assert read_usage(payload, provider="cohere") is None


@pytest.mark.parametrize(
    "usage",
    [7, {"billed_units": [1]}, {"billed_units": {"input_tokens": 0.25}}, {"tokens": "many"}],
)
def test_a_usage_that_is_none_of_the_documented_ones_is_not_read(usage: object) -> None:
    with pytest.raises(Unreadable):
        read_usage({"usage": usage}, provider="cohere")

"""Google: generate_content and its streams, Live, Interactions, embeddings, what Vertex hosts."""

from __future__ import annotations

from typing import Any

import pytest

from spendstream.producers.extract import ExtractedUsage, Unreadable, read_usage, usage_from


def used(payload: object, api: str | None = None) -> ExtractedUsage:
    usage = usage_from(payload, provider="gcp.gemini", api=api)
    assert usage is not None
    return usage


def said(usage: ExtractedUsage) -> dict[str, Any]:
    """The counts that are not 0."""
    counts = usage.model_dump(exclude_defaults=True)
    return {name: n for name, n in counts.items() if n and type(n) is int}


def chunk(text: str, finish: str | None = None, **metadata: Any) -> dict[str, Any]:
    candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}
    return {
        "candidates": [candidate if finish is None else {**candidate, "finishReason": finish}],
        "usageMetadata": metadata,
        "modelVersion": "gemini-3-pro-preview",
        "responseId": "r-1",
    }


def by(**tokens: int) -> list[dict[str, Any]]:
    return [{"modality": kind.upper(), "tokenCount": n} for kind, n in tokens.items()]


def test_thoughts_and_what_tools_brought_in_stand_beside_candidates_and_prompt() -> None:
    usage = used(
        chunk(
            "hi",
            "STOP",
            promptTokenCount=100,
            cachedContentTokenCount=60,
            toolUsePromptTokenCount=30,
            candidatesTokenCount=20,
            thoughtsTokenCount=7,
            totalTokenCount=157,
            serviceTier="flex",
        )
    )
    assert said(usage) == {
        "input_tokens": 130,
        "output_tokens": 27,
        "cache_read_input_tokens": 60,
        "tool_input_tokens": 30,
        "reasoning_output_tokens": 7,
    }
    assert usage.quality == "measured"
    assert (usage.model, usage.response_id) == ("gemini-3-pro-preview", "r-1")
    assert usage.service_tier == "flex"


def test_modalities_of_the_prompt_its_tools_and_its_cache_are_read_and_documents_are_images() -> (
    None
):
    usage = used(
        chunk(
            "hi",
            "STOP",
            promptTokenCount=200,
            promptTokensDetails=by(text=50, image=60, document=20, video=40, audio=30),
            toolUsePromptTokenCount=10,
            toolUsePromptTokensDetails=by(image=10),
            cachedContentTokenCount=90,
            cacheTokensDetails=by(document=20, video=40, audio=30),
            candidatesTokenCount=80,
            candidatesTokensDetails=by(text=10, image=70),
            totalTokenCount=290,
        )
    )
    assert said(usage) == {
        "input_tokens": 210,
        "tool_input_tokens": 10,
        "image_input_tokens": 90,
        "video_input_tokens": 40,
        "audio_input_tokens": 30,
        "cache_read_input_tokens": 90,
        "cache_read_image_input_tokens": 20,
        "cache_read_video_input_tokens": 40,
        "cache_read_audio_input_tokens": 30,
        "output_tokens": 80,
        "image_output_tokens": 70,
    }
    assert usage.quality == "measured"


def test_vertex_names_modalities_and_traffic_by_numbers() -> None:
    usage = used(
        chunk(
            "hi",
            "STOP",
            promptTokenCount=50,
            promptTokensDetails=[{"modality": n, "tokenCount": 10} for n in (1, 2, 3, 4, 5)],
            candidatesTokenCount=1,
            totalTokenCount=51,
            trafficType=4,
        )
    )
    assert said(usage) == {
        "input_tokens": 50,
        "image_input_tokens": 20,
        "video_input_tokens": 10,
        "audio_input_tokens": 10,
        "output_tokens": 1,
    }
    assert usage.service_tier == "flex"


@pytest.mark.parametrize(
    ("traffic", "tier"),
    [
        ("ON_DEMAND", None),
        (1, None),
        ("ON_DEMAND_PRIORITY", "priority"),
        ("ON_DEMAND_OFFPEAK", "offpeak"),
        ("PROVISIONED_THROUGHPUT", "provisioned_throughput"),
        (["ON_DEMAND_FLEX"], None),
    ],
)
def test_the_traffic_type_is_a_service_tier_where_it_names_one(
    traffic: object, tier: str | None
) -> None:
    part = chunk("hi", "STOP", promptTokenCount=1, candidatesTokenCount=1, trafficType=traffic)
    assert used(part).service_tier == tier


def test_the_names_of_the_sdk_are_the_same() -> None:
    usage = used(
        {
            "candidates": [{"finish_reason": "STOP", "content": {"parts": [{"text": "hi"}]}}],
            "model_version": "gemini-2.5-flash",
            "response_id": "r-2",
            "usage_metadata": {
                "prompt_token_count": 40,
                "cached_content_token_count": 32,
                "candidates_token_count": 5,
                "thoughts_token_count": 6,
                "total_token_count": 51,
                "prompt_tokens_details": [{"modality": "AUDIO", "token_count": 12}],
                "traffic_type": "ON_DEMAND_FLEX",
            },
        }
    )
    assert said(usage) == {
        "input_tokens": 40,
        "cache_read_input_tokens": 32,
        "audio_input_tokens": 12,
        "output_tokens": 11,
        "reasoning_output_tokens": 6,
    }
    assert (usage.model, usage.response_id) == ("gemini-2.5-flash", "r-2")
    assert (usage.service_tier, usage.quality) == ("flex", "measured")


def test_counts_of_a_stream_are_cumulative_and_one_that_is_left_out_still_stands() -> None:
    stream = [
        chunk("a", promptTokenCount=9, thoughtsTokenCount=30, totalTokenCount=39),
        chunk("b", promptTokenCount=9, candidatesTokenCount=4, totalTokenCount=43),
        chunk("", "STOP", promptTokenCount=9, candidatesTokenCount=8, totalTokenCount=47),
    ]
    usage = used(stream)
    assert said(usage) == {
        "input_tokens": 9,
        "output_tokens": 38,
        "reasoning_output_tokens": 30,
    }
    assert usage.quality == "measured"


def test_chunks_that_say_only_how_they_were_routed_change_nothing() -> None:
    stream = [
        chunk("a", trafficType="ON_DEMAND_PRIORITY"),
        chunk("b", "STOP", promptTokenCount=3, candidatesTokenCount=2, totalTokenCount=5),
    ]
    usage = used(stream)
    assert said(usage) == {"input_tokens": 3, "output_tokens": 2}
    assert usage.service_tier == "priority"


def test_a_stream_that_was_cut_off_has_a_lower_bound_of_what_was_said_or_seen() -> None:
    reported = used([chunk("abcd", promptTokenCount=9, candidatesTokenCount=50)])
    assert (said(reported), reported.quality) == (
        {"input_tokens": 9, "output_tokens": 50},
        "estimated",
    )
    seen = used([chunk("x" * 400, promptTokenCount=9, candidatesTokenCount=1)])
    assert (said(seen), seen.quality) == ({"input_tokens": 9, "output_tokens": 100}, "estimated")


def test_a_blocked_prompt_is_billed_and_whole() -> None:
    usage = used(
        {
            "candidates": [{"index": 0}],
            "promptFeedback": {"blockReason": "SAFETY"},
            "usageMetadata": {"promptTokenCount": 12, "totalTokenCount": 12},
        }
    )
    assert (said(usage), usage.quality) == ({"input_tokens": 12}, "measured")


def test_what_the_total_leaves_unexplained_is_not_invented_but_said() -> None:
    usage = used(
        chunk("hi", "STOP", promptTokenCount=10, candidatesTokenCount=5, totalTokenCount=99)
    )
    assert said(usage) == {"input_tokens": 10, "output_tokens": 5}
    assert usage.quality == "conflicting"
    assert usage.conflicts == ("totalTokenCount 99 is not 10 input + 5 output",)
    assert usage.provider_usage is not None
    assert usage.provider_usage["totalTokenCount"] == 99


def test_the_total_tells_that_thoughts_are_inside_the_candidates() -> None:
    usage = used(
        chunk(
            "hi",
            "STOP",
            promptTokenCount=10,
            candidatesTokenCount=50,
            thoughtsTokenCount=30,
            totalTokenCount=60,
        )
    )
    assert said(usage) == {
        "input_tokens": 10,
        "output_tokens": 50,
        "reasoning_output_tokens": 30,
    }
    assert usage.quality == "conflicting"


def test_modalities_beyond_their_total_and_a_missing_prompt_are_conflicts() -> None:
    details = by(text=8, image=5)
    beyond = used(
        chunk("hi", "STOP", promptTokenCount=10, promptTokensDetails=details)
        | {"candidates": [{"finishReason": "STOP"}]}
    )
    assert said(beyond) == {"input_tokens": 10, "image_input_tokens": 5}
    assert beyond.conflicts == ("promptTokensDetails add up to 13, their total is 10",)
    missing = used(chunk("hi", "STOP", candidatesTokenCount=5))
    assert missing.conflicts == ("promptTokenCount is missing",)


@pytest.mark.parametrize(
    ("model", "searches"), [("gemini-2.5-pro", 1), ("gemini-3-pro-preview", 2), (None, 2)]
)
def test_google_searches_are_billed_by_the_prompt_before_gemini_3_and_by_the_query_since(
    model: str | None, searches: int
) -> None:
    part = chunk("hi", "STOP", promptTokenCount=1, candidatesTokenCount=1)
    queries = ["weather today", "", "weather today", "tide table"]
    part["candidates"][0]["groundingMetadata"] = {"webSearchQueries": queries}
    assert used(part | {"modelVersion": model}).web_searches == searches


def test_lines_of_a_batch_add_up_and_say_that_they_are_of_a_batch() -> None:
    reply = chunk("hi", "STOP", promptTokenCount=4, candidatesTokenCount=3, totalTokenCount=7)
    usage = used(
        [
            {"key": "one", "response": reply},
            {"key": "two", "response": reply},
            {"key": "three", "error": {"code": 3}},
        ]
    )
    assert said(usage) == {"input_tokens": 8, "output_tokens": 6}
    assert usage.batch
    assert used({"request": {"contents": []}, "response": reply, "status": ""}).batch


def test_a_chunk_within_an_envelope_is_read() -> None:
    reply = chunk("hi", "STOP", promptTokenCount=4, candidatesTokenCount=3, totalTokenCount=7)
    usage = used([{"response": reply, "traceId": "t"}])
    assert said(usage) == {"input_tokens": 4, "output_tokens": 3}
    assert not usage.batch


# --- Live


def turn(**metadata: Any) -> dict[str, Any]:
    return {"serverContent": {"turnComplete": True}, "usageMetadata": metadata}


def test_turns_of_a_live_session_add_up_with_thoughts_beside_response_and_total() -> None:
    usage = used(
        [
            {"setupComplete": {}},
            turn(
                promptTokenCount=100,
                responseTokenCount=40,
                thoughtsTokenCount=60,
                totalTokenCount=140,
                promptTokensDetails=by(audio=80, text=10),
                responseTokensDetails=by(audio=40),
            ),
            turn(
                promptTokenCount=150,
                responseTokenCount=20,
                thoughtsTokenCount=5,
                totalTokenCount=170,
            ),
        ]
    )
    assert said(usage) == {
        "input_tokens": 250,
        "output_tokens": 125,
        "reasoning_output_tokens": 65,
        "audio_input_tokens": 80,
        "audio_output_tokens": 40,
    }
    assert usage.quality == "measured"


def test_bare_usage_messages_add_up_where_the_interface_is_said_to_be_live() -> None:
    message = {"usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 2}}
    assert said(used([message, message], "live")) == {"input_tokens": 10, "output_tokens": 4}
    assert said(used([message, message])) == {"input_tokens": 5, "output_tokens": 2}


def test_live_is_not_believed_of_a_stream_of_candidates() -> None:
    stream = [
        chunk("a", promptTokenCount=9, candidatesTokenCount=1),
        chunk("b", "STOP", promptTokenCount=9, candidatesTokenCount=4),
    ]
    assert said(used(stream, "live")) == {"input_tokens": 9, "output_tokens": 4}


def test_what_a_live_session_said_after_its_last_usage_is_estimated() -> None:
    spoken = {"serverContent": {"outputTranscription": {"text": "y" * 40}}}
    usage = used([turn(promptTokenCount=10, responseTokenCount=3, totalTokenCount=13), spoken])
    assert said(usage) == {"input_tokens": 10, "output_tokens": 13}
    assert usage.quality == "estimated"


# --- Interactions


def interaction(**usage: Any) -> dict[str, Any]:
    return {
        "object": "interaction",
        "id": "v1_x",
        "model": "gemini-3-flash",
        "status": "completed",
        "service_tier": "standard",
        "usage": usage,
    }


INTERACTION = {
    "total_input_tokens": 20,
    "total_cached_tokens": 8,
    "total_tool_use_tokens": 100,
    "total_output_tokens": 30,
    "total_thought_tokens": 50,
    "total_tokens": 200,
    "input_tokens_by_modality": [{"modality": "document", "tokens": 12}],
    "grounding_tool_count": [
        {"type": "google_search", "count": 3},
        {"type": "google_maps", "count": 1},
    ],
}


def test_an_interaction_has_the_same_counts_by_other_names() -> None:
    usage = used(interaction(**INTERACTION))
    assert said(usage) == {
        "input_tokens": 120,
        "cache_read_input_tokens": 8,
        "image_input_tokens": 12,
        "tool_input_tokens": 100,
        "output_tokens": 80,
        "reasoning_output_tokens": 50,
        "web_searches": 3,
    }
    assert (usage.model, usage.response_id) == ("gemini-3-flash", "v1_x")
    assert (usage.service_tier, usage.quality) == ("standard", "measured")


def test_the_last_usage_of_an_interactions_stream_stands_and_that_of_a_step_is_a_lower_bound() -> (
    None
):
    stream = [
        {
            "event_type": "interaction.created",
            "interaction": {"id": "v1_x", "model": "gemini-3-flash", "status": "in_progress"},
        },
        {
            "event_type": "step.stop",
            "index": 0,
            "usage": {"total_input_tokens": 20, "total_output_tokens": 5},
        },
        {"event_type": "interaction.completed", "interaction": interaction(**INTERACTION)},
    ]
    assert used(stream).quality == "measured"
    assert used(stream).output_tokens == 80
    cut = used(stream[:2])
    assert (said(cut), cut.quality) == ({"input_tokens": 20, "output_tokens": 5}, "estimated")
    assert (cut.model, cut.response_id) == ("gemini-3-flash", "v1_x")


# --- embeddings and other shapes


def test_embeddings_add_up_what_each_input_had() -> None:
    vertex = {
        "predictions": [
            {"embeddings": {"values": [0.1], "statistics": {"token_count": 6, "truncated": False}}},
            {"embeddings": {"values": [0.2], "statistics": {"token_count": 4.0}}},
        ]
    }
    assert said(used(vertex)) == {"input_tokens": 10}
    sdk = {"embeddings": [{"values": [0.1], "statistics": {"token_count": 6.0}}]}
    assert said(used(sdk)) == {"input_tokens": 6}
    gemini = {
        "embedding": {"values": [0.1]},
        "usageMetadata": {"promptTokenCount": 9, "promptTokenDetails": by(image=9)},
    }
    assert said(used(gemini)) == {"input_tokens": 9, "image_input_tokens": 9}


def compatible(**usage: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}
    return {"object": "chat.completion", "model": "gemini-2.5-pro", "choices": [choice]} | {
        "usage": usage
    }


def test_thinking_that_the_compatible_endpoint_has_only_in_its_total_is_output() -> None:
    usage = used(compatible(prompt_tokens=30, completion_tokens=10, total_tokens=90))
    assert said(usage) == {
        "input_tokens": 30,
        "output_tokens": 60,
        "reasoning_output_tokens": 50,
    }
    assert usage.quality == "conflicting"
    plain = used(compatible(prompt_tokens=30, completion_tokens=10, total_tokens=40))
    assert (said(plain), plain.quality) == ({"input_tokens": 30, "output_tokens": 10}, "measured")


def test_claude_on_vertex_is_read_as_anthropic() -> None:
    usage = used(
        {
            "type": "message",
            "id": "msg_1",
            "model": "claude-sonnet-5",
            "content": [{"type": "text", "text": "hi"}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 3, "cache_read_input_tokens": 7, "output_tokens": 2},
        }
    )
    assert said(usage) == {
        "input_tokens": 10,
        "cache_read_input_tokens": 7,
        "output_tokens": 2,
    }


@pytest.mark.parametrize(
    "payload",
    [
        {"error": {"code": 400, "status": "INVALID_ARGUMENT"}},
        {"embedding": {"values": [0.1, 0.2]}},
        {"totalTokens": 31},
        {"usageMetadata": {}},
        {"usageMetadata": None, "candidates": []},
    ],
)
def test_a_response_without_usage_is_unknown(payload: object) -> None:
    assert read_usage(payload, provider="gcp.vertex_ai") is None


@pytest.mark.parametrize(
    "metadata",
    [
        {"promptTokenCount": "12"},
        {"promptTokenCount": -1, "candidatesTokenCount": 1},
        {"promptTokenCount": 1, "thoughtsTokenCount": True},
        {"promptTokenCount": 1, "promptTokensDetails": "AUDIO"},
        {"promptTokenCount": 1, "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 0.5}]},
        {"totalTokenCount": 12},
        [12],
    ],
)
def test_a_usage_that_cannot_be_trusted_is_unreadable(metadata: object) -> None:
    with pytest.raises(Unreadable):
        read_usage({"usageMetadata": metadata}, provider="gcp.gemini")

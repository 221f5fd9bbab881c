"""OpenAI's shapes, and those of endpoints that are nearly compatible."""

from __future__ import annotations

from typing import Any

import pytest

from spendstream.producers.extract import ExtractedUsage, usage_from

CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-4o-2024-08-06",
    "service_tier": "flex",
    "choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}],
    "usage": {
        "prompt_tokens": 100,
        "completion_tokens": 40,
        "total_tokens": 140,
        "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10, "audio_tokens": 5},
        "completion_tokens_details": {
            "reasoning_tokens": 30,
            "audio_tokens": 4,
            "accepted_prediction_tokens": 3,
            "rejected_prediction_tokens": 2,
        },
    },
}


def used(payload: object, provider: str = "openai", api: str | None = None) -> ExtractedUsage:
    usage = usage_from(payload, provider=provider, api=api)
    assert usage is not None
    return usage


def said(usage: ExtractedUsage) -> dict[str, Any]:
    """The counts that are not 0."""
    counts = usage.model_dump(exclude_defaults=True)
    return {name: n for name, n in counts.items() if isinstance(n, int) and not isinstance(n, bool)}


def chunk(**fields: Any) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "gpt-4o", **fields}


def delta(text: str, finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


def test_details_are_inside_the_totals() -> None:
    usage = used(CHAT)
    assert said(usage) == {
        "input_tokens": 100,
        "output_tokens": 40,
        "cache_read_input_tokens": 60,
        "cache_write_input_tokens": 10,
        "audio_input_tokens": 5,
        "reasoning_output_tokens": 30,
        "audio_output_tokens": 4,
    }
    assert usage.quality == "measured"
    assert (usage.model, usage.response_id) == ("gpt-4o-2024-08-06", "chatcmpl-1")
    assert usage.service_tier == "flex"


def test_a_stream_has_its_usage_in_a_chunk_without_choices() -> None:
    chunks = [
        chunk(**delta("hel"), usage=None),
        chunk(**delta("lo", "stop"), usage=None),
        chunk(choices=[], usage={"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}),
    ]
    assert said(used(chunks)) == {"input_tokens": 9, "output_tokens": 2}
    assert used(chunks).model == "gpt-4o"


def test_usage_in_every_chunk_is_cumulative() -> None:
    chunks = [
        chunk(**delta("a"), usage={"prompt_tokens": 9, "completion_tokens": n}) for n in (1, 2, 3)
    ]
    assert said(used(chunks, "vllm")) == {"input_tokens": 9, "output_tokens": 3}


def test_a_stream_that_was_cut_off_is_a_lower_bound() -> None:
    chunks = [chunk(**delta("twelve chars"), usage=None)]
    usage = used(chunks)
    assert usage.quality == "estimated"
    assert said(usage) == {"input_tokens": 0, "output_tokens": 3}


def test_a_stream_that_ended_without_usage_is_unknown() -> None:
    chunks = [chunk(**delta("hi")), chunk(**delta("", "stop"))]
    assert usage_from(chunks, provider="openai") is None


def test_a_stream_that_was_asked_for_usage_and_ended_before_it_was_cut_off() -> None:
    chunks = [chunk(**delta("hi"), usage=None), chunk(**delta("", "stop"), usage=None)]
    assert used(chunks).quality == "estimated"


RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "model": "gpt-5",
    "service_tier": "default",
    "tools": [{"type": "image_generation", "model": "gpt-image-1-mini"}],
    "tool_usage": {
        "image_gen": {"input_tokens": 20, "output_tokens": 1000, "total_tokens": 1020},
        "web_search": {"num_requests": 2},
    },
    "usage": {
        "input_tokens": 500,
        "input_tokens_details": {
            "cached_tokens": 100,
            "cache_write_tokens": 300,
            "cache_write_tokens_details": {"ttl_30m_tokens": 200, "ttl_12h_tokens": 100},
        },
        "output_tokens": 80,
        "output_tokens_details": {"reasoning_tokens": 64},
        "total_tokens": 580,
    },
}


@pytest.mark.parametrize(
    "payload",
    [
        RESPONSE,
        [
            {"type": "response.created", "response": {**RESPONSE, "usage": None}},
            {"type": "response.output_text.delta", "delta": "hi"},
            {"type": "response.completed", "response": RESPONSE},
        ],
    ],
    ids=["whole", "stream"],
)
def test_responses_with_what_its_tools_used(payload: object) -> None:
    usage = used(payload, api="responses")
    assert said(usage) == {
        "input_tokens": 500,
        "output_tokens": 80,
        "cache_read_input_tokens": 100,
        "cache_write_input_tokens": 300,
        "cache_write_30m_input_tokens": 200,
        "cache_write_12h_input_tokens": 100,
        "reasoning_output_tokens": 64,
        "web_searches": 2,
    }
    (drawn,) = usage.other_models
    assert (drawn.model, drawn.input_tokens, drawn.output_tokens) == ("gpt-image-1-mini", 20, 1000)
    assert usage.response_id == "resp_1"


def test_the_turns_of_a_realtime_session_add_up() -> None:
    def turn(inputs: int, audio: int, cached: int) -> dict[str, Any]:
        usage = {
            "total_tokens": inputs + 50,
            "input_tokens": inputs,
            "output_tokens": 50,
            "input_token_details": {
                "audio_tokens": audio,
                "cached_tokens": cached,
                "cached_tokens_details": {"audio_tokens": cached},
            },
            "output_token_details": {"audio_tokens": 45, "text_tokens": 5},
        }
        return {"type": "response.done", "event_id": "e", "response": {"id": "r", "usage": usage}}

    usage = used([turn(100, 80, 0), {"type": "rate_limits.updated"}, turn(160, 120, 64)])
    assert said(usage) == {
        "input_tokens": 260,
        "output_tokens": 100,
        "cache_read_input_tokens": 64,
        "audio_input_tokens": 200,
        "cache_read_audio_input_tokens": 64,
        "audio_output_tokens": 90,
    }


def test_embeddings_have_input_only() -> None:
    payload = {"object": "list", "model": "text-embedding-3-small", "usage": {"prompt_tokens": 8}}
    assert said(used(payload)) == {"input_tokens": 8, "output_tokens": 0}
    assert said(used({"usage": {"total_tokens": 8}}, "voyage")) == {
        "input_tokens": 8,
        "output_tokens": 0,
    }


def test_images_are_tokens_and_pictures() -> None:
    usage = used(
        {
            "created": 1,
            "size": "1024x1024",
            "quality": "high",
            "data": [{"b64_json": ""}, {"b64_json": ""}],
            "usage": {
                "input_tokens": 50,
                "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
                "output_tokens": 8320,
                "output_tokens_details": {"text_tokens": 0, "image_tokens": 8320},
                "total_tokens": 8370,
            },
        },
        api="images",
    )
    assert said(usage) == {
        "input_tokens": 50,
        "output_tokens": 8320,
        "image_input_tokens": 40,
        "image_output_tokens": 8320,
        "images": 2,
    }
    assert (usage.image_size, usage.image_quality) == ("1024x1024", "high")


def test_transcription_by_time_and_by_tokens() -> None:
    by_time = used({"text": "hi", "usage": {"type": "duration", "seconds": 9.4}})
    assert said(by_time) == {"input_tokens": 0, "output_tokens": 0, "audio_input_ms": 9400}
    by_tokens = used(
        [
            {"type": "transcript.text.delta", "delta": "hi"},
            {
                "type": "transcript.text.done",
                "usage": {
                    "type": "tokens",
                    "input_tokens": 14,
                    "input_token_details": {"audio_tokens": 14, "text_tokens": 0},
                    "output_tokens": 3,
                    "total_tokens": 17,
                },
            },
        ]
    )
    assert said(by_tokens) == {"input_tokens": 14, "output_tokens": 3, "audio_input_tokens": 14}


def test_speech_is_audio() -> None:
    done = {"type": "speech.audio.done", "usage": {"input_tokens": 5, "output_tokens": 90}}
    assert said(used([{"type": "speech.audio.delta", "audio": "x"}, done])) == {
        "input_tokens": 5,
        "output_tokens": 90,
        "audio_output_tokens": 90,
    }


def test_lines_of_a_batch_add_up_and_say_so() -> None:
    line = {"id": "b", "custom_id": "1", "response": {"status_code": 200, "body": CHAT}}
    failed = {"id": "b", "custom_id": "2", "response": None, "error": {"code": "batch_expired"}}
    usage = used([line, failed, line])
    assert usage.batch
    assert (usage.input_tokens, usage.output_tokens) == (200, 80)


@pytest.mark.parametrize(
    "payload",
    [
        {"usage": {}},
        {"usage": None},
        {},
        [],
        {"error": {"code": "model_not_found"}},
        {"usage": {"prompt_tokens": None, "completion_tokens": None}},
        {"usage": 12},
        {"usage": {"prompt_tokens": "12", "completion_tokens": 1}},
        {"usage": {"prompt_tokens": 12, "completion_tokens": 0.25}},
        {"usage": {"prompt_tokens": -1, "completion_tokens": 1}},
        {"usage": {"prompt_tokens": True, "completion_tokens": 1}},
    ],
)
def test_what_is_no_usage_is_unknown_and_not_zero(payload: object) -> None:
    assert usage_from(payload, provider="openai") is None


def test_a_refusal_says_which_field(caplog: pytest.LogCaptureFixture) -> None:
    assert usage_from({"usage": {"prompt_tokens": "12"}}, provider="openai") is None
    assert "prompt_tokens is no count: '12'" in caplog.text


def test_a_total_that_is_none_is_conflicting_and_kept() -> None:
    usage = used({"usage": {"prompt_tokens": 35, "completion_tokens": 12, "total_tokens": 109}})
    assert (usage.quality, usage.input_tokens, usage.output_tokens) == ("conflicting", 35, 12)
    assert usage.conflicts == ("total_tokens 109 is not 35 input + 12 output",)
    assert usage.provider_usage == {
        "prompt_tokens": 35,
        "completion_tokens": 12,
        "total_tokens": 109,
    }


def test_reasoning_above_its_completion_is_cut_to_it() -> None:
    details = {"reasoning_tokens": 6001}
    usage = used(
        {
            "usage": {
                "prompt_tokens": 1,
                "completion_tokens": 6000,
                "completion_tokens_details": details,
            }
        }
    )
    assert (usage.output_tokens, usage.reasoning_output_tokens) == (6000, 6000)
    assert usage.quality == "conflicting"
    assert usage.provider_usage is not None
    assert usage.provider_usage["completion_tokens_details.reasoning_tokens"] == 6001


# ------------------------------------------------------------------------- nearly compatible


def test_deepseek_counts_hits_and_misses() -> None:
    block = {
        "prompt_tokens": 100,
        "completion_tokens": 5,
        "prompt_cache_hit_tokens": 64,
        "prompt_cache_miss_tokens": 36,
    }
    assert used({"usage": block}, "deepseek").cache_read_input_tokens == 64
    wrong = used({"usage": {**block, "prompt_cache_miss_tokens": 30}}, "deepseek")
    assert wrong.quality == "conflicting"


def test_groq_hides_a_streams_usage_in_its_envelope() -> None:
    last = chunk(
        **delta("", "stop"), x_groq={"usage": {"prompt_tokens": 7, "completion_tokens": 3}}
    )
    assert said(used([chunk(**delta("hi")), last], "groq")) == {
        "input_tokens": 7,
        "output_tokens": 3,
    }


def test_moonshot_has_it_in_the_choice_and_its_cache_beside_the_totals() -> None:
    usage = {"prompt_tokens": 50, "completion_tokens": 3, "cached_tokens": 40}
    last = chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop", "usage": usage}])
    assert said(used([chunk(**delta("hi")), last], "moonshot_ai")) == {
        "input_tokens": 50,
        "output_tokens": 3,
        "cache_read_input_tokens": 40,
    }


def test_ollama_counts_evaluations() -> None:
    lines = '{"message":{"content":"hi"},"done":false}\n' + (
        '{"model":"llama3","done":true,"prompt_eval_count":26,"eval_count":4}\n'
    )
    usage = used(lines, "ollama")
    assert said(usage) == {"input_tokens": 26, "output_tokens": 4}
    assert usage.model == "llama3"
    in_memory = used({"model": "llama3", "done": True, "eval_count": 4}, "ollama")
    assert in_memory.quality == "estimated"


@pytest.mark.parametrize(
    ("usage", "pico"),
    [
        ({"cost": 0.00014}, 140_000_000),
        (
            {
                "cost": 0.000007,
                "is_byok": True,
                "cost_details": {"upstream_inference_cost": 0.00014},
            },
            147_000_000,
        ),
        ({"cost": 0}, 0),
        ({}, None),
    ],
)
def test_openrouter_says_what_it_charged(usage: dict[str, Any], pico: int | None) -> None:
    block = {"prompt_tokens": 1, "completion_tokens": 1, **usage}
    cost = used({"usage": block}, "openrouter").reported_cost_pico
    assert cost == (None if pico is None else str(pico))


def test_what_a_session_heard_is_transcribed_by_another_model() -> None:
    heard = "conversation.item.input_audio_transcription.completed"
    turn = {
        "type": "response.done",
        "response": {"usage": {"input_tokens": 9, "output_tokens": 5, "total_tokens": 14}},
    }
    transcription = {"audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}}
    usage = used(
        [
            {"type": "session.updated", "session": transcription},
            {"type": heard, "usage": {"type": "tokens", "input_tokens": 14, "output_tokens": 3}},
            turn,
            {"type": heard, "usage": {"type": "duration", "seconds": 2}},
        ]
    )
    assert said(usage) == {"input_tokens": 9, "output_tokens": 5, "audio_input_ms": 2000}
    (other,) = usage.other_models
    assert (other.model, other.input_tokens, other.output_tokens) == ("gpt-4o-transcribe", 14, 3)

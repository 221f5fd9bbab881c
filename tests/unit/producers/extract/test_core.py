"""What all providers have in common: what a caller may hand in, and what becomes of it."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from spendstream.producers import cloudevent
from spendstream.producers.extract import ExtractedUsage, Unreadable, read_usage, usage_from
from spendstream.producers.extract.providers import _READERS
from spendstream.schemas import Usage, UsageEvent
from spendstream.streams.core.decode import decode_event

BLOCK = {"prompt_tokens": 10, "completion_tokens": 4}
BODY = {"model": "gpt-4o", "usage": BLOCK}


class SdkUsage(BaseModel):
    model_config = ConfigDict(extra="allow")
    prompt_tokens: int
    completion_tokens: int


class SdkResponse(BaseModel):
    model: str
    usage: SdkUsage


class Slow:
    """As an SDK's object that is no pydantic model."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields

    def to_dict(self) -> dict[str, Any]:
        return self._fields


@dataclasses.dataclass
class Record:
    model: str
    usage: dict[str, int]


SSE = f"event: x\ndata: {json.dumps(BODY)}\n\n: ping\n\ndata: [DONE]\n\n"


@pytest.mark.parametrize(
    "payload",
    [
        BODY,
        SdkResponse(model="gpt-4o", usage=SdkUsage(**BLOCK)),
        Slow(BODY),
        Record("gpt-4o", BLOCK),
        json.dumps(BODY),
        json.dumps(BODY).encode(),
        bytearray(json.dumps(BODY).encode()),
        [BODY],
        (SdkResponse(model="gpt-4o", usage=SdkUsage(**BLOCK)),),
        iter([json.dumps(BODY), b"\xff", "[DONE]", None, 3]),
        [f"data: {json.dumps(BODY)}\n\n", "data: [DONE]"],
        SSE,
        SSE.encode() + b'data: {"usage": {"prom',
        json.dumps({"choices": []}) + "\n" + json.dumps(BODY),
    ],
)
def test_whatever_a_caller_holds_of_it(payload: object) -> None:
    usage = usage_from(payload, provider="openai")
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.model) == (10, 4, "gpt-4o")


@pytest.mark.parametrize(
    "payload",
    ["", "no json", b"\xff\xfe", 3, None, "3", "[1, 2]", "null", object(), {1: 2}, "[" * 9**5],
)
def test_what_holds_nothing_is_unknown(payload: object) -> None:
    assert usage_from(payload, provider="openai") is None


def test_whoever_wants_to_know_why_is_told() -> None:
    with pytest.raises(Unreadable, match="usage is no object but int"):
        read_usage({"usage": 3}, provider="openai")


KEYS = """usage choices response type model id body custom_id prompt_tokens completion_tokens
total_tokens input_tokens output_tokens prompt_tokens_details cached_tokens reasoning_tokens
completion_tokens_details input_tokens_details message delta message_start message_delta iterations
cache_read_input_tokens cache_creation_input_tokens cache_creation server_tool_use usageMetadata
promptTokenCount candidatesTokenCount thoughtsTokenCount cachedContentTokenCount totalTokenCount
promptTokensDetails modality tokenCount metadata inputTokens outputTokens cacheReadInputTokens
cacheDetails billed_units tokens meta x_groq cost cost_details cost_in_usd_ticks usage_info
pages_processed prompt_eval_count eval_count done finish_reason content text tool_usage image_gen
data created size seconds""".split()  # noqa: SIM905

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
    ),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(payload=JSON, provider=st.sampled_from(sorted({*_READERS, "unheard-of"})))
def test_arbitrary_json_never_raises(payload: Any, provider: str) -> None:
    usage = usage_from(payload, provider=provider)
    assert usage is None or isinstance(usage, Usage)


COUNTS = st.integers(0, 10_000)


@settings(max_examples=200, deadline=None)
@given(
    prompt=COUNTS, completion=COUNTS, cached=COUNTS, written=COUNTS, audio=COUNTS, thought=COUNTS
)
def test_subsets_never_exceed_their_totals(
    prompt: int, completion: int, cached: int, written: int, audio: int, thought: int
) -> None:
    usage = usage_from(
        {
            "usage": {
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "prompt_tokens_details": {
                    "cached_tokens": cached,
                    "cache_write_tokens": written,
                    "audio_tokens": audio,
                },
                "completion_tokens_details": {"reasoning_tokens": thought},
            }
        },
        provider="openai",
    )
    assert usage is not None  # a call that was billed is never refused for its sums
    fits = cached + written <= prompt and audio <= prompt and thought <= completion
    assert usage.quality == ("measured" if fits else "conflicting")
    assert (usage.input_tokens, usage.output_tokens) == (prompt, completion)
    assert usage.cache_read_input_tokens == min(cached, prompt)


def test_an_event_is_sent_with_the_counts_alone() -> None:
    usage = usage_from({**BODY, "id": "r-1"}, provider="openai")
    assert isinstance(usage, ExtractedUsage)
    event = UsageEvent(provider="openai", workspace_id="ws", **usage.event_fields())
    sent = cloudevent.encode(event)
    assert json.loads(sent) == {
        "provider": "openai",
        "response_model": "gpt-4o",
        "response_id": "r-1",
        "usage": {"input_tokens": 10, "output_tokens": 4},
        "workspace_id": "ws",
    }
    assert decode_event(sent)[1] == sent


def test_a_conflicting_event_keeps_the_providers_block() -> None:
    usage = usage_from({"model": "m", "usage": {**BLOCK, "total_tokens": 20}}, provider="openai")
    assert usage is not None
    event = UsageEvent(provider="openai", workspace_id="ws", **usage.event_fields())
    sent = json.loads(cloudevent.encode(event))
    assert sent["usage_quality"] == "conflicting"
    assert sent["provider_usage"] == {**BLOCK, "total_tokens": 20}


@pytest.mark.parametrize("provider", ["Anthropic", "bedrock", "vertex_ai", "openrouter", "ours"])
def test_a_message_of_anthropic_s_shape_is_read_as_that_whoever_answers(provider: str) -> None:
    usage = {"input_tokens": 10, "cache_read_input_tokens": 1000, "output_tokens": 5}
    body = {"type": "message", "stop_reason": "end_turn", "usage": usage}
    found = usage_from(body, provider=provider)
    assert found is not None
    assert (found.input_tokens, found.cache_read_input_tokens) == (1010, 1000)


@pytest.mark.parametrize(
    ("provider", "usage", "output"),
    [
        ("xai", {**BLOCK, "completion_tokens_details": {"reasoning_tokens": 7}}, 11),
        ("bedrock", {"inputTokens": 10, "outputTokens": 4}, 4),
    ],
)
def test_a_provider_s_usual_other_name(provider: str, usage: dict[str, Any], output: int) -> None:
    total = {"total_tokens": 21} if provider == "xai" else {}
    found = usage_from({"model": "m", "usage": {**usage, **total}}, provider=provider)
    assert found is not None
    assert found.output_tokens == output
    assert found.quality == "measured"


def test_a_provider_s_usual_other_name_of_google() -> None:
    body = {"usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 4}}
    for provider in ("google", "gemini", "vertexai"):
        found = usage_from(body, provider=provider)
        assert found is not None
        assert found.input_tokens == 10

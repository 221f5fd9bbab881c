"""A second opinion on payloads whose sums are right: what genai-prices extracts of them.

It knows whole responses only, no streams. Where its figures mean something else, or it reads a
count that we do not or the reverse, `DIFFERS` says so, and a test shows that it is still so.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import pytest
from genai_prices import extract_usage
from hypothesis import find, given, settings
from hypothesis import strategies as st

from spendstream.producers.extract import ExtractedUsage, read_usage

Payload = dict[str, Any]
Draw = Callable[[st.SearchStrategy[Any]], Any]

MAX: Final = 2_000_000
FIELDS: Final = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_tokens": "cache_read_input_tokens",
    "cache_write_tokens": "cache_write_input_tokens",
    "cache_write_5m_tokens": "cache_write_5m_input_tokens",
    "cache_write_1h_tokens": "cache_write_1h_input_tokens",
    "output_reasoning_tokens": "reasoning_output_tokens",
    "input_audio_tokens": "audio_input_tokens",
    "input_image_tokens": "image_input_tokens",
    "input_video_tokens": "video_input_tokens",
    "input_tool_tokens": "tool_input_tokens",
    "output_audio_tokens": "audio_output_tokens",
    "output_image_tokens": "image_output_tokens",
    "output_video_tokens": "video_output_tokens",
    "cache_audio_read_tokens": "cache_read_audio_input_tokens",
    "cache_image_read_tokens": "cache_read_image_input_tokens",
    "cache_video_read_tokens": "cache_read_video_input_tokens",
    "output_citation_tokens": "citation_tokens",
    "web_searches": "web_searches",
    "input_document_pages": "pages",
    "audio_seconds": "audio_input_ms",
}
"""Theirs: ours."""
NO_FIELD: Final = {
    "input_text_tokens": "the rest of the input",
    "output_text_tokens": "the rest of the output",
    "cache_text_read_tokens": "the rest of what was read from a cache",
    "input_text_tool_tokens": "of what tools brought in only the sum is kept",
    "input_audio_tool_tokens": "of what tools brought in only the sum is kept",
    "input_image_tool_tokens": "of what tools brought in only the sum is kept",
    "input_video_tool_tokens": "of what tools brought in only the sum is kept",
}
"""Theirs that we have no field for, and why."""


def parts(draw: Draw, total: int, n: int) -> list[int]:
    """Disjoint parts of a total, which need not be all of it."""
    found = []
    for _ in range(n):
        found.append(draw(st.integers(0, total)))
        total -= found[-1]
    return found


def shares(draw: Draw, total: int, names: str) -> dict[str, int]:
    return dict(zip(names.split(), parts(draw, total, len(names.split())), strict=True))


def maybe(draw: Draw, name: str, block: Any) -> Payload:
    """Most details may be left out."""
    return {name: block} if draw(st.booleans()) else {}


COUNTS: Final = st.integers(0, MAX)


OPENAI_PROMPT: Final = ("cached_tokens cache_write_tokens", "audio_tokens image_tokens text_tokens")
OPENAI_ANSWER: Final = ("audio_tokens text_tokens reasoning_tokens",)


@st.composite
def chat(
    draw: Draw,
    prompt_details: tuple[str, ...] = OPENAI_PROMPT,
    answer_details: tuple[str, ...] = OPENAI_ANSWER,
) -> Any:
    """Each string of names divides its total once more: caches by one rule, kinds by another."""
    prompt, answer = draw(COUNTS), draw(COUNTS)
    usage = {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
    for name, total, divisions in (
        ("prompt_tokens_details", prompt, prompt_details),
        ("completion_tokens_details", answer, answer_details),
    ):
        details = {name: n for names in divisions for name, n in shares(draw, total, names).items()}
        usage |= maybe(draw, name, details)
    return {"object": "chat.completion", "id": "c-1", "choices": [{"index": 0}], "usage": usage}


@st.composite
def responses(draw: Draw, caches: str = "cached_tokens cache_write_tokens") -> Any:
    fed, answer = draw(COUNTS), draw(COUNTS)
    cached: Payload = shares(draw, fed, caches)
    lifetimes = shares(draw, cached.get("cache_write_tokens", 0), "ttl_30m_tokens ttl_12h_tokens")
    usage = {
        "input_tokens": fed,
        "input_tokens_details": cached | maybe(draw, "cache_write_tokens_details", lifetimes),
        "output_tokens": answer,
        "output_tokens_details": shares(draw, answer, "reasoning_tokens"),
        "total_tokens": fed + answer,
    }
    return {"object": "response", "id": "resp_1", "model": "gpt-5", "output": [], "usage": usage}


@st.composite
def realtime(draw: Draw) -> Any:
    kinds = "text_tokens audio_tokens image_tokens"
    read = {name: draw(COUNTS) for name in kinds.split()}
    cached = {name: parts(draw, n, 1)[0] for name, n in read.items()}
    written = {name: draw(COUNTS) for name in ("text_tokens", "audio_tokens")}
    fed, answer = sum(read.values()), sum(written.values())
    details = read | {"cached_tokens": sum(cached.values()), "cached_tokens_details": cached}
    usage = {
        "input_tokens": fed,
        "output_tokens": answer,
        "total_tokens": fed + answer,
        "input_token_details": details,
        "output_token_details": written,
    }
    return {"type": "response.done", "response": {"id": "resp_1", "usage": usage}}


@st.composite
def drawn_images(draw: Draw) -> Any:
    read = {name: draw(COUNTS) for name in ("text_tokens", "image_tokens")}
    written = {name: draw(COUNTS) for name in ("text_tokens", "image_tokens")}
    fed, answer = sum(read.values()), sum(written.values())
    usage = {"input_tokens": fed, "output_tokens": answer, "total_tokens": fed + answer}
    usage |= {"input_tokens_details": read} | maybe(draw, "output_tokens_details", written)
    return {"created": 1, "data": [{"b64_json": ""}], "usage": usage}


@st.composite
def embeddings(draw: Draw) -> Any:
    tokens = draw(COUNTS)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "model": "text-embedding-3-small", "data": [], "usage": usage}


@st.composite
def messages(draw: Draw) -> Any:
    """The three kinds of input stand beside each other."""
    answer = draw(COUNTS)
    usage: Payload = {"input_tokens": draw(COUNTS), "output_tokens": answer}
    if draw(st.booleans()):
        lifetimes = {f"ephemeral_{kept}_input_tokens": draw(COUNTS) for kept in ("5m", "1h")}
        usage |= maybe(draw, "cache_creation", lifetimes)
        usage["cache_creation_input_tokens"] = sum(lifetimes.values())
        usage["cache_read_input_tokens"] = draw(COUNTS)
    usage |= maybe(draw, "output_tokens_details", shares(draw, answer, "thinking_tokens"))
    tools = {"web_search_requests": draw(st.integers(0, 20)), "web_fetch_requests": 1}
    usage |= maybe(draw, "server_tool_use", tools)
    return {
        "id": "msg_1",
        "type": "message",
        "model": "claude-sonnet-4-5",
        "content": [],
        "stop_reason": "end_turn",
        "usage": usage,
    }


MODALITIES: Final = ("TEXT", "IMAGE", "AUDIO", "VIDEO", "DOCUMENT")


def by_modality(draw: Draw, total: int) -> list[Payload]:
    """One entry a kind, in any order; what is left of the total is text."""
    found = parts(draw, total, len(MODALITIES) - 1)
    tokens = [total - sum(found), *found]
    details = [
        {"modality": kind, "tokenCount": n} for kind, n in zip(MODALITIES, tokens, strict=True) if n
    ]
    shuffled: list[Payload] = draw(st.permutations(details))
    return shuffled


@st.composite
def generate_content(draw: Draw) -> Any:
    prompt, answer, thoughts, tools = (draw(COUNTS) for _ in range(4))
    read = by_modality(draw, prompt)
    # of each kind a part is cached
    cached = [one | {"tokenCount": parts(draw, one["tokenCount"], 1)[0]} for one in read]
    usage: Payload = {
        "promptTokenCount": prompt,
        "promptTokensDetails": read,
        "candidatesTokenCount": answer,
        "thoughtsTokenCount": thoughts,
        "toolUsePromptTokenCount": tools,
        "totalTokenCount": prompt + answer + thoughts + tools,
    }
    if draw(st.booleans()):
        usage["cachedContentTokenCount"] = sum(one["tokenCount"] for one in cached)
        usage["cacheTokensDetails"] = cached
    usage |= maybe(draw, "candidatesTokensDetails", by_modality(draw, answer))
    usage |= maybe(draw, "toolUsePromptTokensDetails", by_modality(draw, tools))
    usage = {name: value for name, value in usage.items() if value}  # protobuf leaves zeros out
    return {
        "modelVersion": "gemini-2.5-flash",
        "responseId": "r-1",
        "candidates": [{"finishReason": "STOP"}],
        "usageMetadata": usage | {"promptTokenCount": prompt},
    }


@st.composite
def converse(draw: Draw) -> Any:
    fresh, read, answer = (draw(COUNTS) for _ in range(3))
    lifetimes = {"1h": draw(COUNTS), "5m": draw(COUNTS)}
    written = sum(lifetimes.values())
    usage: Payload = {"inputTokens": fresh, "outputTokens": answer}
    if draw(st.booleans()):
        usage |= {"cacheReadInputTokens": read, "cacheWriteInputTokens": written}
        details = [{"ttl": ttl, "inputTokens": n} for ttl, n in lifetimes.items() if n]
        usage |= maybe(draw, "cacheDetails", details)
        fresh += read + written
    usage["totalTokens"] = fresh + answer
    return {"stopReason": "end_turn", "metrics": {"latencyMs": 1}, "usage": usage}


@st.composite
def cohere(draw: Draw) -> Any:
    """Floats on the wire; what the model saw is more than what is billed."""
    fed, answer, template = (float(draw(COUNTS)) for _ in range(3))
    usage = {
        "billed_units": {"input_tokens": fed, "output_tokens": answer},
        "tokens": {"input_tokens": fed + template, "output_tokens": answer},
    }
    usage |= maybe(draw, "cached_tokens", fed + template)
    return {"id": "c-1", "finish_reason": "COMPLETE", "message": {}, "usage": usage}


@st.composite
def cohere_embeddings(draw: Draw) -> Any:
    billed = {"input_tokens": float(draw(COUNTS))}
    return {"id": "c-1", "embeddings": {}, "meta": {"billed_units": billed}}


@st.composite
def ocr(draw: Draw) -> Any:
    usage = {"pages_processed": draw(st.integers(0, 5_000)), "doc_size_bytes": draw(COUNTS)}
    return {"model": "mistral-ocr-latest", "pages": [], "usage_info": usage}


@st.composite
def xai_chat(draw: Draw) -> Any:
    """Reasoning stands beside the completion."""
    kinds = ("cached_tokens", "audio_tokens image_tokens text_tokens")
    payload: Payload = draw(chat(kinds, ("audio_tokens",)))
    details = payload["usage"].get("completion_tokens_details")
    if details is not None:
        details["reasoning_tokens"] = draw(COUNTS)
        payload["usage"]["total_tokens"] += details["reasoning_tokens"]
    return payload


@st.composite
def deepseek(draw: Draw) -> Any:
    prompt, answer = draw(COUNTS), draw(COUNTS)
    hit, reasoning = parts(draw, prompt, 1)[0], parts(draw, answer, 1)[0]
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": answer,
        "total_tokens": prompt + answer,
        "prompt_tokens_details": {"cached_tokens": hit},
        "prompt_cache_hit_tokens": hit,
        "prompt_cache_miss_tokens": prompt - hit,
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    return {"object": "chat.completion", "model": "deepseek-chat", "choices": [], "usage": usage}


@st.composite
def sonar(draw: Draw) -> Any:
    prompt, answer = draw(COUNTS), draw(COUNTS)
    usage = {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
    usage |= {name: draw(COUNTS) for name in ("reasoning_tokens", "citation_tokens")}
    usage["num_search_queries"] = draw(st.integers(0, 50))
    return {"model": "sonar-deep-research", "choices": [{"finish_reason": "stop"}], "usage": usage}


def plain_chat() -> st.SearchStrategy[Payload]:
    """With the details that Groq and Mistral have."""
    strategy: st.SearchStrategy[Payload] = chat(("cached_tokens",), ("reasoning_tokens",))
    return strategy


@dataclass(frozen=True)
class Kind:
    """A shape by our names for it and by theirs."""

    payloads: st.SearchStrategy[Payload]
    provider: str
    api: str
    their_provider: str
    their_flavor: str = "default"


KINDS: Final = {
    "openai chat": Kind(chat(), "openai", "chat", "openai", "chat"),
    "openai responses": Kind(responses(), "openai", "responses", "openai", "responses"),
    "openai realtime": Kind(realtime(), "openai", "realtime", "openai", "realtime"),
    "openai images": Kind(drawn_images(), "openai", "images", "openai", "images"),
    "openai embeddings": Kind(embeddings(), "openai", "embeddings", "openai", "embeddings"),
    "azure chat": Kind(chat(), "azure.ai.openai", "chat", "azure", "chat"),
    "azure responses": Kind(responses(), "azure.ai.openai", "responses", "azure", "responses"),
    "openrouter": Kind(chat(), "openrouter", "chat", "openrouter", "chat"),
    "deepseek": Kind(deepseek(), "deepseek", "chat", "deepseek", "chat"),
    "groq": Kind(plain_chat(), "groq", "chat", "groq"),
    "xai chat": Kind(xai_chat(), "x_ai", "chat", "x-ai", "chat"),
    "xai responses": Kind(responses("cached_tokens"), "x_ai", "responses", "x-ai", "responses"),
    "perplexity": Kind(sonar(), "perplexity", "chat", "perplexity"),
    "mistral": Kind(plain_chat(), "mistral_ai", "chat", "mistral"),
    "mistral ocr": Kind(ocr(), "mistral_ai", "ocr", "mistral", "ocr"),
    "anthropic": Kind(messages(), "anthropic", "messages", "anthropic"),
    "claude on bedrock": Kind(messages(), "aws.bedrock", "messages", "aws", "anthropic"),
    "claude on vertex": Kind(messages(), "gcp.vertex_ai", "messages", "google", "anthropic"),
    "bedrock converse": Kind(converse(), "aws.bedrock", "converse", "aws"),
    "gemini": Kind(generate_content(), "gcp.gemini", "generate_content", "google"),
    "gemini on vertex": Kind(generate_content(), "gcp.vertex_ai", "generate_content", "google"),
    "cohere": Kind(cohere(), "cohere", "chat", "cohere"),
    "cohere embeddings": Kind(cohere_embeddings(), "cohere", "embeddings", "cohere", "embeddings"),
}

UNMAPPED: Final = "they have no mapping for this count, which the SDK's type has"
DIFFERS: Final = {
    ("perplexity", "output_tokens"): "they add citation tokens, which stand beside our output",
    ("openai chat", "input_image_tokens"): UNMAPPED,
    ("openai images", "output_image_tokens"): "without details all output is the images'",
    ("azure chat", "input_image_tokens"): UNMAPPED,
    ("openrouter", "input_image_tokens"): UNMAPPED,
    ("xai chat", "input_audio_tokens"): UNMAPPED,
    ("xai chat", "input_image_tokens"): UNMAPPED,
    ("claude on bedrock", "output_reasoning_tokens"): UNMAPPED,
    ("claude on bedrock", "web_searches"): UNMAPPED,
    ("claude on vertex", "output_reasoning_tokens"): UNMAPPED,
    ("claude on vertex", "web_searches"): UNMAPPED,
}
"""(kind, their field): why it is not the same."""


def ours(kind: Kind, payload: Payload, told: bool = True) -> ExtractedUsage:
    usage = read_usage(payload, provider=kind.provider, api=kind.api if told else None)
    assert usage is not None
    return usage


def theirs(kind: Kind, payload: Payload) -> dict[str, int]:
    """Without the model: one that they have no price for would raise."""
    unnamed = {name: value for name, value in payload.items() if name != "model"}
    found = extract_usage(unnamed, provider_id=kind.their_provider, api_flavor=kind.their_flavor)
    return vars(found.usage)


def differences(kind: Kind, payload: Payload) -> dict[str, str]:
    """By their names: what they say and what we say, where it is not the same."""
    usage, opinion = ours(kind, payload), theirs(kind, payload)
    assert opinion.keys() <= FIELDS.keys() | NO_FIELD.keys()
    said = {name: (opinion.get(name, 0), getattr(usage, field)) for name, field in FIELDS.items()}
    return {name: f"{they} {we}" for name, (they, we) in said.items() if they != we}


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_both_say_the_same(name: str, data: st.DataObject) -> None:
    kind = KINDS[name]
    payload = data.draw(kind.payloads)
    found = differences(kind, payload)
    assert not {field: how for field, how in found.items() if (name, field) not in DIFFERS}


@pytest.mark.parametrize(("name", "field"), DIFFERS)
def test_what_is_listed_as_different_still_is(name: str, field: str) -> None:
    kind = KINDS[name]
    assert find(kind.payloads, lambda payload: field in differences(kind, payload))


def test_citation_tokens_are_the_whole_difference_of_the_output() -> None:
    kind = KINDS["perplexity"]
    counts = {"prompt_tokens": 3, "completion_tokens": 400, "reasoning_tokens": 5_000}
    payload = {"usage": counts | {"citation_tokens": 60_000, "num_search_queries": 7}}
    usage, opinion = ours(kind, payload), theirs(kind, payload)
    assert (usage.output_tokens, usage.citation_tokens) == (5_400, 60_000)
    assert opinion["output_tokens"] == 65_400


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_right_sums_are_measured_and_the_interface_need_not_be_named(
    name: str, data: st.DataObject
) -> None:
    kind = KINDS[name]
    payload = data.draw(kind.payloads)
    usage = ours(kind, payload)
    assert (usage.quality, usage.conflicts) == ("measured", ())
    assert usage == ours(kind, payload, told=False)
    assert usage == read_usage(json.dumps(payload), provider=kind.provider)


@dataclass(frozen=True)
class Otherwise:
    """A payload whose usage they read by another rule."""

    kind: str
    payload: Payload
    they_say: dict[str, int] | None
    """None: they raise."""
    we_say: dict[str, int]
    why: str


OTHERWISE: Final = [
    Otherwise(
        "anthropic",
        {
            "type": "message",
            "stop_reason": "end_turn",
            "usage": {
                "input_tokens": 100,
                "output_tokens": 20,
                "iterations": [
                    {"type": "compaction", "input_tokens": 5_000, "output_tokens": 300},
                    {"type": "message", "input_tokens": 100, "output_tokens": 20},
                ],
            },
        },
        {"input_tokens": 100, "output_tokens": 20},
        {"input_tokens": 5_100, "output_tokens": 320},
        "a compaction is billed and not in the top level (BetaUsage.iterations)",
    ),
    Otherwise(
        "gemini",
        {
            "usageMetadata": {
                "promptTokenCount": 10,
                "promptTokensDetails": [{"modality": 4, "tokenCount": 6}],
                "totalTokenCount": 10,
            }
        },
        None,
        {"input_tokens": 10, "input_audio_tokens": 6},
        "Vertex sends modalities as numbers",
    ),
    Otherwise(
        "gemini",
        {
            "usageMetadata": {
                "promptTokenCount": 10,
                "candidatesTokenCount": 30,
                "thoughtsTokenCount": 20,
                "totalTokenCount": 40,
            }
        },
        {"input_tokens": 10, "output_tokens": 50, "output_reasoning_tokens": 20},
        {"input_tokens": 10, "output_tokens": 30, "output_reasoning_tokens": 20},
        "the total, which they do not read, has no room for thoughts beside the candidates",
    ),
    Otherwise(
        "xai chat",
        {
            "usage": {
                "prompt_tokens": 10,
                "completion_tokens": 30,
                "total_tokens": 40,
                "completion_tokens_details": {"reasoning_tokens": 20},
            }
        },
        {"input_tokens": 10, "output_tokens": 50, "output_reasoning_tokens": 20},
        {"input_tokens": 10, "output_tokens": 30, "output_reasoning_tokens": 20},
        "the total, which they do not read, says that reasoning is inside",
    ),
    Otherwise(
        "deepseek",
        {
            "usage": {
                "prompt_tokens": 10,
                "prompt_cache_hit_tokens": 8,
                "prompt_cache_miss_tokens": 2,
                "completion_tokens": 1,
            }
        },
        {"input_tokens": 10, "output_tokens": 1},
        {"input_tokens": 10, "output_tokens": 1, "cache_read_tokens": 8},
        "they read `prompt_tokens_details` alone",
    ),
    Otherwise(
        "mistral",
        {
            "usage": {
                "prompt_tokens": 10,
                "completion_tokens": 20,
                "total_tokens": 405,
                "prompt_audio_seconds": 30,
            }
        },
        {"input_tokens": 10, "output_tokens": 20},
        {"input_tokens": 10, "output_tokens": 20, "audio_seconds": 30_000},
        "audio by time is not mapped",
    ),
    Otherwise(
        "mistral",
        {
            "usage": {
                "prompt_tokens": 10,
                "connector_tokens": 90,
                "completion_tokens": 20,
                "total_tokens": 120,
            }
        },
        {"input_tokens": 10, "output_tokens": 20},
        {"input_tokens": 100, "output_tokens": 20, "input_tool_tokens": 90},
        "what connectors brought in is not mapped (ConversationUsageInfo)",
    ),
    Otherwise(
        "bedrock converse",
        {
            "usage": {
                "inputTokens": 10,
                "outputTokens": 20,
                "cacheDetails": [{"ttl": "1h", "inputTokens": 5}],
                "totalTokens": 35,
            }
        },
        {"input_tokens": 10, "output_tokens": 20, "cache_write_1h_tokens": 5},
        {
            "input_tokens": 15,
            "output_tokens": 20,
            "cache_write_tokens": 5,
            "cache_write_1h_tokens": 5,
        },
        "writes whose sum is left out: theirs would exceed their total",
    ),
]


@pytest.mark.parametrize("case", OTHERWISE, ids=lambda case: f"{case.kind}: {case.why}")
def test_where_the_rules_differ(case: Otherwise) -> None:
    kind = KINDS[case.kind]
    if case.they_say is None:
        with pytest.raises(AttributeError):
            theirs(kind, case.payload)
    else:
        assert theirs(kind, case.payload) == case.they_say
    usage = ours(kind, case.payload)
    said = {name: n for name, field in FIELDS.items() if (n := getattr(usage, field))}
    assert said == case.we_say

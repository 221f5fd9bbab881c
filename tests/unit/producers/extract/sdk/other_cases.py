"""Mistral, Cohere and Groq by the types of their SDKs; DeepSeek, xAI and OpenRouter by their
documentation, as OpenAI's types with the fields that they add."""

from __future__ import annotations

from typing import Any, Final

from cohere.types import (
    ApiMeta,
    EmbedByTypeResponse,
    NonStreamedChatResponse,
    ParseResponse,
    StreamEndStreamedChatResponse,
)
from cohere.v2.types import (
    ContentDeltaV2ChatStreamResponse,
    MessageEndV2ChatStreamResponse,
    MessageStartV2ChatStreamResponse,
    V2ChatResponse,
    V2RerankResponse,
)
from groq.types import CreateEmbeddingResponse
from groq.types.chat import ChatCompletion as GroqCompletion
from groq.types.chat import ChatCompletionChunk as GroqChunk
from mistralai.client import models as mistral
from openai.types.realtime import ResponseDoneEvent
from openai.types.responses import Response

from tests.unit.producers.extract.sdk.case import Case, Expected
from tests.unit.producers.extract.sdk.openai_cases import chat, chunk, response

Json = dict[str, Any]

# Mistral


def mistral_chat(usage: Json) -> mistral.ChatCompletionResponse:
    said = {"role": "assistant", "content": "hi"}
    return mistral.ChatCompletionResponse.model_validate(
        {
            "id": "m-1",
            "object": "chat.completion",
            "created": 1_795_000_000,
            "model": "mistral-large-latest",
            "choices": [{"index": 0, "message": said, "finish_reason": "stop"}],
            "usage": usage,
        }
    )


def mistral_chunk(text: str, finish: str | None = None, usage: Json | None = None) -> object:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    data = {"id": "m-1", "model": "mistral-large-latest", "choices": [choice], "usage": usage}
    return mistral.CompletionEvent.model_validate({"data": data})


MISTRAL_IS: Final = {"model": "mistral-large-latest", "response_id": "m-1"}
COUNTED: Final = {"prompt_tokens": 70, "completion_tokens": 30, "total_tokens": 100}
LISTENED: Final = {
    "prompt_audio_seconds": 30,
    "prompt_tokens": 4,
    "completion_tokens": 90,
    "total_tokens": 469,
}
WHAT_LISTENING_TOOK: Final = {"input_tokens": 4, "output_tokens": 90, "audio_input_ms": 30_000}
CONVERSED: Final = {
    "prompt_tokens": 70,
    "connector_tokens": 900,
    "completion_tokens": 30,
    "total_tokens": 1000,
    "connectors": {"web_search": 2},
}
WHAT_CONVERSING_TOOK: Final = {
    "input_tokens": 970,
    "output_tokens": 30,
    "tool_input_tokens": 900,
    "web_searches": 2,
}


def by_mistral(what: str, api: str, payload: object, expected: Expected) -> Case:
    return Case("Mistral", what, "mistral_ai", api, payload, expected)


MISTRAL: Final = [
    by_mistral(
        "chat",
        "chat",
        mistral_chat({**COUNTED, "service_tier": "priority"}),
        {"input_tokens": 70, "output_tokens": 30, "service_tier": "priority", **MISTRAL_IS},
    ),
    by_mistral(
        "chat with audio, which is billed by its seconds",
        "chat",
        mistral_chat(LISTENED),
        {**WHAT_LISTENING_TOOK, **MISTRAL_IS},
    ),
    by_mistral(
        "stream",
        "chat",
        [mistral_chunk("hel"), mistral_chunk("lo", "stop", COUNTED)],
        {"input_tokens": 70, "output_tokens": 30, **MISTRAL_IS},
    ),
    by_mistral(
        "stream that was cut off",
        "chat",
        [mistral_chunk("twelve"), mistral_chunk(" chars")],
        {"input_tokens": 0, "output_tokens": 3, "quality": "estimated", **MISTRAL_IS},
    ),
    by_mistral(
        "embeddings",
        "embeddings",
        mistral.EmbeddingResponse.model_validate(
            {
                "id": "m-1",
                "object": "list",
                "model": "mistral-embed",
                "data": [{"object": "embedding", "embedding": [0.1], "index": 0}],
                "usage": {"prompt_tokens": 15, "completion_tokens": 0, "total_tokens": 15},
            }
        ),
        {"input_tokens": 15, "output_tokens": 0, "model": "mistral-embed", "response_id": "m-1"},
    ),
    by_mistral(
        "OCR",
        "ocr",
        mistral.OCRResponse.model_validate(
            {
                "model": "mistral-ocr-latest",
                "pages": [],
                "usage_info": {"pages_processed": 29, "doc_size_bytes": 3_002_783},
            }
        ),
        {"input_tokens": 0, "output_tokens": 0, "pages": 29, "model": "mistral-ocr-latest"},
    ),
    by_mistral(
        "transcription",
        "transcription",
        mistral.TranscriptionResponse.model_validate(
            {"model": "voxtral-mini", "text": "hi", "language": None, "usage": LISTENED}
        ),
        {**WHAT_LISTENING_TOOK, "model": "voxtral-mini"},
    ),
    by_mistral(
        "conversation with a connector",
        "conversations",
        mistral.ConversationResponse.model_validate(
            {"conversation_id": "conv_1", "outputs": [], "usage": CONVERSED}
        ),
        WHAT_CONVERSING_TOOK,
    ),
    by_mistral(
        "conversation's stream",
        "conversations",
        [
            mistral.ConversationEvents.model_validate(
                {
                    "event": "conversation.response.done",
                    "data": {"type": "conversation.response.done", "usage": CONVERSED},
                }
            )
        ],
        WHAT_CONVERSING_TOOK,
    ),
]

# Cohere: what is billed is the usage; what the model saw, and what of it was cached, is more

BILLED: Final = {
    "billed_units": {"input_tokens": 70.0, "output_tokens": 30.0},
    "tokens": {"input_tokens": 812.0, "output_tokens": 33.0},
    "cached_tokens": 800.0,
}
SEARCHED: Final = {"billed_units": {"input_tokens": 70.0, "output_tokens": 30.0, "search_units": 1}}


def content(text: str) -> ContentDeltaV2ChatStreamResponse:
    delta = {"message": {"content": {"text": text}}}
    return ContentDeltaV2ChatStreamResponse.model_validate(
        {"type": "content-delta", "index": 0, "delta": delta}
    )


COHERE_BEGUN: Final = MessageStartV2ChatStreamResponse.model_validate(
    {"type": "message-start", "id": "c-1", "delta": {"message": {"role": "assistant"}}}
)


def meta(**billed: float) -> ApiMeta:
    return ApiMeta.model_validate({"api_version": {"version": "2"}, "billed_units": billed})


def by_cohere(what: str, api: str, payload: object, expected: Expected) -> Case:
    return Case("Cohere", what, "cohere", api, payload, expected)


COHERE: Final = [
    by_cohere(
        "chat",
        "chat",
        V2ChatResponse.model_validate(
            {
                "id": "c-1",
                "finish_reason": "COMPLETE",
                "message": {
                    "role": "assistant",
                    "content": [{"type": "text", "text": "hi"}],
                },
                "usage": BILLED,
            }
        ),
        {"input_tokens": 70, "output_tokens": 30, "response_id": "c-1"},
    ),
    by_cohere(
        "stream",
        "chat",
        [
            COHERE_BEGUN,
            content("hi"),
            MessageEndV2ChatStreamResponse.model_validate(
                {
                    "type": "message-end",
                    "delta": {"finish_reason": "COMPLETE", "usage": BILLED},
                }
            ),
        ],
        {"input_tokens": 70, "output_tokens": 30, "response_id": "c-1"},
    ),
    by_cohere(
        "stream that was cut off",
        "chat",
        [COHERE_BEGUN, content("twelve"), content(" chars")],
        {"input_tokens": 0, "output_tokens": 3, "quality": "estimated", "response_id": "c-1"},
    ),
    by_cohere(
        "chat v1, with a search",
        "chat.v1",
        NonStreamedChatResponse.model_validate(
            {"text": "hi", "generation_id": "g-1", "response_id": "c-1", "meta": SEARCHED}
        ),
        {"input_tokens": 70, "output_tokens": 30, "search_units": 1, "response_id": "c-1"},
    ),
    by_cohere(
        "chat v1, stream",
        "chat.v1",
        [
            StreamEndStreamedChatResponse.model_validate(
                {
                    "event_type": "stream-end",
                    "finish_reason": "COMPLETE",
                    "response": {"text": "hi", "response_id": "c-1", "meta": SEARCHED},
                }
            )
        ],
        {"input_tokens": 70, "output_tokens": 30, "search_units": 1, "response_id": "c-1"},
    ),
    by_cohere(
        "rerank",
        "rerank",
        V2RerankResponse(id="c-1", results=[], meta=meta(search_units=2)),
        {"input_tokens": 0, "output_tokens": 0, "search_units": 2, "response_id": "c-1"},
    ),
    by_cohere(
        "embeddings of texts and images",
        "embeddings",
        EmbedByTypeResponse.model_validate(
            {
                "id": "c-1",
                "response_type": "embeddings_by_type",
                "embeddings": {"float": [[0.1]]},
                "meta": meta(input_tokens=900, text_tokens=100, image_tokens=800, images=2),
            }
        ),
        {
            "input_tokens": 900,
            "output_tokens": 0,
            "image_input_tokens": 800,
            "images": 2,
            "response_id": "c-1",
        },
    ),
    by_cohere(
        "parse",
        "parse",
        ParseResponse(id="c-1", pages=[], meta=meta(pages=4)),
        {"input_tokens": 0, "output_tokens": 0, "pages": 4, "response_id": "c-1"},
    ),
]

# Groq

GROQ_COUNTED: Final = {
    "queue_time": 0.03,
    "prompt_tokens": 4000,
    "prompt_time": 0.1,
    "completion_tokens": 300,
    "completion_time": 0.9,
    "total_tokens": 4300,
    "total_time": 1.0,
    "prompt_tokens_details": {"cached_tokens": 3500},
    "completion_tokens_details": {"reasoning_tokens": 210},
}
WHAT_GROQ_COUNTED: Final = {
    "input_tokens": 4000,
    "output_tokens": 300,
    "cache_read_input_tokens": 3500,
    "reasoning_output_tokens": 210,
}
GROQ_IS: Final = {"model": "openai/gpt-oss-120b", "response_id": "chatcmpl-1"}


def groq_chunk(text: str, finish: str | None = None, **x_groq: Any) -> GroqChunk:
    return GroqChunk.model_validate(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1_795_000_000,
            "model": "openai/gpt-oss-120b",
            "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}],
            "x_groq": x_groq or None,
        }
    )


def by_groq(what: str, api: str, payload: object, expected: Expected) -> Case:
    return Case("Groq", what, "groq", api, payload, expected)


GROQ: Final = [
    by_groq(
        "chat",
        "chat",
        GroqCompletion.model_validate(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 1_795_000_000,
                "model": "openai/gpt-oss-120b",
                "service_tier": "flex",
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": "hi"},
                        "finish_reason": "stop",
                    }
                ],
                "usage": GROQ_COUNTED,
                "x_groq": {"id": "req_1", "usage": {"dram_cached_tokens": 3500}},
            }
        ),
        {**WHAT_GROQ_COUNTED, **GROQ_IS, "service_tier": "flex"},
    ),
    by_groq(
        "stream, with its usage under x_groq",
        "chat",
        [
            groq_chunk("hel", id="req_1"),
            groq_chunk("lo"),
            groq_chunk("", "stop", id="req_1", usage=GROQ_COUNTED),
        ],
        {**WHAT_GROQ_COUNTED, **GROQ_IS},
    ),
    by_groq(
        "stream that was cut off",
        "chat",
        [groq_chunk("twelve", id="req_1"), groq_chunk(" chars")],
        {"input_tokens": 0, "output_tokens": 3, "quality": "estimated", **GROQ_IS},
    ),
    by_groq(
        "embeddings",
        "embeddings",
        CreateEmbeddingResponse.model_validate(
            {
                "object": "list",
                "model": "nomic-embed-text-v1_5",
                "data": [{"object": "embedding", "index": 0, "embedding": [0.1]}],
                "usage": {"prompt_tokens": 8, "total_tokens": 8},
            }
        ),
        {"input_tokens": 8, "output_tokens": 0, "model": "nomic-embed-text-v1_5"},
    ),
]

# by documentation

DEEPSEEK_COUNTED: Final = {
    "prompt_tokens": 1000,
    "prompt_cache_hit_tokens": 640,
    "prompt_cache_miss_tokens": 360,
    "completion_tokens": 400,
    "completion_tokens_details": {"reasoning_tokens": 250},
    "total_tokens": 1400,
}
WHAT_DEEPSEEK_COUNTED: Final = {
    "input_tokens": 1000,
    "output_tokens": 400,
    "cache_read_input_tokens": 640,
    "reasoning_output_tokens": 250,
    "model": "deepseek-reasoner",
    "response_id": "chatcmpl-1",
}


def documented(row: str, what: str, provider: str, api: str, payload: object, is_: Json) -> Case:
    return Case(row, what, provider, api, payload, is_, documented=True)


DEEPSEEK: Final = [
    documented(
        "DeepSeek",
        "chat",
        "deepseek",
        "chat",
        chat(DEEPSEEK_COUNTED, model="deepseek-reasoner"),
        WHAT_DEEPSEEK_COUNTED,
    ),
    documented(
        "DeepSeek",
        "stream",
        "deepseek",
        "chat",
        [
            chunk("hi", model="deepseek-reasoner", usage=None),
            chunk("", "stop", model="deepseek-reasoner", usage=DEEPSEEK_COUNTED),
        ],
        WHAT_DEEPSEEK_COUNTED,
    ),
]

GROK_CHATTED: Final = {
    "prompt_tokens": 1000,
    "prompt_tokens_details": {
        "cached_tokens": 700,
        "text_tokens": 750,
        "image_tokens": 250,
        "audio_tokens": 0,
    },
    "completion_tokens": 40,
    "completion_tokens_details": {"reasoning_tokens": 360},
    "total_tokens": 1400,
    "num_sources_used": 3,
    "cost_in_usd_ticks": 12_345_678,
}
GROK_RESPONDED: Final = {
    "input_tokens": 1000,
    "input_tokens_details": {"cached_tokens": 700, "cache_write_tokens": 0},
    "output_tokens": 400,
    "output_tokens_details": {"reasoning_tokens": 360},
    "total_tokens": 1400,
    "num_sources_used": 0,
    "server_side_tool_usage_details": {"web_search_calls": 2, "x_search_calls": 1},
    "cost_in_usd_ticks": 12_345_678,
}
WHAT_GROK_TOOK: Final = {
    "input_tokens": 1000,
    "output_tokens": 400,
    "cache_read_input_tokens": 700,
    "reasoning_output_tokens": 360,
    "reported_cost_pico": "1234567800",
}

XAI: Final = [
    documented(
        "xAI",
        "chat, with reasoning beside the completion",
        "x_ai",
        "chat",
        chat(GROK_CHATTED, model="grok-4"),
        {
            **WHAT_GROK_TOOK,
            "image_input_tokens": 250,
            "model": "grok-4",
            "response_id": "chatcmpl-1",
        },
    ),
    documented(
        "xAI",
        "stream",
        "x_ai",
        "chat",
        [
            chunk("hi", "stop", model="grok-4"),
            chunk(None, model="grok-4", usage=GROK_CHATTED),
        ],
        {
            **WHAT_GROK_TOOK,
            "image_input_tokens": 250,
            "model": "grok-4",
            "response_id": "chatcmpl-1",
        },
    ),
    documented(
        "xAI",
        "responses, with reasoning inside the output",
        "x_ai",
        "responses",
        Response.model_validate(response(GROK_RESPONDED, model="grok-4", status="completed")),
        {**WHAT_GROK_TOOK, "web_searches": 2, "model": "grok-4", "response_id": "resp_1"},
    ),
    documented(
        "xAI",
        "realtime, whose usage stands beside its response",
        "x_ai",
        "realtime",
        ResponseDoneEvent.model_validate(
            {
                "type": "response.done",
                "event_id": "event_1",
                "response": {"id": "resp_1", "status": "completed", "output": []},
                "usage": {
                    "input_tokens": 900,
                    "input_token_details": {"text_tokens": 300, "audio_tokens": 600},
                    "output_tokens": 220,
                    "output_token_details": {"text_tokens": 0, "audio_tokens": 220},
                    "total_tokens": 1120,
                    "billable_audio_seconds": 7.5,
                },
            }
        ),
        {
            "input_tokens": 900,
            "output_tokens": 220,
            "audio_input_tokens": 600,
            "audio_output_tokens": 220,
            "audio_input_ms": 7_500,
            "response_id": "resp_1",
        },
    ),
]

ROUTED: Final = {
    "prompt_tokens": 1000,
    "prompt_tokens_details": {"cached_tokens": 600, "cache_write_tokens": 100, "audio_tokens": 0},
    "completion_tokens": 400,
    "completion_tokens_details": {"reasoning_tokens": 250, "image_tokens": 60},
    "total_tokens": 1400,
    "cost": 0.0123,
    "is_byok": False,
    "cost_details": {"upstream_inference_cost": None},
}
OWN_KEY: Final = {
    "cost": 0.0005,
    "is_byok": True,
    "cost_details": {"upstream_inference_cost": 0.01},
}
WHAT_WAS_ROUTED: Final = {
    "input_tokens": 1000,
    "output_tokens": 400,
    "cache_read_input_tokens": 600,
    "cache_write_input_tokens": 100,
    "reasoning_output_tokens": 250,
    "image_output_tokens": 60,
    "model": "openai/gpt-5.2",
    "response_id": "gen-1",
}

OPENROUTER: Final = [
    documented(
        "OpenRouter",
        "chat",
        "openrouter",
        "chat",
        chat(ROUTED, id="gen-1", model="openai/gpt-5.2", provider="OpenAI"),
        {**WHAT_WAS_ROUTED, "reported_cost_pico": "12300000000"},
    ),
    documented(
        "OpenRouter",
        "stream, with the caller's own key: the fee and what the provider takes",
        "openrouter",
        "chat",
        [
            chunk("hi", "stop", id="gen-1", model="openai/gpt-5.2"),
            chunk(None, id="gen-1", model="openai/gpt-5.2", usage={**ROUTED, **OWN_KEY}),
        ],
        {**WHAT_WAS_ROUTED, "reported_cost_pico": "10500000000"},
    ),
]

CASES: Final = [*MISTRAL, *COHERE, *GROQ, *DEEPSEEK, *XAI, *OPENROUTER]

"""The usage types of Anthropic, Google, Cohere, Mistral and Groq. Source: their SDKs."""

from __future__ import annotations

from typing import Any, Final

from anthropic.types import MessageDeltaUsage
from anthropic.types import Usage as AnthropicUsage
from anthropic.types.beta import (
    BetaAdvisorMessageIterationUsage,
    BetaCompactionIterationUsage,
    BetaFallbackMessageIterationUsage,
    BetaMessageDeltaUsage,
    BetaMessageIterationUsage,
    BetaUsage,
)
from cohere.types import ApiMeta
from cohere.types import Usage as CohereUsage
from google.genai import interactions, types
from groq.types import CompletionUsage as GroqUsage
from groq.types import create_embedding_response as groq_embedding
from groq.types.chat import chat_completion as groq_chat
from groq.types.chat import chat_completion_chunk as groq_chunk
from mistralai.client import models as mistral
from mistralai.client.models.createresponseresponse import ResponsesUsage as MistralResponsesUsage

from tests.unit.producers.extract.sdk.block import (
    CHECKED,
    TIME,
    Block,
    Json,
    Wrap,
    under,
    whole,
)
from tests.unit.producers.extract.sdk.openai_blocks import EMBEDDED, EMBEDDED_INTO, responded

CACHED: Final = {
    "cache_creation_input_tokens": 100,
    "cache_read_input_tokens": 50,
    "cache_creation": {"ephemeral_1h_input_tokens": 10, "ephemeral_5m_input_tokens": 20},
}
CACHED_INTO: Final = {
    "cache_creation_input_tokens": "cache_write_input_tokens",
    "cache_read_input_tokens": "cache_read_input_tokens",
    "cache_creation.ephemeral_1h_input_tokens": "cache_write_1h_input_tokens",
    "cache_creation.ephemeral_5m_input_tokens": "cache_write_5m_input_tokens",
}
ANSWERED: Final = {
    "input_tokens": 1000,
    "output_tokens": 1000,
    "output_tokens_details": {"thinking_tokens": 30},
    "server_tool_use": {"web_fetch_requests": 1, "web_search_requests": 2},
}
ANSWERED_INTO: Final = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "output_tokens_details.thinking_tokens": "reasoning_output_tokens",
    "server_tool_use.web_fetch_requests": "web_fetches",
    "server_tool_use.web_search_requests": "web_searches",
}
CREDIT: Final = {
    "status": {
        "type": "not_applied",
        "reason": "variant_fields_present",
        "remove_to_redeem": ["metadata"],
    }
}
CREDIT_LEAVING: Final = {
    "fallback_credit.status.reason": "why a price stayed as it was",
    "fallback_credit.status.remove_to_redeem[]": "names of request fields",
}
EACH: Final = {"iterations[]": "the types of its entries have blocks of their own"}


def message(usage: Any, **fields: Any) -> Json:
    return {"type": "message", "id": "1", "model": "m", "stop_reason": "end_turn", "usage": usage}


def in_a_delta(usage: Any) -> list[Json]:
    start = {"type": "message", "id": "1", "model": "m", "usage": {**CACHED, "input_tokens": 1}}
    delta = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}
    return [{"type": "message_start", "message": start}, delta]


def among(*others: Json, model: str = "m") -> Wrap:
    """An entry of a record that is more than the top level, which has a token of each."""

    def wrap(entry: Any) -> Json:
        top = {"input_tokens": 1, "output_tokens": 1, "iterations": [*others, entry]}
        return {**message(top), "model": model}

    return wrap


ENTRY: Final = {"input_tokens": 1000, "output_tokens": 1000, **CACHED}
ENTRY_INTO: Final = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    **CACHED_INTO,
}
OWN: Final = {"type": "message", "input_tokens": 1, "output_tokens": 1}

ANTHROPIC: Final = [
    Block(
        AnthropicUsage,
        "anthropic",
        message,
        {
            **ANSWERED,
            **CACHED,
            "service_tier": "standard",
            "speed": "standard",
            "inference_geo": "us",
        },
        {
            **ANSWERED_INTO,
            **CACHED_INTO,
            "service_tier": "service_tier",
            "speed": "service_tier",
            "inference_geo": "region",
        },
    ),
    Block(
        BetaUsage,
        "anthropic",
        message,
        {
            **ANSWERED,
            **CACHED,
            "service_tier": "standard",
            "speed": "standard",
            "inference_geo": "us",
            "iterations": [],
            "fallback_credit": CREDIT,
        },
        {
            **ANSWERED_INTO,
            **CACHED_INTO,
            "service_tier": "service_tier",
            "speed": "service_tier",
            "inference_geo": "region",
        },
        {**CREDIT_LEAVING, **EACH},
    ),
    Block(
        MessageDeltaUsage,
        "anthropic",
        in_a_delta,
        {**ANSWERED, "cache_creation_input_tokens": 100, "cache_read_input_tokens": 50},
        {
            **ANSWERED_INTO,
            "cache_creation_input_tokens": "cache_write_input_tokens",
            "cache_read_input_tokens": "cache_read_input_tokens",
        },
    ),
    Block(
        BetaMessageDeltaUsage,
        "anthropic",
        in_a_delta,
        {
            **ANSWERED,
            "cache_creation_input_tokens": 100,
            "cache_read_input_tokens": 50,
            "iterations": [],
            "fallback_credit": CREDIT,
        },
        {
            **ANSWERED_INTO,
            "cache_creation_input_tokens": "cache_write_input_tokens",
            "cache_read_input_tokens": "cache_read_input_tokens",
        },
        {**CREDIT_LEAVING, **EACH},
    ),
    Block(
        BetaMessageIterationUsage,
        "anthropic",
        among(),
        {**ENTRY, "type": "message", "model": "m"},
        ENTRY_INTO,
        {"model": "the one that answered, where no fallback did"},
    ),
    Block(
        BetaCompactionIterationUsage,
        "anthropic",
        among(OWN),
        {**ENTRY, "type": "compaction"},
        ENTRY_INTO,
    ),
    Block(
        BetaAdvisorMessageIterationUsage,
        "anthropic",
        among(OWN),
        {**ENTRY, "type": "advisor_message", "model": "n"},
        {
            **{name: f"other_models.0.{to}" for name, to in ENTRY_INTO.items()},
            "model": "other_models.0.model",
        },
    ),
    Block(
        BetaFallbackMessageIterationUsage,
        "anthropic",
        among({**OWN, "model": "m"}, model="n"),
        {**ENTRY, "type": "fallback_message", "model": "n"},
        {**ENTRY_INTO, "model": "model"},
    ),
]


def kinds(tokens: str, **names: str) -> tuple[Json, dict[str, str]]:
    """Lists by modality: an image first in each, and where its tokens go; then, made audio."""
    entries = [("IMAGE", 10), ("TEXT", 10), ("AUDIO", 30)]
    usage = {name: [{"modality": kind, tokens: n} for kind, n in entries] for name in names}
    into = {f"{name}[].{tokens}": to.format("image") for name, to in names.items()}
    into |= {f"{name}[].modality": to.format("audio") for name, to in names.items()}
    return usage, into


CONTENT, CONTENT_INTO = kinds(
    "tokenCount",
    promptTokensDetails="{}_input_tokens",
    toolUsePromptTokensDetails="{}_input_tokens",
    cacheTokensDetails="cache_read_{}_input_tokens",
)
WRITTEN, WRITTEN_INTO = kinds("tokenCount", candidatesTokensDetails="{}_output_tokens")
SAID, SAID_INTO = kinds("tokenCount", responseTokensDetails="{}_output_tokens")
TAKEN, TAKEN_INTO = kinds(
    "tokens",
    input_tokens_by_modality="{}_input_tokens",
    tool_use_tokens_by_modality="{}_input_tokens",
    cached_tokens_by_modality="cache_read_{}_input_tokens",
    output_tokens_by_modality="{}_output_tokens",
)
PROMPTED: Final = {
    "promptTokenCount": 1000,
    "cachedContentTokenCount": 100,
    "toolUsePromptTokenCount": 100,
    "thoughtsTokenCount": 100,
    "totalTokenCount": 2200,
    "trafficType": "ON_DEMAND_FLEX",
    **CONTENT,
}
PROMPTED_INTO: Final = {
    "promptTokenCount": "input_tokens",
    "cachedContentTokenCount": "cache_read_input_tokens",
    "toolUsePromptTokenCount": "tool_input_tokens",
    "thoughtsTokenCount": "reasoning_output_tokens",
    "totalTokenCount": CHECKED,
    "trafficType": "service_tier",
    **CONTENT_INTO,
}

GOOGLE: Final = [
    Block(
        types.GenerateContentResponseUsageMetadata,
        "gcp.vertex_ai",
        under("usageMetadata", candidates=[{"finishReason": "STOP"}]),
        {**PROMPTED, "candidatesTokenCount": 1000, **WRITTEN},
        {**PROMPTED_INTO, "candidatesTokenCount": "output_tokens", **WRITTEN_INTO},
    ),
    Block(
        types.UsageMetadata,
        "gcp.gemini",
        lambda usage: [{"serverContent": {}, "usageMetadata": usage}],
        {**PROMPTED, "responseTokenCount": 1000, "serviceTier": "flex", **SAID},
        {
            **PROMPTED_INTO,
            "responseTokenCount": "output_tokens",
            "serviceTier": "service_tier",
            **SAID_INTO,
        },
        instead_of={"trafficType": ("serviceTier",)},
    ),
    Block(
        interactions.Usage,
        "gcp.gemini",
        lambda usage: {"id": "1", "model": "m", "status": "completed", "usage": usage},
        {
            "total_input_tokens": 1000,
            "total_cached_tokens": 100,
            "total_tool_use_tokens": 100,
            "total_output_tokens": 1000,
            "total_thought_tokens": 100,
            "total_tokens": 2200,
            "initial_input_tokens": 500,
            "grounding_tool_count": [{"type": "google_search", "count": 3}],
            **TAKEN,
        },
        {
            "total_input_tokens": "input_tokens",
            "total_cached_tokens": "cache_read_input_tokens",
            "total_tool_use_tokens": "tool_input_tokens",
            "total_output_tokens": "output_tokens",
            "total_thought_tokens": "reasoning_output_tokens",
            "total_tokens": CHECKED,
            "grounding_tool_count[].count": "web_searches",
            "grounding_tool_count[].type": "web_searches",
            **TAKEN_INTO,
        },
        {"initial_input_tokens": "a part of the input: that of the first turn"},
    ),
    Block(
        types.ContentEmbeddingStatistics,
        "gcp.vertex_ai",
        lambda statistics: {"embeddings": [{"values": [0.1], "statistics": statistics}]},
        {
            "tokenCount": 10.0,
            "truncated": False,
            "tokensDetails": [{"modality": "IMAGE", "tokenCount": 4}],
        },
        {
            "tokenCount": "input_tokens",
            "tokensDetails[].tokenCount": "image_input_tokens",
            "tokensDetails[].modality": "image_input_tokens",
        },
        {"truncated": "no count"},
    ),
    Block(
        types.EmbedContentMetadata,
        "gcp.vertex_ai",
        under("metadata", embeddings=[{"statistics": {"tokenCount": 10}}]),
        {"billableCharacterCount": 40},
        {},
        {"billableCharacterCount": "embeddings are priced by token, which their statistics count"},
    ),
]

SEEN: Final = "what the model saw is not what is billed, where anything is"
NO_FIELD: Final = "Usage has no field for it"

COHERE: Final = [
    Block(
        CohereUsage,
        "cohere",
        whole,
        {
            "billed_units": {
                "input_tokens": 100.0,
                "output_tokens": 100.0,
                "search_units": 1.0,
                "classifications": 1.0,
            },
            "tokens": {"input_tokens": 900.0, "output_tokens": 100.0},
            "cached_tokens": 800.0,
        },
        {
            "billed_units.input_tokens": "input_tokens",
            "billed_units.output_tokens": "output_tokens",
            "billed_units.search_units": "search_units",
        },
        {
            "billed_units.classifications": NO_FIELD,
            "tokens.input_tokens": SEEN,
            "tokens.output_tokens": SEEN,
            "cached_tokens": "has no price, and may be more than is billed",
        },
    ),
    Block(
        ApiMeta,
        "cohere",
        under("meta"),
        {
            "api_version": {"version": "2", "is_deprecated": False, "is_experimental": False},
            "billed_units": {
                "images": 1.0,
                "input_tokens": 100.0,
                "image_tokens": 20.0,
                "text_tokens": 30.0,
                "output_tokens": 100.0,
                "search_units": 1.0,
                "classifications": 1.0,
                "pages": 1.0,
            },
            "tokens": {"input_tokens": 900.0, "output_tokens": 100.0},
            "cached_tokens": 800.0,
            "warnings": ["hm"],
        },
        {
            "billed_units.images": "images",
            "billed_units.input_tokens": "input_tokens",
            "billed_units.image_tokens": "image_input_tokens",
            "billed_units.text_tokens": "input_tokens",
            "billed_units.output_tokens": "output_tokens",
            "billed_units.search_units": "search_units",
            "billed_units.pages": "pages",
        },
        {
            "api_version.version": "no count",
            "api_version.is_deprecated": "no count",
            "api_version.is_experimental": "no count",
            "billed_units.classifications": NO_FIELD,
            "tokens.input_tokens": SEEN,
            "tokens.output_tokens": SEEN,
            "cached_tokens": "has no price, and may be more than is billed",
            "warnings[]": "no count",
        },
        instead_of={"billed_units.text_tokens": ("billed_units.input_tokens",)},
    ),
]

MISTRAL: Final = [
    Block(
        mistral.UsageInfo,
        "mistral_ai",
        whole,
        {
            "prompt_tokens": 100,
            "completion_tokens": 100,
            "total_tokens": 200,
            "prompt_audio_seconds": 30,
            "service_tier": "standard",
        },
        {
            "prompt_tokens": "input_tokens",
            "completion_tokens": "output_tokens",
            "total_tokens": CHECKED,
            "prompt_audio_seconds": "audio_input_ms",
            "service_tier": "service_tier",
        },
        # audio's tokens are in the total and nowhere else
        instead_of={"total_tokens": ("prompt_audio_seconds",)},
    ),
    Block(
        mistral.ConversationUsageInfo,
        "mistral_ai",
        whole,
        {
            "prompt_tokens": 100,
            "completion_tokens": 100,
            "total_tokens": 300,
            "connector_tokens": 100,
            "connectors": {"web_search": 2},
        },
        {
            "prompt_tokens": "input_tokens",
            "completion_tokens": "output_tokens",
            "total_tokens": CHECKED,
            "connector_tokens": "tool_input_tokens",
            "connectors": "web_searches",
        },
    ),
    responded(
        MistralResponsesUsage,
        "mistral_ai",
        leaving="input_tokens_details.cache_write_tokens_details",
    ),
    Block(
        mistral.OCRUsageInfo,
        "mistral_ai",
        under("usage_info"),
        {"pages_processed": 3, "doc_size_bytes": 1000},
        {"pages_processed": "pages"},
        {"doc_size_bytes": "has no price"},
    ),
]

GROQ_COUNTED: Final = {
    "prompt_tokens": 1000,
    "completion_tokens": 1000,
    "total_tokens": 2000,
    "prompt_tokens_details": {"cached_tokens": 30},
    "completion_tokens_details": {"reasoning_tokens": 30},
}
SPLIT: Final = "of compound systems: what their usage has already, by the models behind it"
SPLIT_LEAVING: Final = {"models[].model": SPLIT, "models[].usage": SPLIT}
SPLIT_USAGE: Final = {"models": [{"model": "a", "usage": GROQ_COUNTED}]}
MEMORY: Final = "a part of the cached tokens, by the memory that held them"

GROQ: Final = [
    Block(
        GroqUsage,
        "groq",
        lambda usage: [{"id": "1", "model": "m", "x_groq": {"usage": usage}}],
        {
            **GROQ_COUNTED,
            "prompt_time": 0.5,
            "completion_time": 0.5,
            "queue_time": 0.5,
            "total_time": 1.0,
        },
        {
            "prompt_tokens": "input_tokens",
            "completion_tokens": "output_tokens",
            "total_tokens": CHECKED,
            "prompt_tokens_details.cached_tokens": "cache_read_input_tokens",
            "completion_tokens_details.reasoning_tokens": "reasoning_output_tokens",
        },
        {f"{name}_time": TIME for name in ("prompt", "completion", "queue", "total")},
    ),
    Block(
        groq_chat.XGroqUsage,
        "groq",
        lambda usage: {**whole(GROQ_COUNTED), "x_groq": {"id": "1", "usage": usage}},
        {"dram_cached_tokens": 10, "sram_cached_tokens": 20},
        {},
        {"dram_cached_tokens": MEMORY, "sram_cached_tokens": MEMORY},
    ),
    Block(
        groq_chat.UsageBreakdown,
        "groq",
        under("usage_breakdown", usage=GROQ_COUNTED),
        SPLIT_USAGE,
        {},
        SPLIT_LEAVING,
    ),
    Block(
        groq_chunk.UsageBreakdown,
        "groq",
        lambda split: [{"x_groq": {"usage": GROQ_COUNTED, "usage_breakdown": split}}],
        SPLIT_USAGE,
        {},
        SPLIT_LEAVING,
    ),
    Block(groq_embedding.Usage, "groq", whole, EMBEDDED, EMBEDDED_INTO),
]

BLOCKS: Final = [*ANTHROPIC, *GOOGLE, *COHERE, *MISTRAL, *GROQ]

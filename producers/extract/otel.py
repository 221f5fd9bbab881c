"""A span of OpenTelemetry: `gen_ai.usage.*`, current and former names, and OpenInference's.

The conventions have everything inside the two totals. Instrumentations of Anthropic have not always
kept to that: what the total shows, or what cannot be otherwise, goes before. Sources: semantic
conventions for generative AI (registry, deprecated names), OpenInference's conventions, the
attributes of traceloop, Pydantic AI, Strands and Vercel's AI SDK.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from spendstream.producers.extract.counts import block, count, objects, pico, text
from spendstream.producers.extract.found import Found
from spendstream.producers.extract.plain import Object, Unreadable

_INPUT: Final = (
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.prompt_tokens",
    "llm.usage.prompt_tokens",
    "llm.token_count.prompt",
    "ai.usage.inputTokens",
    "ai.usage.promptTokens",
)
_OUTPUT: Final = (
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.completion_tokens",
    "llm.usage.completion_tokens",
    "llm.token_count.completion",
    "ai.usage.outputTokens",
    "ai.usage.completionTokens",
)
_TOTAL: Final = (
    "gen_ai.usage.total_tokens",
    "llm.usage.total_tokens",
    "llm.token_count.total",
    "ai.usage.totalTokens",
    "ai.usage.tokens",
)
_SUBSETS: Final = {
    "cache_read_input_tokens": (
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_read_input_tokens",
        "gen_ai.usage.cache_read_tokens",
        "gen_ai.usage.input_cached_tokens",
        "gen_ai.usage.details.cache_read_tokens",
        "gen_ai.usage.details.cache_read_input_tokens",
        "gen_ai.usage.details.cached_tokens",
        "llm.token_count.prompt_details.cache_read",
        "ai.usage.cachedInputTokens",
    ),
    "cache_write_input_tokens": (
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens",
        "gen_ai.usage.cache_write_input_tokens",
        "gen_ai.usage.cache_write_tokens",
        "gen_ai.usage.input_cache_creation",
        "gen_ai.usage.details.cache_write_tokens",
        "gen_ai.usage.details.cache_creation_input_tokens",
        "llm.token_count.prompt_details.cache_write",
    ),
    "reasoning_output_tokens": (
        "gen_ai.usage.reasoning.output_tokens",
        "gen_ai.usage.reasoning_tokens",
        "gen_ai.usage.output_reasoning_tokens",
        "gen_ai.usage.details.reasoning_tokens",
        "gen_ai.usage.details.thoughts_tokens",
        "llm.usage.reasoning_tokens",
        "llm.token_count.completion_details.reasoning",
        "ai.usage.reasoningTokens",
    ),
    "audio_input_tokens": (
        "gen_ai.usage.input_audio_tokens",
        "gen_ai.usage.details.input_audio_tokens",
        "llm.token_count.prompt_details.audio",
    ),
    "audio_output_tokens": (
        "gen_ai.usage.output_audio_tokens",
        "gen_ai.usage.details.output_audio_tokens",
        "llm.token_count.completion_details.audio",
    ),
    "cache_read_audio_input_tokens": ("gen_ai.usage.details.cache_audio_read_tokens",),
}
_COUNTED: Final = {*_INPUT, *_OUTPUT, *_TOTAL}.union(*_SUBSETS.values())
_COST: Final = ("gen_ai.usage.cost", "llm.cost.total")  # USD
_MODEL: Final = (
    "gen_ai.response.model",
    "llm.response.model_name",
    "llm.model_name",
    "ai.response.model",
)
_TIER: Final = (
    "openai.response.service_tier",
    "gen_ai.openai.response.service_tier",
)


def read(parts: Sequence[Object], api: str | None = None) -> Found | None:
    """`api` changes nothing. One span is one call: the spans of a trace say the same tokens again
    at every level, so of several with usage none is taken."""
    spans = [found for part in parts if (found := _span(_attributes(part))) is not None]
    if len(spans) > 1:
        raise Unreadable(f"{len(spans)} spans have usage: one span is one call")
    return spans[0] if spans else None


def _attributes(part: Object) -> Object:
    """Of a span, of a span in OTLP's JSON, or the attributes themselves."""
    if isinstance(part.get("attributes"), list):
        return {
            name: _value(block(attribute, "value"))
            for attribute in objects(part, "attributes")
            if (name := text(attribute, "key")) is not None
        }
    return block(part, "attributes") or part


def _value(value: Mapping[str, Any]) -> Any:
    """`{"intValue": "28"}`: OTLP's JSON has 64-bit integers as text."""
    for kind, plain in value.items():
        if kind == "intValue" and isinstance(plain, str) and plain.isdecimal() and len(plain) < 20:
            return int(plain)
        return plain
    return None


def _span(attributes: Object) -> Found | None:
    inputs, outputs = count(attributes, *_INPUT), count(attributes, *_OUTPUT)
    total = count(attributes, *_TOTAL)
    if inputs is None and outputs is None:
        if total:
            raise Unreadable("a span has a total of tokens and no parts of it")
        return None
    inputs, outputs = inputs or 0, outputs or 0
    subsets = {name: count(attributes, *names) or 0 for name, names in _SUBSETS.items()}
    cached = subsets["cache_read_input_tokens"] + subsets["cache_write_input_tokens"]
    conflicts = []
    if cached > inputs or (cached and total == inputs + cached + outputs):
        conflicts.append(f"cached tokens {cached} are not within the input tokens {inputs}")
        inputs += cached
    elif total is not None and total != inputs + outputs:
        conflicts.append(f"the total {total} is not {inputs} input + {outputs} output")
    return Found(
        {"input_tokens": inputs, "output_tokens": outputs, **subsets},
        {name: n for name, n in attributes.items() if name in _COUNTED},
        conflicts,
        model=text(attributes, *_MODEL),
        response_id=text(attributes, "gen_ai.response.id", "ai.response.id"),
        service_tier=text(attributes, *_TIER),
        cost_pico=next((cost for name in _COST if (cost := pico(attributes.get(name)))), None),
    )

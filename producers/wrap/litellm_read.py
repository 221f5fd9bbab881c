"""What a call through LiteLLM used: read from the provider's own answer, which LiteLLM keeps of all
but streams, else from what LiteLLM has read of it.

Seen in LiteLLM 1.110: its `Usage` has everything inside the two totals, whatever the provider does
(Anthropic's cache reads and writes are added to `prompt_tokens`, Gemini's and xAI's thinking to
`completion_tokens`), but for what Gemini's tools put into the prompt. Its `response_cost` is no
provider's: it multiplies floats by a price list of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from spendstream.producers.extract import ExtractedUsage, usage_from
from spendstream.producers.extract.google import searches
from spendstream.producers.extract.plain import Object
from spendstream.producers.wrap.body import without_words
from spendstream.producers.wrap.call import Called
from spendstream.producers.wrap.litellm_names import mapping

_READ_AT_MOST: Final = 1 << 20
"""Characters of a response: beyond are vectors and images, whose JSON would hold up the loop."""
_KEPT: Final = {
    f"ephemeral_{time}_input_tokens": f"cache_write_{time}_input_tokens"
    for time in ("5m", "30m", "1h", "12h")
}


def answer(called: Called, answers: list[Any], response: Any) -> object:
    """What the provider said itself, where LiteLLM has kept it; else what LiteLLM read from it."""
    payload = payload_of(answers[0]) if answers else None
    if payload is not None and usage_from(payload, provider=called.provider) is not None:
        return payload
    if called.otherwise is not None and called.otherwise(payload) is not None:
        return payload or {}
    return put_together(response, sure=payload is None) or payload or {}


def payload_of(answer: object) -> object:
    """None: too long to be read here, or nothing."""
    if isinstance(answer, BaseModel):
        return without_words({**vars(answer), **(answer.model_extra or {})})
    if not isinstance(answer, str) or len(answer) > _READ_AT_MOST:
        return None
    try:
        parsed = json.loads(answer)
    except ValueError:
        return None
    return without_words(parsed) if isinstance(parsed, Mapping) else None


def has_reported(kwargs: Mapping[str, Any], response: object) -> bool:
    """Whether the usage of a stream is the provider's. Where it has sent none LiteLLM counts with a
    tokenizer of its own, and does not say so; such a count has no details."""
    optional = mapping(kwargs.get("optional_params"))
    options = mapping(kwargs.get("stream_options")) or mapping(optional.get("stream_options"))
    details = mapping(_get(response, "usage")).get("prompt_tokens_details")
    by_event = _get(response, "object") == "response"  # its last event has it, or there is none
    return by_event or details is not None or options.get("include_usage") is True


def put_together(response: object, *, sure: bool) -> ExtractedUsage | None:
    """What LiteLLM has read from a response or a stream; not `sure`: it may be its own estimate."""
    block = dict(mapping(_get(response, "usage")))
    details = mapping(block.get("prompt_tokens_details"))
    if tools := _count(details.get("tool_use_tokens")):  # Gemini's, beside the prompt
        block["prompt_tokens"] = _count(block.get("prompt_tokens")) + tools
        block.pop("total_tokens", None)  # has it of whole answers, not of streams
    names = ("model", "id", "service_tier")
    payload = {"usage": block, **{name: _get(response, name) for name in names}}
    usage = usage_from(payload, provider="openai") if block else None
    if usage is None or usage.input_tokens == usage.output_tokens == 0:
        return None  # it has zeros where it knows nothing
    written = mapping(details.get("cache_creation_token_details"))
    changes: dict[str, Any] = {
        "tool_input_tokens": tools,
        "web_searches": _searches(response, block, details, usage.model),
    }
    if sum(kept := [_count(written.get(name)) for name in _KEPT]) == usage.cache_write_input_tokens:
        changes |= dict(zip(_KEPT.values(), kept, strict=True))
    if not sure:
        changes |= {"quality": "estimated", "conflicts": (), "provider_usage": None}
    return usage.model_copy(update=changes)


def _searches(response: object, block: Object, details: Object, model: str | None) -> int:
    grounded = _get(response, "vertex_ai_grounding_metadata")
    if isinstance(grounded, list) and grounded:  # LiteLLM counts what Google does not bill
        return searches([{"groundingMetadata": one} for one in grounded], model)
    by_tool = mapping(block.get("server_tool_use")).get("web_search_requests")
    return _count(by_tool or details.get("web_search_requests"))


def _get(response: object, name: str) -> Any:
    return response.get(name) if isinstance(response, Mapping) else getattr(response, name, None)


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0

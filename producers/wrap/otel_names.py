"""What a span's attributes say of a call, by the conventions and by instrumentations' own names.

Sources: semantic conventions for generative AI (current and deprecated), OpenInference's, the
attributes of traceloop and of Vercel's AI SDK.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from spendstream.producers.extract.providers import OTHER_NAMES
from spendstream.schemas.event import Status, Trackable

Attributes = Mapping[str, Any]

TELLING: Final = (
    "gen_ai.usage.",
    "gen_ai.response.",
    "gen_ai.openai.response.",
    "openai.response.",
    "llm.usage.",
    "llm.token_count.",
    "llm.cost.",
    "llm.model_name",
    "llm.response.model_name",
    "ai.usage.",
    "ai.response.model",
    "ai.response.id",
)
"""Names begin so that say what was used. None is of a prompt or an answer."""
REQUEST_MODEL: Final = ("gen_ai.request.model", "llm.request.model", "ai.model.id")
_RESPONSE_MODEL: Final = ("gen_ai.response.model", "llm.response.model_name", "llm.model_name")
_OPERATIONS: Final = {
    "chat": "chat",
    "completion": "text_completion",
    "text_completion": "text_completion",
    "generate_content": "generate_content",
    "embeddings": "embeddings",
    "embedding": "embeddings",
    "llm": "chat",
    "rerank": "rerank",
    "reranker": "rerank",
    "image_generation": "image_generation",
    "speech": "speech",
    "transcription": "transcription",
    "dogenerate": "chat",
    "dostream": "chat",
    "doembed": "embeddings",
}
"""What instrumentations call a model's call → `gen_ai.operation.name`."""
_KIND: Final = ("gen_ai.operation.name", "openinference.span.kind", "llm.request.type")
_PROVIDERS: Final = {
    **OTHER_NAMES,
    "az.ai.inference": "azure.ai.inference",
    "az.ai.openai": "azure.ai.openai",
    "azure": "azure.ai.openai",
}
_NAMED: Final = ("workspace_id", "user_id", "api_key_id", "request_type", "task_id")
_OURS: Final = "spendstream."
_TAG: Final = "spendstream.tags."


def _kind(attributes: Attributes) -> str | None:
    vercel = text(
        attributes, "ai.operationId"
    )  # ai.generateText, within it ai.generateText.doGenerate
    kind = text(attributes, *_KIND) or (vercel and vercel.rpartition(".")[2])
    return kind.lower() if kind else None


def calls_a_model(attributes: Attributes) -> bool | Literal["perhaps"]:
    """`perhaps`: it does not say what it is; where it has usage it is taken for a call."""
    kind = _kind(attributes)
    return "perhaps" if kind is None else kind in _OPERATIONS


def operation(attributes: Attributes) -> str:
    return _OPERATIONS.get(_kind(attributes) or "", "chat")


def provider(attributes: Attributes) -> str:
    name = text(attributes, "gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system")
    if name is None:  # openai.chat, anthropic.messages
        name = (text(attributes, "ai.model.provider") or "unknown").partition(".")[0]
    return _PROVIDERS.get(name.lower(), name.lower())


def answered(attributes: Attributes) -> dict[str, Any]:
    """What is known of an answer without usage."""
    return {
        "response_model": text(attributes, *_RESPONSE_MODEL),
        "response_id": text(attributes, "gen_ai.response.id", "ai.response.id"),
    }


def status(attributes: Attributes, *, failed: bool) -> Status:
    error = text(attributes, "error.type") or ""
    if "Cancelled" in error or "GeneratorExit" in error:
        return "cancelled"
    return "error" if failed or error else "ok"


def first_token_ms(attributes: Attributes) -> int | None:
    seconds = attributes.get("gen_ai.response.time_to_first_chunk")
    if isinstance(seconds, int | float):
        return round(seconds * 1000)
    ms = attributes.get("ai.response.msToFirstChunk")
    return round(ms) if isinstance(ms, int | float) else None


def who(attributes: Attributes, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What the span's own attributes say, else what `track` said where it began. Not its baggage:
    that comes along with a request from outside, and would let a client choose who pays."""
    said = {name: value for name in _NAMED if (value := text(attributes, _OURS + name))}
    kind = text(attributes, f"{_OURS}trackable.type")
    if kind is not None and (id := text(attributes, f"{_OURS}trackable.id")) is not None:
        return {
            **fields,
            **said,
            "trackable": Trackable(type=kind, id=id),
            **_tags(attributes, fields),
        }
    return {**fields, **said, **_tags(attributes, fields)}


def _tags(attributes: Attributes, fields: Mapping[str, Any]) -> dict[str, Any]:
    own = {
        name.removeprefix(_TAG): value
        for name, value in attributes.items()
        if name.startswith(_TAG) and isinstance(value, str)
    }
    return {"tags": {**fields.get("tags", {}), **own}} if own else {}


def text(attributes: Attributes, *names: str) -> str | None:
    for name in names:
        value = attributes.get(name)
        if isinstance(value, str) and value:
            return value
    return None

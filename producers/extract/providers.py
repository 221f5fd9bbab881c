"""Which file reads which provider's responses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from spendstream.producers.extract import (
    anthropic,
    bedrock,
    cohere,
    deepseek,
    google,
    groq,
    mistral,
    moonshot,
    ollama,
    openai,
    openrouter,
    otel,
    perplexity,
    xai,
)
from spendstream.producers.extract.found import Found
from spendstream.producers.extract.plain import Object

Reader = Callable[[Sequence[Object], str | None], Found | None]
"""(the response, or a stream's chunks in order; the interface, where it is known) → what it used;
None: no usage in it. Raises Unreadable."""

_READERS: Final[dict[str, Reader]] = {
    "anthropic": anthropic.read,
    "aws.bedrock": bedrock.read,
    "azure.ai.inference": openai.read,
    "azure.ai.openai": openai.read,
    "cohere": cohere.read,
    "deepseek": deepseek.read,
    "gcp.gemini": google.read,
    "gcp.gen_ai": google.read,
    "gcp.vertex_ai": google.read,
    "groq": groq.read,
    "mistral_ai": mistral.read,
    "moonshot_ai": moonshot.read,
    "ollama": ollama.read,
    "openai": openai.read,
    "openrouter": openrouter.read,
    "otel": otel.read,
    "perplexity": perplexity.read,
    "x_ai": xai.read,
}


OTHER_NAMES: Final = {
    "amazon_bedrock": "aws.bedrock",
    "aws": "aws.bedrock",
    "aws_bedrock": "aws.bedrock",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "google": "gcp.gemini",
    "google_genai": "gcp.gemini",
    "mistral": "mistral_ai",
    "mistralai": "mistral_ai",
    "moonshot": "moonshot_ai",
    "vertex_ai": "gcp.vertex_ai",
    "vertexai": "gcp.vertex_ai",
    "xai": "x_ai",
}
"""What the same providers are called elsewhere. Read as OpenAI's, their figures would be wrong."""
_MESSAGES: Final = frozenset({anthropic.read, bedrock.read, google.read})
"""These tell Anthropic's shape themselves."""


def known_as(provider: str) -> str:
    """OpenTelemetry's name of a provider; one that is not known keeps its own."""
    name = provider.strip().lower()
    known = OTHER_NAMES.get(name, name)
    return known if known in _READERS else provider


def reader_of(provider: str, parts: Sequence[Object]) -> Reader:
    """Of a provider that is not known: as compatible with OpenAI's, or with Anthropic's, as many
    are with both."""
    read = _READERS.get(known_as(provider), openai.read)
    if read not in _MESSAGES and any(_is_message(part) for part in parts):
        return anthropic.read
    return read


def _is_message(part: Object) -> bool:
    kind = part.get("type")
    return kind in ("message_start", "message_delta") or (
        kind == "message" and "stop_reason" in part
    )

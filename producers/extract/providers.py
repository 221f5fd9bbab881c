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


def reader_of(provider: str) -> Reader:
    """Of a provider that is not known: as compatible with OpenAI's."""
    return _READERS.get(provider, openai.read)

"""Groq: OpenAI's shapes; a stream's last chunk has its usage under `x_groq`, whether it was asked
for or not. Source: Groq's SDK, `ChatCompletionChunk.x_groq`."""

from __future__ import annotations

from collections.abc import Sequence

from spendstream.producers.extract import openai
from spendstream.producers.extract.counts import block
from spendstream.producers.extract.found import Found
from spendstream.producers.extract.plain import Object


def read(parts: Sequence[Object], api: str | None = None) -> Found | None:
    return openai.read([_without_envelope(part) for part in parts], api)


def _without_envelope(part: Object) -> Object:
    usage = block(part, "x_groq", "usage")
    return {**part, "usage": usage} if usage and not part.get("usage") else part

"""Moonshot: OpenAI's shapes; a stream's usage stands in its last choice, `cached_tokens` beside the
totals (which `openai` reads for all). Source: Moonshot's API reference, streaming."""

from __future__ import annotations

from collections.abc import Sequence

from spendstream.producers.extract import openai
from spendstream.producers.extract.counts import block, objects
from spendstream.producers.extract.found import Found
from spendstream.producers.extract.plain import Object


def read(parts: Sequence[Object], api: str | None = None) -> Found | None:
    return openai.read([_from_choice(part) for part in parts], api)


def _from_choice(part: Object) -> Object:
    if part.get("usage"):
        return part
    for choice in objects(part, "choices"):
        if usage := block(choice, "usage"):
            return {**part, "usage": usage}
    return part

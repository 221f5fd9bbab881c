"""Cohere: chat v1 and v2, their streams, embed, rerank, parse.

There are two counts: `billed_units` is what is paid for, `tokens` what the model saw, with the
prompt that Cohere puts around a request (SDK types `UsageBilledUnits`, `UsageTokens`). The billed
ones are the usage. `cached_tokens` is a part of what the model saw, often more than all that was
billed, and has no price: it is never subtracted. Counts are floats on the wire.
"""

from __future__ import annotations

from collections.abc import Sequence

from spendstream.producers.extract import openai
from spendstream.producers.extract.counts import block, count, inner, text
from spendstream.producers.extract.found import Found
from spendstream.producers.extract.plain import Object


def read(parts: Sequence[Object], api: str | None = None) -> Found | None:
    """`api` changes nothing: every shape says what it is. The OpenAI-compatible endpoint's shapes
    go to their own file."""
    if any(isinstance(part.get("choices"), list) for part in parts):
        return openai.read(parts, api)
    found = None
    for part in parts:
        # v2 ends a stream with `message-end`, v1 with `stream-end`; else it is a whole response
        body = inner(part, "delta") or inner(part, "response") or part
        usage = block(body, "usage") or block(body, "meta")
        found = _found(usage) or found
    if found is not None:
        found.response_id = _named(parts, "id", "response_id", "generation_id")
        found.model = _named(parts, "model")
    return found


def _found(usage: Object) -> Found | None:
    billed = block(usage, "billed_units")
    # an endpoint of one's own bills nothing, and names only what the model saw
    tokens = billed or block(usage, "tokens")
    inputs = count(tokens, "input_tokens")
    images = count(billed, "image_tokens")
    texts = count(billed, "text_tokens")
    named = {
        "output_tokens": count(tokens, "output_tokens"),
        "image_input_tokens": images,
        "images": count(billed, "images"),
        "pages": count(billed, "pages"),
        "search_units": count(billed, "search_units"),
    }
    if inputs is None and texts is None and all(n is None for n in named.values()):
        return None
    kinds = (texts or 0) + (images or 0)  # embeddings may name the two alone
    counts = {name: n or 0 for name, n in named.items()}
    return Found({"input_tokens": kinds if inputs is None else inputs, **counts}, usage)


def _named(parts: Sequence[Object], *names: str) -> str | None:
    for part in parts:
        if found := text(part, *names) or text(inner(part, "response"), *names):
            return found
    return None

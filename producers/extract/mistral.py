"""Mistral: chat, responses, embeddings, audio, conversations in OpenAI's shapes; OCR by the page.

Cached and reasoning tokens are inside the two totals. Audio is billed by its seconds: its tokens
are in `total_tokens` and in nothing else. What connectors brought into a conversation stands
beside the prompt (SDK types `UsageInfo`, `ConversationUsageInfo`, `OCRUsageInfo`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from spendstream.producers.extract import openai
from spendstream.producers.extract.counts import block, count, milliseconds, named, number, text
from spendstream.producers.extract.found import Found, added
from spendstream.producers.extract.plain import Object


def read(parts: Sequence[Object], api: str | None = None) -> Found | None:
    """`api` changes nothing: every shape says what it is."""
    lines = [part for part in parts if "custom_id" in part]
    if lines:
        found = added(read([block(line, "response", "body")]) for line in lines)
        if found is not None:
            found.batch = True
        return found
    chunks = [_without_envelope(part) for part in parts]
    found = openai.read(chunks, api)
    if found is None:
        return _pages(chunks)
    _correct(found)
    return found


def _without_envelope(part: Object) -> Object:
    """The SDK's streams have each chunk in an event's `data`; that of embeddings is a list."""
    data = part.get("data")
    return data if isinstance(data, Mapping) else part


def _correct(found: Found) -> None:
    usage, counts = found.block, found.counts
    seconds = milliseconds(usage, "prompt_audio_seconds")
    brought_in = number(usage, "connector_tokens")
    connectors = block(usage, "connectors")
    total = count(usage, "total_tokens")
    if total != counts["input_tokens"] + counts["output_tokens"]:
        counts["input_tokens"] += brought_in
        if seconds or total == counts["input_tokens"] + counts["output_tokens"]:
            found.conflicts.clear()
    counts |= {
        "cache_read_input_tokens": counts["cache_read_input_tokens"]
        or number(usage, "num_cached_tokens"),
        "tool_input_tokens": brought_in,
        "audio_input_ms": seconds,
        "web_searches": number(connectors, "web_search") + number(connectors, "web_search_premium"),
    }
    found.service_tier = text(usage, "service_tier") or found.service_tier


def _pages(chunks: Sequence[Object]) -> Found | None:
    for chunk in chunks:
        usage = block(chunk, "usage_info")
        pages = count(usage, "pages_processed")
        if pages is not None:
            counts = {"input_tokens": 0, "output_tokens": 0, "pages": pages}
            return Found(counts, usage, model=named(chunks, "model"))
    return None

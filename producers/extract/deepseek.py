"""DeepSeek: OpenAI's shapes, and in chat the prompt once more as cache hits and misses.

`prompt_tokens = prompt_cache_hit_tokens + prompt_cache_miss_tokens`. Source: DeepSeek's API
reference, "context caching".
"""

from __future__ import annotations

from collections.abc import Sequence

from spendstream.producers.extract import openai
from spendstream.producers.extract.counts import count
from spendstream.producers.extract.found import Found
from spendstream.producers.extract.plain import Object


def read(parts: Sequence[Object], api: str | None = None) -> Found | None:
    found = openai.read(parts, api)
    if found is None:
        return None
    hit = count(found.block, "prompt_cache_hit_tokens")
    miss = count(found.block, "prompt_cache_miss_tokens")
    if hit is not None:
        found.counts["cache_read_input_tokens"] = hit
    if hit is not None and miss is not None and hit + miss != found.counts["input_tokens"]:
        found.conflicts.append(
            f"prompt_tokens {found.counts['input_tokens']} is not {hit} hits + {miss} misses"
        )
    return found

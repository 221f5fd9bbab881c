"""xAI: OpenAI's shapes with other sums, the SDK's protobuf messages, Anthropic's shape.

In chat reasoning stands beside `completion_tokens` and cached tokens are inside `prompt_tokens`; in
the Responses API both are inside ("Prompt caching: usage and pricing"). There are responses in
which it is otherwise, so where `total_tokens` is there it decides. `cost_in_usd_ticks` is what the
request was charged, its tools and discounts included ("Cost tracking").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Final

from spendstream.producers.extract import anthropic, estimate, openai
from spendstream.producers.extract.counts import block, count, milliseconds, number, objects, text
from spendstream.producers.extract.ending import cut_off
from spendstream.producers.extract.found import Found, added
from spendstream.producers.extract.plain import Object

PICO_PER_TICK: Final = 100
_MAX_TICKS: Final = 10**16  # a million USD
_WEB_SEARCH: Final = ("SERVER_SIDE_TOOL_WEB_SEARCH", 1)  # the enum by name or by number
_IMAGE: Final = frozenset({"url", "b64_json", "base64"})


def read(parts: Sequence[Object], api: str | None = None) -> Found | None:
    """`api` changes nothing: every shape says what it is."""
    if any(part.get("type") in ("message", "message_start") for part in parts):
        return anthropic.read(parts, api)
    turns = [part for part in parts if part.get("type") == "response.done"]
    if turns:
        return added(_turn(turn) for turn in turns)
    found = openai.read(parts, api)
    if found is None:
        return _charged(parts)
    _settle_sums(found)
    _tools_and_cost(found)
    found.service_tier = _tier(found.service_tier)
    # only the last chunk's usage is what is billed (comment on `GetChatCompletionChunk.usage`)
    if cut_off(list(_choices(parts))):
        seen = estimate.tokens(parts, found.model)
        found.counts["output_tokens"] = max(found.counts["output_tokens"], seen)
        found.estimated = True
    return found


def _turn(event: Object) -> Found | None:
    """A response of a realtime session: its usage stands beside it, and its own is empty."""
    usage = block(event, "usage") or block(event, "response", "usage")
    found = openai.tokens(usage)
    if found is None:
        return None
    # voice is billed by this time, not by its tokens, and not by `output_audio_seconds`
    found.counts["audio_input_ms"] = milliseconds(usage, "billable_audio_seconds")
    found.model = text(block(event, "response"), "model")
    found.response_id = text(block(event, "response"), "id") or text(event, "response_id")
    _tools_and_cost(found)
    return found


def _settle_sums(found: Found) -> None:
    """Whether cached and reasoning tokens are in their totals: of the readings that are possible
    the first whose sum is the total, in the documented one's favour."""
    usage, counts = found.block, found.counts
    prompt, answer = counts["input_tokens"], counts["output_tokens"]
    # `SamplingUsage` of the SDK has everything at the top
    cached = counts["cache_read_input_tokens"] or number(usage, "cached_prompt_text_tokens")
    reasoning = counts["reasoning_output_tokens"]
    total = count(usage, "total_tokens")
    beside = "prompt_tokens" in usage  # chat
    sums = {
        (inputs, outputs): inputs + outputs
        for inputs, outputs in product(
            (prompt, prompt + cached),
            (answer + reasoning, answer) if beside else (answer, answer + reasoning),
        )
        if cached <= inputs and reasoning <= outputs
    }
    fitting = [reading for reading, n in sums.items() if n == total]
    inputs, outputs = (fitting or list(sums))[0]
    found.conflicts.clear()
    if total is not None and not fitting:
        found.conflicts.append(f"total_tokens {total} is not {inputs} input + {outputs} output")
    counts |= {
        "input_tokens": inputs,
        "output_tokens": outputs,
        "cache_read_input_tokens": cached,
        "image_input_tokens": counts["image_input_tokens"] or number(usage, "prompt_image_tokens"),
    }


def _tools_and_cost(found: Found) -> None:
    usage = found.block
    calls = number(block(usage, "server_side_tool_usage_details"), "web_search_calls")
    used = usage.get("server_side_tools_used")  # the SDK's: one entry a call
    if isinstance(used, list):
        calls = max(calls, sum(tool in _WEB_SEARCH for tool in used))
    found.counts["web_searches"] = calls
    found.cost_pico = _cost(usage)


def _cost(usage: Object) -> int | None:
    ticks = usage.get("cost_in_usd_ticks")
    if isinstance(ticks, str) and ticks.isdecimal() and len(ticks) < 20:
        ticks = int(ticks)  # JSON of protobuf writes an int64 as text
    if not isinstance(ticks, int) or isinstance(ticks, bool) or not 0 <= ticks < _MAX_TICKS:
        return None
    return ticks * PICO_PER_TICK


def _charged(parts: Sequence[Object]) -> Found | None:
    """Images and videos: their usage may be a charge and nothing else."""
    for part in reversed(parts):
        usage = block(part, "usage")
        cost = _cost(usage)
        if cost is not None:
            counts = {"input_tokens": 0, "output_tokens": 0, "images": _images(part)}
            return Found(counts, usage, model=text(part, "model"), cost_pico=cost)
    return None


def _images(body: Object) -> int:
    drawn = body.get("data") or body.get("images")  # REST, SDK
    if not isinstance(drawn, list):
        return 0
    return sum(isinstance(one, dict) and not _IMAGE.isdisjoint(one) for one in drawn)


def _tier(named: str | None) -> str | None:
    """`SERVICE_TIER_PRIORITY` of the SDK is `priority`."""
    tier = (named or "").removeprefix("SERVICE_TIER_").lower()
    return None if tier in ("", "unspecified") else tier


def _choices(parts: Sequence[Object]) -> Iterator[Object]:
    for part in parts:
        yield from objects(part, "choices")
        yield from objects(part, "outputs")  # the SDK's name

"""Google: Gemini's generate_content, Live and Interactions, embeddings, and what else Vertex hosts.

`promptTokenCount` holds the cached tokens; what the provider's own tools brought into the prompt,
and the thoughts, stand beside the prompt and the candidates; `totalTokenCount` is the sum of the
four (SDK type `GenerateContentResponseUsageMetadata`). In a stream the counts are cumulative. In a
Live session each turn has its own, and the wire's total leaves the thoughts out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from spendstream.producers.extract import anthropic, estimate, openai
from spendstream.producers.extract.counts import block, count, number, objects, text
from spendstream.producers.extract.found import Found, added
from spendstream.producers.extract.plain import Object, Unreadable

_MODALITIES: Final[dict[object, str]] = {
    "IMAGE": "image",
    "VIDEO": "video",
    "AUDIO": "audio",
    "DOCUMENT": "image",  # is priced as images are
    # the same enum where Vertex sends numbers (google.cloud.aiplatform.v1.Modality)
    2: "image",
    3: "video",
    4: "audio",
    5: "image",
}
_TRAFFIC: Final[dict[object, str]] = {
    "PROVISIONED_THROUGHPUT": "provisioned_throughput",
    "ON_DEMAND_PRIORITY": "priority",
    "ON_DEMAND_FLEX": "flex",
    "ON_DEMAND_OFFPEAK": "offpeak",
    2: "provisioned_throughput",
    3: "priority",
    4: "flex",
}
"""Service tiers in Vertex' `trafficType`; plain `ON_DEMAND` names none."""
_SDK_NAMES: Final = frozenset(
    {"usage_metadata", "model_version", "response_id", "candidates_token_count", "server_content"}
)
_INTERACTION: Final = {
    "total_input_tokens": "promptTokenCount",
    "total_tool_use_tokens": "toolUsePromptTokenCount",
    "total_cached_tokens": "cachedContentTokenCount",
    "total_output_tokens": "candidatesTokenCount",
    "total_thought_tokens": "thoughtsTokenCount",
    "total_reasoning_tokens": "thoughtsTokenCount",  # its name in the first preview
    "total_tokens": "totalTokenCount",
    "input_tokens_by_modality": "promptTokensDetails",
    "tool_use_tokens_by_modality": "toolUsePromptTokensDetails",
    "cached_tokens_by_modality": "cacheTokensDetails",
    "output_tokens_by_modality": "candidatesTokensDetails",
}
_KINDS: Final = ("audio", "image", "video")
_READ_IN: Final = {kind: f"{kind}_input_tokens" for kind in _KINDS}
_FROM_CACHE: Final = {kind: f"cache_read_{kind}_input_tokens" for kind in _KINDS}
_WRITTEN: Final = {kind: f"{kind}_output_tokens" for kind in _KINDS}
_PROMPT_DETAILS: Final = ("promptTokensDetails", "promptTokenDetails")  # embeddings' have no s
_ANSWER_DETAILS: Final = ("candidatesTokensDetails", "responseTokensDetails")
_SPOKEN: Final = ("modelTurn", "outputTranscription")


def read(parts: Sequence[Object], api: str | None = None) -> Found | None:
    """`api` matters for `live` alone, whose bare usage messages look like a stream's chunks."""
    lines = [
        part for part in parts if "response" in part and not {"key", "request"}.isdisjoint(part)
    ]
    if lines:  # of a batch's output: Gemini's have a key, Vertex' the request
        found = added(read([block(line, "response")], api) for line in lines)
        if found is not None:
            found.batch = True
        return found
    wire = [_on_the_wire(part) for part in parts]
    return (
        _interaction(wire)
        or _session(wire, api)
        or _generated(wire)
        or _embedded(wire)
        or _hosted(wire, api)
    )


def _on_the_wire(part: Object) -> Object:
    """By the names of the REST API, where an SDK's object was dumped by its own."""
    inner = part.get("response")
    if isinstance(inner, Mapping) and "usageMetadata" in inner:  # Code Assist wraps every chunk
        part = inner
    if _SDK_NAMES.isdisjoint(part):
        return part
    renamed: Object = _camel(part)
    return renamed


def _camel(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {re.sub(r"_(\w)", _upper, name): _camel(item) for name, item in value.items()}
    return [_camel(item) for item in value] if isinstance(value, list) else value


def _upper(match: re.Match[str]) -> str:
    return match[1].upper()


def _generated(parts: Sequence[Object]) -> Found | None:
    """A response, or a stream: every count as it was last said."""
    said: dict[str, Any] = {}
    for part in parts:
        metadata = block(part, "usageMetadata")
        said |= {name: value for name, value in metadata.items() if value is not None}
    found = _tokens(said)
    if found is None:
        return None
    for part in parts:
        found.model = text(part, "modelVersion") or found.model
        found.response_id = text(part, "responseId") or found.response_id
    candidates = [candidate for part in parts for candidate in objects(part, "candidates")]
    found.counts["web_searches"] = searches(candidates, found.model)
    if found.counts["output_tokens"] and count(said, "promptTokenCount") is None:
        found.conflicts.append("promptTokenCount is missing")
    blocked = any(block(part, "promptFeedback").get("blockReason") for part in parts)
    # without a reason to finish the model has not stopped (reference of `Candidate`)
    if candidates and not blocked and not any(one.get("finishReason") for one in candidates):
        seen = estimate.tokens(parts, found.model)
        found.counts["output_tokens"] = max(found.counts["output_tokens"], seen)
        found.estimated = True
    return found


def _session(parts: Sequence[Object], api: str | None) -> Found | None:
    """Live: every turn is billed for the whole context anew, so the turns add up. What the model
    said after the last usage is estimated."""
    live = any(
        "serverContent" in part or "responseTokenCount" in block(part, "usageMetadata")
        for part in parts
    ) or (api == "live" and not any("candidates" in part for part in parts))
    if not live:
        return None
    turns = [_tokens(block(part, "usageMetadata"), live=True) for part in parts]
    found = added(turns)
    last = max((at for at, turn in enumerate(turns) if turn is not None), default=-1)
    contents = [block(part, "serverContent") for part in parts]
    unsaid = [block(content, name) for content in contents[last + 1 :] for name in _SPOKEN]
    seen = estimate.tokens(unsaid, None)
    if seen:
        rest = Found({"input_tokens": 0, "output_tokens": seen}, estimated=True)
        found = added([found, rest])
    if found is not None:
        found.counts["web_searches"] = sum(searches([content], None) for content in contents)
    return found


def _interaction(parts: Sequence[Object]) -> Found | None:
    """The Interactions API: the same counts by other names; in a stream the last one stands."""
    found = None
    for part in parts:
        body = block(part, "interaction") or part
        usage = block(body, "usage") or block(part, "metadata", "total_usage")
        said = {_INTERACTION[name]: n for name, n in usage.items() if name in _INTERACTION}
        if "promptTokenCount" not in said and "candidatesTokenCount" not in said:
            continue  # OpenAI's usage has a `total_tokens` too
        found = _tokens(said) or found
        if found is None:
            continue
        found.block = usage
        # a step's usage is what was used so far
        running = text(body, "status") in ("in_progress", "queued")
        found.estimated = running or (body is part and "event_type" in part)
        found.counts["web_searches"] = sum(
            number(used, "count")
            for used in objects(usage, "grounding_tool_count")
            if used.get("type") == "google_search"
        )
    if found is None:
        return None
    for part in parts:
        body = block(part, "interaction") or part
        found.model = text(body, "model", "agent") or found.model
        found.response_id = text(body, "id") or text(part, "interaction_id") or found.response_id
        found.service_tier = _tier({"serviceTier": body.get("service_tier")}) or found.service_tier
    if found.estimated:
        seen = estimate.tokens(parts, found.model)
        found.counts["output_tokens"] = max(found.counts["output_tokens"], seen)
    return found


def _tokens(usage: Object, live: bool = False) -> Found | None:
    """A usage block by the names of the wire; None: there is no count in it."""
    prompt = count(usage, "promptTokenCount")
    tools = count(usage, "toolUsePromptTokenCount")
    answer = count(usage, "candidatesTokenCount", "responseTokenCount")
    thoughts = count(usage, "thoughtsTokenCount")
    total = count(usage, "totalTokenCount")
    if prompt is None and tools is None and answer is None and thoughts is None:
        if total:
            raise Unreadable("usageMetadata has a total and no parts of it")
        return None
    prompt, tools, answer, thoughts = prompt or 0, tools or 0, answer or 0, thoughts or 0
    inputs, outputs = prompt + tools, answer + thoughts
    found = Found({"input_tokens": inputs, "output_tokens": outputs}, usage)
    sums = {inputs + outputs, inputs + answer} if live else {inputs + outputs}
    if total is not None and total not in sums:
        if total == inputs + answer and thoughts <= answer:
            # the Gemini API of spring 2025; the total, which holds the thoughts, tells
            found.counts["output_tokens"] = answer
            found.conflicts.append(
                f"totalTokenCount {total} has room for thoughtsTokenCount {thoughts} only inside"
                f" candidatesTokenCount {answer}"
            )
        else:  # which part the rest belongs to is not said, and their prices differ
            found.conflicts.append(
                f"totalTokenCount {total} is not {inputs} input + {outputs} output"
            )
    cached = number(usage, "cachedContentTokenCount")
    read_in = _by_modality(usage, _PROMPT_DETAILS, prompt, found)
    read_in += _by_modality(usage, ("toolUsePromptTokensDetails",), tools, found)
    from_cache = _by_modality(usage, ("cacheTokensDetails",), cached, found)
    written = _by_modality(usage, _ANSWER_DETAILS, answer, found)
    found.counts |= {
        "cache_read_input_tokens": cached,
        "tool_input_tokens": tools,
        "reasoning_output_tokens": thoughts,
    }
    for kinds, named in ((read_in, _READ_IN), (from_cache, _FROM_CACHE), (written, _WRITTEN)):
        for kind, name in named.items() if kinds else ():
            found.counts[name] = kinds[kind]
    found.service_tier = _tier(usage)
    return found


def _by_modality(usage: Object, names: Sequence[str], total: int, found: Found) -> Counter[str]:
    """Tokens by kind. They may be fewer than their total: formatting has no modality."""
    name = next((name for name in names if usage.get(name) is not None), names[0])
    kinds: Counter[str] = Counter()
    if usage.get(name) is None:  # mostly
        return kinds
    for detail in objects(usage, name):
        modality = detail.get("modality")
        if isinstance(modality, str):
            modality = modality.upper()  # Interactions says `text`
        known = isinstance(modality, str | int)
        kind = _MODALITIES.get(modality, "text") if known else "text"
        kinds[kind] += number(detail, "tokenCount", "tokens")
    if kinds.total() > total:
        found.conflicts.append(f"{name} add up to {kinds.total()}, their total is {total}")
    return kinds


def _tier(usage: Object) -> str | None:
    """`serviceTier` is the Gemini API's, `trafficType` Vertex'."""
    named = text(usage, "serviceTier")
    if named is not None:
        named = named.lower()
        return None if named == "unspecified" else named
    traffic = usage.get("trafficType")
    return _TRAFFIC.get(traffic) if isinstance(traffic, str | int) else None


def searches(grounded: Sequence[Object], model: str | None) -> int:
    """Billed Google searches ("Grounding with Google Search", pricing): from Gemini 3 on every
    query that is not empty and no repeat, before it the prompt, however many there were."""
    queries = set()
    for one in grounded:
        asked = block(one, "groundingMetadata").get("webSearchQueries")
        if isinstance(asked, list):
            queries |= {query for query in asked if isinstance(query, str) and query.strip()}
    version = re.search(r"gemini-(\d+)", model or "")
    if version is not None and version[1] in ("1", "2"):
        return min(len(queries), 1)
    return len(queries)


def _embedded(parts: Sequence[Object]) -> Found | None:
    """Embeddings of Vertex, an input's tokens with each (SDK type `ContentEmbeddingStatistics`);
    where `usageMetadata` says them they have been read from there."""
    found = None
    for part in parts:
        embeddings = objects(part, "embeddings")
        embeddings += [block(one, "embeddings") for one in objects(part, "predictions")]
        for embedding in embeddings:
            statistics = block(embedding, "statistics")
            tokens = count(statistics, "token_count", "tokenCount")
            if tokens is not None:
                one = Found({"input_tokens": tokens, "output_tokens": 0}, statistics)
                kinds = _by_modality(_camel(statistics), ("tokensDetails",), tokens, one)
                for kind in ("audio", "image", "video"):
                    one.counts[f"{kind}_input_tokens"] = kinds[kind]
                found = added([found, one])
    return found


def _hosted(parts: Sequence[Object], api: str | None) -> Found | None:
    """Claude on Vertex answers in Anthropic's shape; all else, Gemini too, in OpenAI's."""
    if any(_is_claude(part) for part in parts):
        return anthropic.read(parts, api)
    found = openai.read(parts, api)
    total = None if found is None else count(found.block, "total_tokens")
    if found is None or total is None or "prompt_tokens" not in found.block:
        return found
    counts = found.counts
    beside = total - counts["input_tokens"] - counts["output_tokens"]
    if beside > 0 and counts.get("reasoning_output_tokens", 0) in (0, beside):
        # Gemini's completion_tokens leave the thinking out, which this endpoint has no field for
        # and which is billed as output; its total holds it, says Google
        # (discuss.ai.google.dev/t/98760)
        counts["output_tokens"] += beside
        counts["reasoning_output_tokens"] = beside
    return found


def _is_claude(part: Object) -> bool:
    model = text(part, "model") or ""
    return part.get("type") in ("message", "message_start") or (
        model.startswith("claude") and "choices" not in part
    )

"""Amazon Bedrock: Converse and ConverseStream, and what models answer to InvokeModel.

Converse counts as Anthropic does: `inputTokens` is what was neither read from a cache nor written
to one, and `totalTokens` adds up all of it (`TokenUsage` in the service's model; "Prompt caching").
InvokeModel answers in the model's own shape. Beside that Bedrock counts itself: in
`amazon-bedrock-invocationMetrics`, on the last event of a stream, and in headers. Some models
count nowhere else: hand in the body with boto3's `ResponseMetadata` for those,

    usage_from(json.load(response["body"]) | {"ResponseMetadata": response["ResponseMetadata"]}, …)
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Final

from spendstream.producers.extract import anthropic, cohere, estimate
from spendstream.producers.extract.counts import NOTHING, count, inner, number, objects, text
from spendstream.producers.extract.found import Found, added
from spendstream.producers.extract.plain import Object

_METRICS: Final = "amazon-bedrock-invocationMetrics"
_HEADER: Final = "x-amzn-bedrock-"
_LIFETIMES: Final = {"5m": "cache_write_5m_input_tokens", "1h": "cache_write_1h_input_tokens"}
"""What `CacheTTL` may be."""


def read(parts: Sequence[Object], api: str | None = None) -> Found | None:
    """`api` changes nothing: every shape says what it is."""
    lines = [part for part in parts if "modelInput" in part and "recordId" in part]
    if lines:
        return added(_batch_line(line, api) for line in lines)
    parts = [_opened(part) for part in parts]
    found = _converse(parts) or _titan(parts) or _llama(parts) or cohere.read(parts, api)
    if found is None:
        # Claude's messages; the Responses, Chat and Messages endpoints of Bedrock
        found = anthropic.read(parts, api)
    found = _with_bedrocks(found, _bedrocks(parts))
    if found is not None:
        metadata = _first(parts, "ResponseMetadata")
        found.response_id = found.response_id or text(metadata, "RequestId")
        found.service_tier = found.service_tier or text(_headers(parts), "service-tier")
    return found


def _batch_line(line: Object, api: str | None) -> Found | None:
    """Of a batch job's output file; a record that failed has `error` instead of `modelOutput`."""
    found = read([inner(line, "modelOutput")], api)
    if found is not None:
        found.batch = True
    return found


def _opened(part: Object) -> Object:
    """An event of a stream as it is on the wire: `{"chunk": {"bytes": <base64 of JSON>}}`."""
    packed = inner(part, "chunk").get("bytes") or part.get("bytes")
    if isinstance(packed, str):
        try:
            event = json.loads(base64.b64decode(packed, validate=True))
        except (ValueError, RecursionError):
            return part
        return event if isinstance(event, dict) else part
    return part


def _converse(parts: Sequence[Object]) -> Found | None:
    """Also what Amazon's Nova models answer to InvokeModel, which has some other names."""
    found = None
    for part in parts:
        body = inner(part, "metadata") or part
        usage = inner(body, "usage")
        if not usage.keys().isdisjoint({"inputTokens", "outputTokens"}):
            found = _tokens(usage)
            if count(usage, "inputTokens") is None or count(usage, "outputTokens") is None:
                found.estimated = True  # a guardrail may keep one of them back
                seen = estimate.tokens(parts, None)
                found.counts["output_tokens"] = max(found.counts["output_tokens"], seen)
            found.model = text(body, "model") or text(
                inner(inner(body, "trace"), "promptRouter"), "invokedModelId"
            )
            found.service_tier = _tier(body)
    return found


def _tokens(usage: Object) -> Found:
    read = number(usage, "cacheReadInputTokens", "cacheReadInputTokenCount")
    details = dict.fromkeys(_LIFETIMES, 0)
    for detail in objects(usage, "cacheDetails"):
        lifetime = text(detail, "ttl")
        if lifetime in _LIFETIMES:
            details[lifetime] += number(detail, "inputTokens")
    written = count(usage, "cacheWriteInputTokens", "cacheWriteInputTokenCount")
    detailed = sum(details.values())
    if written is None:
        written = detailed
    inputs = number(usage, "inputTokens") + read + written
    outputs = number(usage, "outputTokens")
    found = Found(
        {
            "input_tokens": inputs,
            "output_tokens": outputs,
            "cache_read_input_tokens": read,
            "cache_write_input_tokens": written,
            **{_LIFETIMES[lifetime]: n for lifetime, n in details.items()},
        },
        usage,
    )
    if objects(usage, "cacheDetails") and detailed < written:
        found.conflicts.append(f"cacheDetails add up to {detailed} of {written} tokens written")
    total = count(usage, "totalTokens")
    if total is not None and total != inputs + outputs:
        found.conflicts.append(f"totalTokens {total} is not {inputs} input + {outputs} output")
    return found


def _tier(body: Object) -> str | None:
    """Inference that is optimized for latency has a price of its own, and no tier but the default
    ("Optimize model inference for latency")."""
    tier = text(inner(body, "serviceTier"), "type")
    latency = text(inner(body, "performanceConfig"), "latency")
    return "optimized" if latency == "optimized" and tier in (None, "default") else tier


def _titan(parts: Sequence[Object]) -> Found | None:
    """Titan's text and embeddings; a stream counts what was made in its last event."""
    inputs = outputs = None
    written = False
    for part in parts:
        inputs = _later(inputs, count(part, "inputTextTokenCount"))
        outputs = _later(outputs, count(part, "totalOutputTextTokenCount"))
        if results := objects(part, "results"):
            outputs = sum(number(result, "tokenCount") for result in results)
        written = written or "outputText" in part
    if inputs is None:
        return None
    if outputs is None and not written:
        outputs = 0  # embeddings
    names = "inputTextTokenCount", "totalOutputTextTokenCount"
    return _counted(parts, "outputText", dict(zip(names, (inputs, outputs), strict=True)))


def _llama(parts: Sequence[Object]) -> Found | None:
    """Meta's models: a stream's first event counts the prompt, each what was made so far."""
    inputs = outputs = None
    for part in parts:
        inputs = _later(inputs, count(part, "prompt_token_count"))
        outputs = _later(outputs, count(part, "generation_token_count"))
    if inputs is None and outputs is None:
        return None
    names = "prompt_token_count", "generation_token_count"
    found = _counted(parts, "generation", dict(zip(names, (inputs, outputs), strict=True)))
    # until the end there is none
    reasons = [part["stop_reason"] for part in parts if "stop_reason" in part]
    found.estimated |= bool(reasons) and not any(reasons)
    return found


def _later(before: int | None, value: int | None) -> int | None:
    return before if value is None else value


def _counted(parts: Sequence[Object], written: str, usage: dict[str, int | None]) -> Found:
    """Of (input, output), by the model's names for them; `written` is where it says the text."""
    inputs, outputs = usage.values()
    seen = estimate.tokens([{"text": text(part, written) or ""} for part in parts], None)
    return Found(
        {"input_tokens": inputs or 0, "output_tokens": seen if outputs is None else outputs},
        usage,
        estimated=inputs is None or outputs is None,
    )


def _bedrocks(parts: Sequence[Object]) -> Object:
    """Bedrock's own counts by the names of the metrics; empty where it tells none."""
    for part in reversed(parts):
        if metrics := inner(part, _METRICS):
            return metrics
    headers = _headers(parts)
    return {
        name: int(digits)
        for name, header in (
            ("inputTokenCount", "input-token-count"),
            ("outputTokenCount", "output-token-count"),
            ("cacheReadInputTokenCount", "cache-read-input-token-count"),
            ("cacheWriteInputTokenCount", "cache-write-input-token-count"),
        )
        if (digits := headers.get(header, "")).isascii() and digits.isdigit()
    }


def _headers(parts: Sequence[Object]) -> dict[str, str]:
    """Bedrock's headers, without what they all begin with."""
    headers = inner(_first(parts, "ResponseMetadata"), "HTTPHeaders")
    return {
        name.lower().removeprefix(_HEADER): value
        for name, value in headers.items()
        if isinstance(value, str) and name.lower().startswith(_HEADER)
    }


def _with_bedrocks(found: Found | None, metrics: Object) -> Found | None:
    """What the model says stands; where it does not say it, what Bedrock says."""
    inputs, outputs = count(metrics, "inputTokenCount"), count(metrics, "outputTokenCount")
    if inputs is None and outputs is None:
        return found
    counted = _tokens({**metrics, "inputTokens": inputs, "outputTokens": outputs})
    counted.block = metrics
    if found is None:
        return counted
    told = found.counts
    if found.estimated:
        found.counts = {name: max(n, counted.counts.get(name, 0)) for name, n in told.items()}
        if outputs is not None:
            found.counts["output_tokens"] = outputs
            found.estimated = inputs is None
        return found
    if "cacheReadInputTokenCount" not in metrics:  # of what is cached it is silent
        cached = told.get("cache_read_input_tokens", 0) + told.get("cache_write_input_tokens", 0)
        counted.counts["input_tokens"] += cached
    for name, said in (("input_tokens", inputs), ("output_tokens", outputs)):
        if said is not None and counted.counts[name] != told[name]:
            found.conflicts.append(
                f"{name}: the model says {told[name]}, Bedrock {counted.counts[name]}"
            )
    return found


def _first(parts: Sequence[Object], name: str) -> Object:
    return next((value for part in parts if (value := inner(part, name))), NOTHING)

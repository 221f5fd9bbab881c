"""Anthropic's Messages API: messages, their streams, lines of a batch's results.

`input_tokens` is what was neither read from a cache nor written to one: the three add up to the
input (SDK type `Usage`; "Prompt caching"). `output_tokens` is inclusive, thinking a part of it.
`usage.iterations` is the record of what is billed ("Compaction", "Advisor tool", "Refusals and
fallback"): the top level leaves compactions out, and of an advisor and of a model that declined it
has nothing, since their tokens have other prices.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from spendstream.producers.extract import estimate, openai
from spendstream.producers.extract.counts import NOTHING, block, count, inner, number, objects, text
from spendstream.producers.extract.found import Found, added
from spendstream.producers.extract.plain import Object

Counts = dict[str, int]

_BILLED_REFUSALS: Final = frozenset({"bio", "frontier_llm", "reasoning_extraction"})
"""Since 2026-09-24 these categories are billed before any output; others are not ("How refusals are
billed")."""
_EVENTS: Final = frozenset(
    """content_block_delta content_block_start content_block_stop message_delta message_start
    message_stop""".split()  # noqa: SIM905
)
_WRITTEN: Final = frozenset({"text", "thinking"})


def read(parts: Sequence[Object], api: str | None = None) -> Found | None:
    """`api` changes nothing: every shape says what it is. OpenAI's shapes, which the same hosts
    offer beside this one, go to their own file."""
    if any(_is_openai(part) for part in parts):
        return openai.read(parts, api)
    lines = [part for part in parts if "custom_id" in part and "result" in part]
    if lines:
        return added(_batch_line(line) for line in lines)
    replies = _replies(parts)
    found = added(_found(reply) for reply in replies)
    if found is not None and len(replies) > 1 and any(reply.streamed for reply in replies):
        found.conflicts.append(
            f"a stream of {len(replies)} messages: each is charged, so all count"
        )
    return found


def _is_openai(part: Object) -> bool:
    usage = inner(part, "usage")
    kind = text(part, "type") or ""
    return (
        isinstance(part.get("choices"), list)
        or part.get("object") == "response"
        or kind.startswith("response.")
        or not usage.keys().isdisjoint({"prompt_tokens", "input_tokens_details"})
    )


def _batch_line(line: Object) -> Found | None:
    """`{"custom_id", "result": {"type": "succeeded", "message"}}`; other types have no message."""
    found = added(_found(reply) for reply in _replies([inner(line, "result")]))
    if found is not None:
        found.batch = True
    return found


@dataclass(slots=True)
class _Reply:
    """One message; of a stream, what its events add up to."""

    message: dict[str, Any] = field(default_factory=dict)
    usage: dict[str, Any] = field(default_factory=dict)
    handovers: list[Object] = field(default_factory=list)
    """`fallback` blocks: where one model's output gives way to the next one's."""
    deltas: list[Object] = field(default_factory=list)
    streamed: bool = False
    counted: bool = False
    """The output was counted at its end; `message_start` has only its first token or so."""
    ended: bool = False

    def add(self, event: Object) -> None:
        self.streamed = True
        kind = event.get("type")
        if kind == "content_block_delta":
            self.deltas.append(event)
        elif kind == "content_block_start":
            self._handover(inner(event, "content_block"))
        elif kind == "message_delta":
            usage = block(event, "usage")
            self._merge(usage)
            self.counted |= count(usage, "output_tokens") is not None
            self.ended |= text(inner(event, "delta"), "stop_reason") is not None
        else:  # the SDK's own `message_stop` brings the whole message once more
            self.whole(inner(event, "message"))
            self.ended |= kind == "message_stop"

    def whole(self, message: Object) -> None:
        self.message |= message
        self._merge(block(message, "usage"))
        content = message.get("content")
        for item in content if isinstance(content, list) else ():
            if isinstance(item, Mapping):
                self._handover(item)

    def _merge(self, usage: Object) -> None:
        """Cumulative: the last value stands, be it smaller; null says nothing."""
        self.usage |= {name: value for name, value in usage.items() if value is not None}
        if count(usage, "cache_creation_input_tokens") == 0 and "cache_creation" not in usage:
            self.usage.pop("cache_creation", None)  # of a total that has been taken back

    def _handover(self, content: Object) -> None:
        if content.get("type") == "fallback" and content not in self.handovers:
            self.handovers.append(content)


def _replies(parts: Sequence[Object]) -> list[_Reply]:
    replies: list[_Reply] = []
    for part in parts:
        if text(part, "type") in _EVENTS:
            message = inner(part, "message")
            if not replies or (message and _another(replies[-1], message)):
                replies.append(_Reply())
            replies[-1].add(part)
            continue
        # Claude Code's transcripts and lines of a batch have it one level down
        message = inner(part, "message") or part
        if message.get("usage") is None:
            continue
        if not replies or _another(replies[-1], message):
            replies.append(_Reply())
        replies[-1].whole(message)
    return replies


def _another(reply: _Reply, message: Object) -> bool:
    """Not the same message again: transcripts repeat it with each of its blocks."""
    return bool(reply.usage) and reply.message.get("id") != message.get("id")


def _found(reply: _Reply) -> Found | None:
    usage, message = reply.usage, reply.message
    top = _tokens(usage)
    if top is None:
        return None
    tools = block(usage, "server_tool_use")
    geo = text(usage, "inference_geo")
    found = Found(
        top,
        usage,
        model=_served_by(reply),
        response_id=text(message, "id"),
        service_tier=_tier(usage),
        region=None if geo == "not_available" else geo,
        batch=text(usage, "service_tier") == "batch",
    )
    _lifetimes(reply, found)
    _iterations(reply, found)
    found.counts["web_searches"] = number(tools, "web_search_requests")
    found.counts["web_fetches"] = number(tools, "web_fetch_requests")
    if not _complete(reply):
        found.estimated = True
        seen = estimate.tokens(list(_written(reply)), found.model)
        found.counts["output_tokens"] = max(found.counts["output_tokens"], seen)
    return found


def _tokens(usage: Object) -> Counts | None:
    """Of a usage block or of an iteration; None: there is no count in it."""
    fresh = count(usage, "input_tokens")
    output = count(usage, "output_tokens")
    read = count(usage, "cache_read_input_tokens")
    written = count(usage, "cache_creation_input_tokens")
    if fresh is None and output is None and read is None and written is None:
        return None
    split = block(usage, "cache_creation")
    minutes = number(split, "ephemeral_5m_input_tokens")
    hour = number(split, "ephemeral_1h_input_tokens")
    if written is None:
        written = minutes + hour
    return {
        "input_tokens": (fresh or 0) + (read or 0) + written,
        "output_tokens": output or 0,
        "cache_read_input_tokens": read or 0,
        "cache_write_input_tokens": written,
        "cache_write_5m_input_tokens": minutes,
        "cache_write_1h_input_tokens": hour,
        "reasoning_output_tokens": number(block(usage, "output_tokens_details"), "thinking_tokens"),
    }


def _lifetimes(reply: _Reply, found: Found) -> None:
    """A stream's last total comes without the split, which is then the first one's: no conflict."""
    counts = found.counts
    written = counts["cache_write_input_tokens"]
    split = counts["cache_write_5m_input_tokens"] + counts["cache_write_1h_input_tokens"]
    if block(reply.usage, "cache_creation") and split < written and not reply.streamed:
        found.conflicts.append(f"cache_creation adds up to {split} of {written} tokens written")


def _tier(usage: Object) -> str | None:
    """Fast mode is a price of its own that comes with the standard tier only ("Fast mode")."""
    tier = text(usage, "service_tier")
    return "fast" if text(usage, "speed") == "fast" and tier in (None, "standard") else tier


def _served_by(reply: _Reply) -> str | None:
    """Who answered. A stream's first event names who was asked ("Streaming", mid-output)."""
    for entry in objects(reply.usage, "iterations"):
        if entry.get("type") == "fallback_message":
            return text(entry, "model")
    to = text(inner(reply.handovers[-1], "to"), "model") if reply.handovers else None
    return to or text(reply.message, "model")


def _iterations(reply: _Reply, found: Found) -> None:
    """The sum over the passes of the model that answered; other models' passes beside it.

    The top level is a part of that: without compactions, and with an advisor its input is that of
    the first pass only. A larger top level contradicts the record, and is kept.
    """
    entries = objects(reply.usage, "iterations")
    chained = any(entry.get("type") == "fallback_message" for entry in entries)
    own: list[Counts] = []
    answers = 0
    advised = False
    declined: dict[str, list[Counts]] = {}
    for entry in entries:
        counts = _tokens(entry)
        model = text(entry, "model")
        if counts is None:
            continue
        if entry.get("type") == "advisor_message":
            advised = True
            found.other_models.append((model or "unknown", counts))
        elif chained and model not in (None, found.model):
            declined.setdefault(model or "", []).append(counts)
        else:
            own.append(counts)
            answers += counts["output_tokens"] if entry.get("type") != "compaction" else 0
    found.other_models += _billed(declined, reply.handovers)
    if not own:
        return
    passes = {name: sum(counts[name] for counts in own) for name in own[0]}
    top = found.counts
    if answers != top["output_tokens"] or (
        passes["input_tokens"] < top["input_tokens"] and not advised
    ):
        found.conflicts.append(
            f"the iterations' {passes['input_tokens']} input and {answers} output tokens are not"
            f" the top level's {top['input_tokens']} and {top['output_tokens']}"
        )
    found.counts = {name: max(top[name], passes[name]) for name in top}


def _billed(
    declined: Mapping[str, list[Counts]], handovers: Sequence[Object]
) -> Iterator[tuple[str, Counts]]:
    """What models used that declined, each at its own price.

    One that declined before any output is not charged, except in some categories; the category is
    in the block that hands over, one for each of them in order. Without it: as charged.
    """
    for position, (model, attempts) in enumerate(declined.items()):
        handover = handovers[position] if len(handovers) == len(declined) else NOTHING
        wrote = any(counts["output_tokens"] for counts in attempts)
        trigger = handover.get("trigger")
        if wrote or not isinstance(trigger, Mapping) or _is_billed(trigger.get("category")):
            yield from ((model, counts) for counts in attempts)


def _is_billed(category: object) -> bool:
    return isinstance(category, str) and category in _BILLED_REFUSALS


def _complete(reply: _Reply) -> bool:
    """A message has a `stop_reason`, and only a stream's first snapshot has none yet."""
    if count(reply.usage, "input_tokens") is None or count(reply.usage, "output_tokens") is None:
        return False
    if text(reply.message, "stop_reason") is not None:
        return True
    if reply.streamed:
        return reply.counted and reply.ended
    return reply.message.get("type") != "message"


def _written(reply: _Reply) -> Iterator[Object]:
    yield from reply.deltas
    content = reply.message.get("content")
    for item in content if isinstance(content, list) and not reply.deltas else ():
        if isinstance(item, Mapping) and text(item, "type") in _WRITTEN:
            yield {"content": [item]}

"""Whether a stream came to its end, or was cut off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from spendstream.producers.extract.counts import text
from spendstream.producers.extract.plain import Object

_FAILED: Final = frozenset({"error", "response.failed", "response.incomplete"})
_LAST: Final = frozenset(
    {"message_stop", "message-end", "stream-end", "response.done", "interaction.completed"}
)
_REASONS: Final = ("finish_reason", "finishReason")


def finished(parts: Sequence[Object]) -> bool:
    """Of a stream without usage: the model said that it had finished, and nobody had asked for
    usage; or it failed.

    Where it was asked for, OpenAI-style chunks say `"usage": null` until the last one.
    """
    asked = any("usage" in part for part in parts)
    return any(_failed(part) for part in parts) or (
        not asked and any(end for part in parts for end in _ends(part))
    )


def cut_off(choices: Sequence[Object]) -> bool:
    """Whether these are a stream's, and none of them has a reason to finish: what usage it has is
    of the moment."""
    return any("delta" in choice for choice in choices) and not any(
        choice.get("finish_reason") for choice in choices
    )


def _failed(part: Object) -> bool:
    return text(part, "type") in _FAILED or bool(part.get("error"))


def _ends(part: Object) -> Iterator[Any]:
    yield text(part, "type") in _LAST
    yield text(part, "event_type") in _LAST
    yield part.get("done")  # Ollama
    yield part.get("messageStop")  # Bedrock Converse
    for envelope in ("promptFeedback", "serverContent"):  # Gemini: blocked; Live: the turn's end
        inner = part.get(envelope)
        if isinstance(inner, dict):
            yield inner.get("blockReason") or inner.get("turnComplete")
    for name in ("choices", "candidates"):
        ends = part.get(name)
        for end in ends if isinstance(ends, list) else ():
            if isinstance(end, dict):
                yield any(end.get(reason) for reason in _REASONS)
    if isinstance(inner := part.get("data"), dict):  # Mistral wraps its chunks
        yield from _ends(inner)

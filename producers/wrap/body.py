"""A whole answer, as much of it as its usage needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from spendstream.producers.wrap.call import Call
from spendstream.schemas.event import Status

_STATUS: Final[dict[str, Status]] = {"failed": "error", "cancelled": "cancelled"}
_LONG: Final = frozenset({"choices", "content"})
"""What the model said; usage is never in it."""
_HANDS_OVER: Final = "fallback"
"""The one kind of Anthropic's content that says who is charged."""


def end_with(call: Call, body: Any) -> None:
    """`body`: the answer's JSON, or the fields of an SDK's object."""
    if not isinstance(body, Mapping):
        call.ended({})
        return
    status = body.get("status")
    how = _STATUS.get(status, "ok") if isinstance(status, str) else "ok"
    call.ended(without_words(body), how)


def without_words(body: Mapping[str, Any]) -> dict[str, Any]:
    """A response without what the model said: what is left is soon read."""
    payload = {name: value for name, value in body.items() if name not in _LONG}
    content = body.get("content")
    if isinstance(content, list) and (over := [one for one in content if _hands_over(one)]):
        payload["content"] = over
    data = payload.get("data")
    if isinstance(data, list):  # images, of which the number counts, or vectors
        payload["data"] = [None] * len(data)
    return payload


def _hands_over(content: object) -> bool:
    kind = content.get("type") if isinstance(content, Mapping) else getattr(content, "type", None)
    return kind == _HANDS_OVER

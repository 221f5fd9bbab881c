"""A whole answer, as much of it as its usage needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from spendstream.producers.wrap.call import Call
from spendstream.schemas.event import Status

_STATUS: Final[dict[object, Status]] = {"failed": "error", "cancelled": "cancelled"}
_LONG: Final = frozenset({"choices", "content"})
"""What the model said; usage is never in it."""


def end_with(call: Call, body: Any) -> None:
    """`body`: the answer's JSON, or the fields of an SDK's object."""
    if not isinstance(body, Mapping):
        call.ended({})
        return
    call.ended(without_words(body), _STATUS.get(body.get("status"), "ok"))


def without_words(body: Mapping[str, Any]) -> dict[str, Any]:
    """A response without what the model said: what is left is soon read."""
    payload = {name: value for name, value in body.items() if name not in _LONG}
    data = payload.get("data")
    if isinstance(data, list):  # images, of which the number counts, or vectors
        payload["data"] = [None] * len(data)
    return payload

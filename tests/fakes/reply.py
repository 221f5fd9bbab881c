"""What is written to the socket."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

JSON: Final = "application/json"
SSE: Final = "text/event-stream; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Whole:
    """An answer with its length."""

    body: bytes
    status: int = 200
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Streamed:
    """An answer in chunks, each of which is sent on its own."""

    chunks: list[bytes]
    content_type: str = SSE
    headers: dict[str, str] = field(default_factory=dict)


Reply = Whole | Streamed


def encoded(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def whole(value: Any, status: int = 200, **headers: str) -> Whole:
    return Whole(encoded(value), status, headers=headers)


def data(value: Any, end: bytes = b"\n\n") -> bytes:
    return b"data: " + encoded(value) + end


def event(value: dict[str, Any]) -> bytes:
    """An event whose name is its `type`."""
    return f"event: {value['type']}\n".encode() + data(value)


def events(values: Iterable[dict[str, Any]]) -> Streamed:
    return Streamed([event(value) for value in values])

"""What the server asks of a provider's file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from tests.fakes.answer import Answer, Json, Received
from tests.fakes.reply import Reply

Endpoint = Callable[[Received, Answer], Reply]
"""May raise MissingError."""


class Provider(Protocol):
    @property
    def name(self) -> str: ...

    def endpoint(self, request: Received) -> Endpoint | None:
        """None: there is no such path."""

    def error(self, status: int, message: str, missing: str | None = None) -> Json:
        """An error's body; `missing` is the field that a request lacks."""

    def error_chunk(self, request: Received, message: str, sent: int) -> bytes:
        """The same within a stream, of which so many chunks were sent."""

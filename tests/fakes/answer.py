"""What a test chooses of an answer, and what it can read of a request."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tests.fakes.faults import Fault

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Usage:
    """Inclusive totals with named subsets, as spendstream's own Usage has them; each provider's
    file writes them as that provider does, and leaves out what it has no word for."""

    input_tokens: int = 12
    output_tokens: int = 7
    cache_read_input_tokens: int = 0
    cache_write_input_tokens: int = 0
    cache_write_1h_input_tokens: int = 0
    reasoning_output_tokens: int = 0
    tool_input_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    image_input_tokens: int = 0
    image_output_tokens: int = 0
    audio_input_ms: int = 1500
    web_searches: int = 0

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class Answer:
    """`chunks` is how many deltas a stream cuts the text into. No usage: the answer has none."""

    text: str = "The fake says hello."
    chunks: int = 3
    thinking: str = ""
    usage: Usage | None = Usage()
    model: str | None = None
    """None: the model that was asked for."""
    service_tier: str | None = None
    fault: Fault | None = None

    @property
    def pieces(self) -> list[str]:
        """The text in as many deltas; of a text that is shorter than that some are empty."""
        n = len(self.text)
        cuts = [n * i // self.chunks for i in range(self.chunks + 1)]
        return [self.text[a:b] for a, b in pairwise(cuts)]


class MissingError(Exception):
    """A request has not what its endpoint needs: it is told 400 and the field's name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass(eq=False, slots=True)
class Received:
    """A request, and what became of it."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    """By lower-case name."""
    raw: bytes
    body: Json
    """Of JSON and of forms; empty where it was neither."""
    number: int = 0
    """The first one is 1."""
    provider: str = ""
    status: int | None = None
    """None: it was told none yet, or never."""
    client_gone: bool = False
    """It hung up while the answer was written or held back; what fits into the socket's buffers
    is written without noticing, so only a `Hangs` or `Delays` notices for certain."""
    ended: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def needs(self, *names: str) -> None:
        for name in names:
            if name not in self.body:
                raise MissingError(name)

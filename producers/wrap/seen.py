"""What passed of a stream of server-sent events, as much as its usage needs."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterator
from typing import Any, Final

from spendstream.producers.extract import estimate

log: Final = logging.getLogger("spendstream.wrap")

MAX_KEPT: Final = 8 << 20
"""Bytes of a stream that are kept for an estimate, should it be cut off. What names usage is kept
beyond that."""
_MAX_LOOKED_AT: Final = 32  # events that may come before the first token

_ENDS: Final = frozenset(
    {
        b"message_stop",
        b"response.completed",
        b"response.failed",
        b"response.incomplete",
        b"interaction.completed",
    }
)
_FAILED: Final = frozenset({b"error", b"response.failed"})
_CARRIES: Final = ("response", "interaction")
_DONE: Final = b"[DONE]"
_USAGE: Final = re.compile(rb'usage(?!"\s*:\s*null)')
_UNFINISHED: Final = re.compile(rb'"finish_?[rR]eason"\s*:\s*null')
_EVENT_ENDS: Final = re.compile(rb"\n\n|\r\n\r\n")
_BETWEEN: Final = re.compile(rb"(?<=\n\n)|(?<=\r\n\r\n)")
_NULL_USAGE: Final = re.compile(rb',\s*"usage"\s*:\s*null')


class Seen:
    """Server-sent events go through `feed` as they come.

    Attributes:
        finished: the stream's own end was seen.
        failed: the provider said in the stream that it had failed.
        first_ns: when the first of the answer came, by `time.perf_counter_ns`.
    """

    __slots__ = (
        "_events",
        "_kept",
        "_looked",
        "_name",
        "_tail",
        "_telling",
        "failed",
        "finished",
        "first_ns",
    )

    def __init__(self) -> None:
        self._tail: list[bytes] = []
        self._name = b""
        self._kept = 0
        self._looked = 0
        self._events: list[bytes] = []
        self._telling: list[bytes] = []
        self.finished = False
        self.failed = False
        self.first_ns: int | None = None

    def feed(self, data: bytes) -> bytes:
        """Returns what the caller is to see: the same."""
        first, *lines = data.split(b"\n")
        self._tail.append(first)
        if not lines:  # joined at its end only: a line may be an image in many pieces
            return data
        lines.insert(0, b"".join(self._tail))
        self._tail = [lines.pop()]
        for line in lines:
            self._read(line)
        return data

    def flush(self) -> bytes:
        """At the end of the bytes: what of them the caller is still to see."""
        tail, self._tail = b"".join(self._tail), []
        if tail:
            self._read(tail)
        return b""

    def _read(self, line: bytes) -> None:
        try:
            self._line(line)
        except Exception:  # whatever is in it, its reader gets it
            log.exception("an event of a stream could not be read along")

    def _line(self, line: bytes) -> None:
        if line.startswith(b"data:"):
            self.event(line[5:].strip())
            self.named(self._name)  # only now: the name comes first, the rest perhaps much later
        elif line.startswith(b"event:"):
            self._name = line[6:].strip()

    def named(self, event: bytes) -> None:
        if event in _ENDS:
            self.finished = True
        if event in _FAILED:
            self.failed = True

    def event(self, data: bytes) -> None:
        """The JSON of one event."""
        if data == _DONE:
            self.finished = True
            return
        if self.first_ns is None and self._looked < _MAX_LOOKED_AT:
            self._looked += 1
            if estimate.has_text(parsed(data)):
                self.first_ns = time.perf_counter_ns()
        tells = _USAGE.search(data) is not None or (
            b"inish" in data and not _UNFINISHED.search(data)
        )
        tells = tells or b'"fallback"' in data  # Anthropic's, from one model to the next
        if b'"error"' in data and isinstance(parsed(data).get("error"), dict | str):
            self.failed = tells = True
        if tells:
            self._telling.append(data)
        if self._kept <= MAX_KEPT:
            self._kept += len(data)
            self._events.append(data)

    def broken(self) -> bool:
        """Whether an event is no JSON."""
        try:
            for event in self._events:
                json.loads(event)
        except (ValueError, RecursionError):
            return True
        return False

    def telling(self) -> list[bytes]:
        """The events that name usage or say why the answer ends. Enough for a whole stream."""
        return self._telling

    def last(self) -> dict[str, Any] | None:
        """The answer that the event at the stream's end carries; None: it was cut off."""
        if not self.finished or not self._telling:
            return None
        event = parsed(self._telling[-1])
        return next((event[name] for name in _CARRIES if isinstance(event.get(name), dict)), None)

    def all(self) -> list[bytes]:
        """Every event, for a stream that was cut off."""
        return self._events if self._kept <= MAX_KEPT else [*self._events, *self._telling]


class Hiding(Seen):
    """Where we asked for the usage and the caller did not: its event is kept from the caller, and
    the `"usage": null` of the others. What remains is what would have come."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        super().__init__()
        self._held: list[bytes] = []

    def feed(self, data: bytes) -> bytes:
        super().feed(data)
        return b"".join(self._shown(data))

    def flush(self) -> bytes:
        super().flush()
        held, self._held = b"".join(self._held), []
        return self._without(held)

    def _shown(self, data: bytes) -> Iterator[bytes]:
        """Whole events; what has no end yet is held back."""
        last = b"".join(self._held[-3:])[-3:]  # the end of an event may come in pieces
        self._held.append(data)
        if _EVENT_ENDS.search(last + data) is None:
            return
        *events, rest = _BETWEEN.split(b"".join(self._held))
        self._held = [rest]
        for event in events:
            yield self._without(event)

    def _without(self, event: bytes) -> bytes:
        if b'"usage"' not in event:
            return event
        start = event.find(b"data:")
        chunk = parsed(event[start + 5 :].strip()) if start >= 0 else {}
        if chunk.get("choices") == [] and chunk.get("usage") is not None:
            return b""
        return _NULL_USAGE.sub(b"", event)


def parsed(data: bytes) -> dict[str, Any]:
    """The JSON object; an empty one where it is none, as of an event that was cut off."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}

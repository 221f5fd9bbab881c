"""Kafka records as a service would send them, written with the standard library alone.

Nothing here comes from the emitter or the core, so that a test of either cannot agree with itself.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

Headers = Sequence[tuple[str, bytes | None]]
"""A name's byte that is no UTF-8 is a lone surrogate (`surrogateescape`)."""

NOON = 1_795_348_800_000
"""2026-11-22T12:00:00Z."""


class Record(NamedTuple):
    """A Kafka record as the core reads it; `timestamp` in milliseconds is its arrival."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


@dataclass(frozen=True, slots=True)
class Call:
    """One LLM call; `time_ms` is its end. `tokens` None: the response held no usage."""

    id: str
    time_ms: int
    workspace_id: str = "ws-1"
    provider: str = "openai"
    model: str = "gpt-4o"
    input_tokens: int | None = 1_000
    output_tokens: int = 100
    cache_read: int = 0
    cache_write: int = 0
    status: str = "ok"
    more: dict[str, Any] = field(default_factory=dict)

    def data(self) -> dict[str, Any]:
        """The event's data, absent fields left out."""
        event: dict[str, Any] = {"provider": self.provider, "response_model": self.model}
        if self.input_tokens is not None and self.status != "blocked":
            usage = {"input_tokens": self.input_tokens, "output_tokens": self.output_tokens}
            if self.cache_read:
                usage["cache_read_input_tokens"] = self.cache_read
            if self.cache_write:
                usage["cache_write_input_tokens"] = self.cache_write
            event["usage"] = usage
        event["workspace_id"] = self.workspace_id
        if self.status != "ok":
            event["status"] = self.status
        return event | self.more

    def value(self) -> bytes:
        return json.dumps(self.data(), separators=(",", ":"), ensure_ascii=False).encode()

    def headers(self, **changed: bytes | None) -> list[tuple[str, bytes | None]]:
        """CloudEvents attributes in binary mode; a changed one that is None is left out."""
        attributes: dict[str, bytes | None] = {
            "ce_specversion": b"1.0",
            "ce_id": self.id.encode(),
            "ce_source": b"tests",
            "ce_type": b"spendstream.usage.v1",
            "ce_time": rfc3339(self.time_ms).encode(),
            "content-type": b"application/json",
        }
        attributes |= {
            name.replace("content_type", "content-type"): v for name, v in changed.items()
        }
        return [(name, value) for name, value in attributes.items() if value is not None]

    def record(
        self, offset: int = 0, arrival_ms: int | None = None, *, partition: int = 0
    ) -> Record:
        """As it lies in `usage.events`."""
        arrival = self.time_ms if arrival_ms is None else arrival_ms
        key = self.workspace_id.encode()
        return Record("usage.events", partition, offset, arrival, key, self.value(), self.headers())


def calls_of_now(start: int, count: int, workspaces: int = 20) -> list[Call]:
    """Calls of the last minute, some of a model without a price; every hundredth is dear enough to
    cross thresholds in time. The ids are `e<start>` and on."""
    now = time.time_ns() // 1_000_000
    return [
        Call(
            f"e{i}",
            now - (start + count - i) % 60_000,
            f"ws-{i % workspaces}",
            model=("gpt-4o", "gpt-4o-mini", "unheard-of")[i % 7 % 3],
            input_tokens=400_000 if i % 100 == 0 else 1_000 + i % 5_000,
            output_tokens=i % 90,
            cache_read=i % 50,
        )
        for i in range(start, start + count)
    ]


def rfc3339(time_ms: int) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def month_start(name: str) -> int:
    """Milliseconds of `2026-11`'s first moment."""
    first = datetime(int(name[:4]), int(name[5:]), 1, tzinfo=UTC)
    return (first - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def arrive(calls: Iterable[tuple[Call, int]], partition: int = 0) -> list[Record]:
    """Records of (call, arrival), at consecutive offsets."""
    return [call.record(i, arrival, partition=partition) for i, (call, arrival) in enumerate(calls)]

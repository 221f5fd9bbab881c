"""An emitter that keeps what it is given, for tests of what stands before it."""

from __future__ import annotations

from typing import Any, cast

from spendstream.producers import Drop, UsageEmitter
from spendstream.schemas import UsageEvent
from tests.support.waiting import until


class Collected:
    enabled = True

    def __init__(self) -> None:
        self.events: list[UsageEvent] = []
        self.ids: list[str | None] = []
        self.times: list[int | None] = []
        self.dropped: list[Drop] = []

    @property
    def emitter(self) -> UsageEmitter:
        return cast(UsageEmitter, self)

    def emit(self, event: UsageEvent, *, id: str | None = None, time_ms: int | None = None) -> bool:
        self.ids.append(id)
        self.times.append(time_ms)
        self.events.append(event)
        return True

    def drop(self, why: Drop, kind: str = "", detail: str = "") -> None:
        self.dropped.append(why)

    def one(self) -> UsageEvent:
        """The only one, which may still be on its way."""
        until(lambda: bool(self.events), 10)
        assert len(self.events) == 1, self.events
        return self.events[0]


def counts(event: UsageEvent) -> dict[str, Any]:
    """Those that are not 0."""
    assert event.usage is not None
    return {
        name: n
        for name, n in event.usage.model_dump(exclude_defaults=True).items()
        if type(n) is int and n
    }

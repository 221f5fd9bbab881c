"""One call by hand, for a service whose SDK nobody reads usage from.

    use(UsageEmitter("localhost:9092"))        # once, at start
    record(provider="openai", model="gpt-4o", input_tokens=900, output_tokens=120)

Who it is for comes from `track`, or is said with it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from spendstream.producers.emitter import UsageEmitter
from spendstream.producers.extract import ExtractedUsage
from spendstream.producers.extract.providers import known_as
from spendstream.producers.tracking import tracked
from spendstream.schemas.event import UsageEvent
from spendstream.schemas.money import pico_from_usd
from spendstream.schemas.usage import Usage

_used: UsageEmitter | None = None


def use(emitter: UsageEmitter | None) -> None:
    """The emitter of this process, for `record` and what `instrument` wraps; None: none any
    more."""
    global _used
    _used = emitter


def used() -> UsageEmitter | None:
    """That of `use`."""
    return _used


def record(
    *,
    model: str,
    provider: str,
    input_tokens: int | None = None,
    output_tokens: int | None = None,
    cost: Decimal | str | None = None,
    usage: Usage | None = None,
    id: str | None = None,
    time_ms: int | None = None,
    emitter: UsageEmitter | None = None,
    **fields: Any,
) -> bool:
    """Emit the usage of one call; who it is for comes from `track` and from `fields`. True: queued.

    Args:
        model: the model that answered.
        input_tokens, output_tokens: totals, cached and reasoning tokens included; where neither
            they nor `usage` are given, the usage is unknown, which is not zero.
        cost: USD that the caller knows it cost, exact to 12 decimals.
        usage: instead of the two totals, with everything that is known; of one that `usage_from`
            has read, also what else the response said.
        id: idempotent request id; a second event with the same id is dropped.
        time_ms: end of the call, milliseconds since 1970 UTC; default now.
        emitter: default: that of `use`.
        fields: other fields of UsageEvent.

    Raises:
        RuntimeError: there is no emitter.
        ValueError: a field is wrong (pydantic's ValidationError names it), the usage is said
            twice, or nobody has said which workspace is charged.
    """
    emitter = emitter or _used
    if emitter is None:
        raise RuntimeError("no emitter: call use(UsageEmitter(...)) once, at start")
    if input_tokens is not None or output_tokens is not None:
        if usage is not None:
            raise ValueError("usage: say it, or the two totals, not both")
        usage = Usage(input_tokens=input_tokens or 0, output_tokens=output_tokens or 0)
    read = usage.event_fields() if isinstance(usage, ExtractedUsage) else {"usage": usage}
    named = {**tracked(), **fields}
    if "workspace_id" not in named:
        raise ValueError("workspace_id: say who is charged, by track(workspace_id=...) or here")
    event = UsageEvent(
        **{
            **read,
            "provider": known_as(provider),
            "response_model": model,
            **({} if cost is None else {"reported_cost_pico": str(pico_from_usd(cost))}),
            **named,
        }
    )
    return emitter.emit(event, id=id, time_ms=time_ms)

"""From the rows of a trace to events: which workspace, user and model each call gets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from pydantic import ValidationError

from spendstream.deploy.feed import Call
from spendstream.deploy.trace import TraceError, TraceRow
from spendstream.schemas import Usage, UsageEvent
from spendstream.schemas.event import MAX_ID, OLD_LIMIT_MS
from spendstream.schemas.topics import ID_HORIZON_MS

_INDEX_DIGITS: Final = 20


class TooOld(NamedTuple):
    """Calls that arrive too long after their time to be counted at once."""

    late: int
    """Over a day: their ids may be forgotten, so they go to `usage.late` and are looked up."""
    refused: int
    """Over 35 days: they become dead letters."""


def parse_models(text: str) -> list[tuple[str, str]]:
    """`openai/gpt-4o,anthropic/…` → (provider, model) each. Raises TraceError."""
    models = []
    for item in text.split(","):
        provider, slash, model = item.strip().partition("/")
        if not (provider and slash and model):
            raise TraceError(f"--models: {item.strip()!r} is not provider/model")
        models.append((provider, model))
    return models


def calls_of(
    rows: Sequence[TraceRow],
    *,
    stem: str,
    workspaces: int,
    users: int,
    models: Sequence[tuple[str, str]],
    last_ms: int,
) -> list[Call]:
    """Row i is the event `{stem}-{i}` of `ws-{i mod workspaces}`, `user-{i mod users}` and model
    number `i mod len(models)`; times are shifted so that the last call is at `last_ms`.

    Raises:
        TraceError: stem or a model makes no valid event.
    """
    if len(stem) + _INDEX_DIGITS > MAX_ID or not stem.isprintable():
        raise TraceError(f"the file's name makes no event ids: {stem!r}")
    shift = last_ms - rows[-1].time_ms
    try:
        return [
            Call(f"{stem}-{row.index}", row.time_ms + shift, _event(row, workspaces, users, models))
            for row in rows
        ]
    except ValidationError as error:
        detail = error.errors()[0]
        raise TraceError(f"--models: {detail['input']!r}: {detail['msg']}") from None


def too_old(calls: Sequence[Call], speed: float | None = None) -> TooOld:
    """How many of the calls arrive too late where the first one is sent at the last one's time.

    `speed`: as `feed` takes it. A call that is sent slower than it happened ages while it waits.
    """
    first_ms, now_ms = calls[0].time_ms, calls[-1].time_ms
    ages = [
        now_ms - call.time_ms + (0 if speed is None else (call.time_ms - first_ms) / speed)
        for call in calls
    ]
    refused = sum(age > OLD_LIMIT_MS for age in ages)
    return TooOld(sum(age > ID_HORIZON_MS for age in ages) - refused, refused)


def _event(
    row: TraceRow, workspaces: int, users: int, models: Sequence[tuple[str, str]]
) -> UsageEvent:
    provider, model = models[row.index % len(models)]
    return UsageEvent(
        provider=provider,
        request_model=model,
        usage=Usage(input_tokens=row.input_tokens, output_tokens=row.output_tokens),
        workspace_id=f"ws-{row.index % workspaces}",
        user_id=f"user-{row.index % users}",
    )

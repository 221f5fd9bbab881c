"""Limits: what is used of them, and violations, once an episode.

A violation is use beyond the amount. An episode of the sliding minute ends when a full window has
passed below the limit; that of a calendar month ends with the month.
"""

from __future__ import annotations

from typing import Final

from spendstream.schemas.period import month_of
from spendstream.schemas.plan import Limit, Measure
from spendstream.streams.core.alerts import raise_alert
from spendstream.streams.core.outputs import Batch
from spendstream.streams.core.state import (
    WINDOW_SECONDS,
    Counters,
    Episode,
    PartitionState,
    Workspace,
)

_WINDOW_MS: Final = WINDOW_SECONDS * 1_000
_COLUMN: Final[dict[Measure, int]] = {"requests": 0, "tokens": 1, "charge": 2}


def check_minute(
    state: PartitionState, batch: Batch, ws: Workspace, limit: Limit, event_id: str
) -> None:
    used = ws.sums[_COLUMN[limit.measure]]
    if used <= limit.amount:
        return
    now = state.checkpoint.time_ms
    episode = ws.episodes.get(limit.name)
    # The episode ends when a full window has passed below the limit
    if episode is not None and now - episode.over_ms < _WINDOW_MS:
        episode.over_ms = now
        episode.amount = limit.amount
        return
    ws.episodes[limit.name] = Episode(str(now), now, _COLUMN[limit.measure], limit.amount)
    _violation(state, batch, ws, limit, used, str(now), event_id)


def check_month(
    state: PartitionState,
    batch: Batch,
    ws: Workspace,
    limit: Limit,
    counted: Counters,
    event_id: str,
    month: str,
) -> None:
    used = _month_used(counted, limit)
    if used <= limit.amount:
        return
    key = month_key(limit.name, month)
    episode = ws.episodes.get(key)
    if episode is None:
        ws.episodes[key] = Episode(month, state.checkpoint.time_ms)
        _violation(state, batch, ws, limit, used, month, event_id)


def month_key(limit: str, month: str) -> str:
    """Key of a calendar episode. No limit's name holds a control character."""
    return f"{limit}\n{month}"


def minute_used_up(ws: Workspace) -> bool:
    """Whether a limit of the sliding minute has nothing left, and will have again by itself."""
    return any(
        limit.window == "minute" and ws.sums[_COLUMN[limit.measure]] >= max(1, limit.amount)
        for limit in ws.force.plan.limits
    )


def used_of(ws: Workspace, limit: Limit, now_ms: int) -> int:
    """What of a limit is used now: requests, tokens, or pico-USD."""
    if limit.window == "minute":
        return ws.sums[_COLUMN[limit.measure]]
    month = ws.months.get(month_of(now_ms).name)
    return _month_used(month.counted, limit) if month else 0


def _month_used(counters: Counters, limit: Limit) -> int:
    if limit.measure == "requests":
        return counters.requests - counters.blocked
    if limit.measure == "tokens":
        return counters.input_tokens + counters.output_tokens
    return counters.charge


def _violation(
    state: PartitionState,
    batch: Batch,
    ws: Workspace,
    limit: Limit,
    used: int,
    episode: str,
    event_id: str,
) -> None:
    raise_alert(
        state,
        batch,
        ws,
        kind="limit_violation",
        limit=limit.name,
        measure=limit.measure,
        window=limit.window,
        threshold=None,
        severity="exceeded",
        action=limit.action,
        used=used,
        amount=limit.amount,
        episode=episode,
        event_id=event_id,
    )

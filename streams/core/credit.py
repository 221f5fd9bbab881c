"""The monthly credit and what goes beyond it: thresholds, overage.

All amounts are pico-USD. Overage is cumulative by billing period: it is sent in steps of a dollar,
or when it has waited a minute, and a last time when the period closes.
"""

from __future__ import annotations

from typing import Final

from spendstream.schemas.money import PICO_PER_USD
from spendstream.schemas.records import overage_id
from spendstream.schemas.topics import USAGE_OVERAGE
from spendstream.streams.core.alerts import CREDIT, OVERAGE, raise_alert
from spendstream.streams.core.outputs import Batch, OverageStruct, encode
from spendstream.streams.core.plans import NEVER
from spendstream.streams.core.state import Month, PartitionState, Workspace

OVERAGE_STEP_PICO: Final = PICO_PER_USD
OVERAGE_WAIT_MS: Final = 60_000
OVERDUE_MS: Final = 0
"""Pending since ever: it is sent at the next opportunity."""


def cross_thresholds(
    state: PartitionState, batch: Batch, ws: Workspace, period: str, month: Month, event_id: str
) -> None:
    """Alert for each threshold of the credit that has just been reached; once a period."""
    plan = ws.force.plan
    month.next_alarm = NEVER
    for threshold in plan.thresholds:
        if threshold.percent in month.crossed:
            continue
        # ceiling: crossed when booked × 100 ≥ percent × credit
        at = -(-threshold.percent * plan.credit_pico // 100)
        if month.booked < at:
            month.next_alarm = min(month.next_alarm, at)
            continue
        month.crossed.append(threshold.percent)
        raise_alert(
            state,
            batch,
            ws,
            kind="credit_threshold",
            limit=CREDIT,
            measure="charge",
            window="month",
            threshold=threshold.percent,
            severity=threshold.severity,
            action="warn" if plan.overage else plan.exhausted_action,
            used=month.booked,
            amount=plan.credit_pico,
            episode=period,
            event_id=event_id,
        )


def accrue(
    state: PartitionState, batch: Batch, ws: Workspace, period: str, month: Month, event_id: str
) -> None:
    """Charge beyond the credit: announce it once, send it in steps."""
    if not month.overage_started:
        month.overage_started = True
        raise_alert(
            state,
            batch,
            ws,
            kind="overage_started",
            limit=OVERAGE,
            measure="charge",
            window="month",
            threshold=None,
            severity="info",
            action="warn",
            used=month.booked,
            amount=ws.force.plan.credit_pico,
            episode=period,
            event_id=event_id,
        )
    if cumulative_of(ws, month) - month.overage_emitted >= OVERAGE_STEP_PICO:
        flush(state, batch, ws, period, month, state.checkpoint.time_ms, final=False)
    elif month.overage_since_ms is None:
        month.overage_since_ms = state.checkpoint.time_ms


def cumulative_of(ws: Workspace, month: Month) -> int:
    """Overage of a period so far, pico-USD. Where overage is off it stays as it was sent."""
    plan = ws.force.plan
    return max(0, month.booked - plan.credit_pico) if plan.overage else month.overage_emitted


def flush(
    state: PartitionState,
    batch: Batch,
    ws: Workspace,
    period: str,
    month: Month,
    at_ms: int,
    *,
    final: bool,
) -> None:
    """Send the period's cumulative overage, unless there is nothing new to say."""
    month.overage_since_ms = None
    cumulative = cumulative_of(ws, month)
    emitted = month.overage_emitted
    if cumulative == emitted and not (final and cumulative):
        return
    if cumulative < emitted:
        month.overage_revision += 1
    month.overage_emitted = cumulative
    checkpoint = state.checkpoint
    checkpoint.seq[USAGE_OVERAGE] += 1
    batch.changed[ws.id] = ws
    batch.rows[USAGE_OVERAGE].append(
        (
            ws.key,
            encode(
                OverageStruct(
                    seq=checkpoint.seq[USAGE_OVERAGE],
                    partition=checkpoint.partition,
                    id=overage_id(ws.id, period, month.overage_revision, emitted, cumulative),
                    workspace_id=ws.id,
                    period=period,
                    revision=month.overage_revision,
                    from_cumulative_pico=str(emitted),
                    to_cumulative_pico=str(cumulative),
                    at_ms=at_ms,
                    final=final,
                    plan_version=ws.force.version,
                )
            ),
        )
    )

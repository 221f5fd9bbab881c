"""Alerts: rows of `usage.alerts`, with ids that survive crashes and rebuilds."""

from __future__ import annotations

from typing import Final

from spendstream.schemas.plan import Action, Measure, Severity, Window
from spendstream.schemas.records import AlertKind, alert_id
from spendstream.schemas.topics import USAGE_ALERTS
from spendstream.streams.core.outputs import AlertStruct, Batch, encode
from spendstream.streams.core.state import SCOPE_WORKSPACE, PartitionState, Workspace

CREDIT: Final = "credit"
"""What alerts on the included credit name as their limit."""
OVERAGE: Final = "overage"


def raise_alert(
    state: PartitionState,
    batch: Batch,
    ws: Workspace,
    *,
    kind: AlertKind,
    limit: str,
    measure: Measure,
    window: Window,
    threshold: int | None,
    severity: Severity,
    action: Action,
    used: int,
    amount: int,
    episode: str,
    event_id: str,
) -> None:
    checkpoint = state.checkpoint
    checkpoint.seq[USAGE_ALERTS] += 1
    batch.rows[USAGE_ALERTS].append(
        (
            ws.key,
            encode(
                AlertStruct(
                    seq=checkpoint.seq[USAGE_ALERTS],
                    partition=checkpoint.partition,
                    id=alert_id(ws.id, limit, SCOPE_WORKSPACE, threshold, episode),
                    kind=kind,
                    workspace_id=ws.id,
                    at_ms=checkpoint.time_ms,
                    limit=limit,
                    scope=SCOPE_WORKSPACE,
                    measure=measure,
                    window=window,
                    threshold_percent=threshold,
                    severity=severity,
                    action=action,
                    used=str(used),
                    amount=str(amount),
                    episode=episode,
                    event_id=event_id,
                    plan_version=ws.force.version,
                )
            ),
        )
    )

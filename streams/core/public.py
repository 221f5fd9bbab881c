"""The public record of a workspace, and the decision in it."""

from __future__ import annotations

from spendstream.schemas.period import month_of
from spendstream.schemas.state import Decision
from spendstream.schemas.topics import USAGE_EVENTS
from spendstream.streams.core.limits import used_of
from spendstream.streams.core.outputs import HeartbeatStruct, LimitStateStruct, StateStruct, encode
from spendstream.streams.core.state import PartitionState, Workspace


def decide(ws: Workspace, now_ms: int) -> Decision:
    """Whether the next call may go on.

    The credit is gone, and a limit used up, as soon as nothing is left of it, which a credit or a
    limit of nothing is from the start: an idle month has nothing booked, but no more to spend.
    """
    plan = ws.force.plan
    decision: Decision = "allow"
    month = ws.months.get(month_of(now_ms).name)
    booked = month.booked if month is not None else 0
    if not plan.overage and booked >= plan.credit_pico:
        decision = plan.exhausted_action
    for limit in plan.limits:
        if used_of(ws, limit, now_ms) >= limit.amount:
            if limit.action == "block":
                return "block"
            decision = "warn" if decision == "allow" else decision
    return decision


def public_state(state: PartitionState, ws: Workspace, decision: Decision) -> bytes:
    """A record of `workspace.state`."""
    now = state.checkpoint.time_ms
    plan = ws.force.plan
    period = month_of(now).name
    month = ws.months.get(period)
    booked = month.booked if month else 0
    limits = []
    for limit in plan.limits:
        used = used_of(ws, limit, now)
        limits.append(
            LimitStateStruct(
                name=limit.name,
                measure=limit.measure,
                window=limit.window,
                action=limit.action,
                amount=str(limit.amount),
                used=str(used),
                remaining=str(max(0, limit.amount - used)),
                exceeded=used > limit.amount,
            )
        )
    return encode(
        StateStruct(
            kind="workspace",
            workspace_id=ws.id,
            as_of_ms=now,
            offset=state.checkpoint.inputs[USAGE_EVENTS].upto,
            plan_version=ws.force.version,
            period=period,
            requests=month.counted.requests if month else 0,
            input_tokens=month.counted.input_tokens if month else 0,
            output_tokens=month.counted.output_tokens if month else 0,
            charge_pico=str(booked),
            credit_pico=str(plan.credit_pico),
            remaining_pico=str(max(0, plan.credit_pico - booked)),
            overage_pico=str(max(0, booked - plan.credit_pico) if plan.overage else 0),
            decision=decision,
            limits=tuple(limits),
        )
    )


def heartbeat(state: PartitionState) -> bytes:
    """The partition's own record of `workspace.state`, under the empty key."""
    return encode(
        HeartbeatStruct(
            kind="heartbeat",
            partition=state.checkpoint.partition,
            as_of_ms=state.checkpoint.time_ms,
            offset=state.checkpoint.inputs[USAGE_EVENTS].upto,
            late_resolved=state.checkpoint.late_resolved,
        )
    )

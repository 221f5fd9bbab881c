"""Counting one event, and everything that follows from it: violations, thresholds, overage.

Event by event and in partition time alone, so that the same records split into batches in any
other way give the same counters, alerts and overage. `partition time` is the highest arrival
processed; the sliding minute ends with it.
"""

from __future__ import annotations

from spendstream.schemas.period import Period
from spendstream.streams.core.credit import accrue, cross_thresholds
from spendstream.streams.core.limits import check_minute, check_month
from spendstream.streams.core.outputs import Batch
from spendstream.streams.core.schedule import schedule
from spendstream.streams.core.state import WINDOW_SECONDS, PartitionState, Workspace


def count(
    state: PartitionState,
    batch: Batch,
    ws: Workspace,
    event_id: str,
    counted_ms: int,
    own: Period,
    billing: Period,
    input_tokens: int,
    output_tokens: int,
    cost: int | None,
    charge: int | None,
    blocked: bool,
) -> None:
    """Add an event to its workspace's counters and emit what it crosses.

    Args:
        own: the month of `counted_ms`; `billing`: the month its charge is booked to.
        cost, charge: pico-USD; None where it is not known. A model may have no price but the
            workspace's own.
        blocked: the call never reached its provider.
    """
    now = state.checkpoint.time_ms
    amount = charge or 0
    months = len(ws.months)
    month = ws.month(own.name)
    if len(ws.months) > months and now >= own.closes_ms:
        month.final = True  # nothing can be booked to it any more
    for counters in (ws.total, month.counted):
        counters.requests += 1
        counters.input_tokens += input_tokens
        counters.output_tokens += output_tokens
        if blocked:
            counters.blocked += 1
        counters.charge += amount
        if cost is None:
            counters.unpriced += 1
        else:
            counters.cost += cost
    batch.changed[ws.id] = ws
    second = now // 1_000
    ws.slide(second)
    plan = ws.force.plan
    # A blocked call is a fact worth counting, but it used nothing: were it in the windows, a client
    # that retries would keep itself blocked for ever.
    if not blocked:
        counted_second = counted_ms // 1_000
        if counted_second > second - WINDOW_SECONDS:
            tokens = input_tokens + output_tokens
            bucket = ws.minute.get(counted_second)
            if bucket is None:
                ws.minute[counted_second] = [1, tokens, amount]
            else:
                bucket[0] += 1
                bucket[1] += tokens
                bucket[2] += amount
            sums = ws.sums
            sums[0] += 1
            sums[1] += tokens
            sums[2] += amount
        for limit in plan.limits:
            if limit.window == "minute":
                check_minute(state, batch, ws, limit, event_id)
            else:
                check_month(state, batch, ws, limit, month.counted, event_id, own.name)
    if amount:
        if billing is not own:
            month = ws.month(billing.name)
        month.booked += amount
        if month.booked >= month.next_alarm:
            cross_thresholds(state, batch, ws, billing.name, month, event_id)
        if plan.overage and month.booked > plan.credit_pico:
            accrue(state, batch, ws, billing.name, month, event_id)
            schedule(state, ws)
    if len(ws.months) > months:
        schedule(state, ws)  # a month that has begun must also close

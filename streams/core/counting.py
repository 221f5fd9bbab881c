"""Counting one event, and everything that follows from it: violations, thresholds, overage.

Event by event and in partition time alone, so that the same records split into batches in any
other way give the same counters, alerts and overage. `partition time` is the highest arrival
processed; the sliding minute ends with it.
"""

from __future__ import annotations

from spendstream.schemas.period import Period, month_of
from spendstream.streams.core.credit import accrue, cross_thresholds
from spendstream.streams.core.limits import check_minute, check_month
from spendstream.streams.core.outputs import Batch
from spendstream.streams.core.schedule import schedule
from spendstream.streams.core.state import WINDOW_SECONDS, PartitionState, Workspace


class Counted:
    """One event as the counters see it. Amounts in pico-USD; `charge` None where unpriced."""

    __slots__ = (
        "blocked",
        "charge",
        "cost",
        "counted_ms",
        "event_id",
        "input_tokens",
        "output_tokens",
    )

    def __init__(
        self,
        event_id: str,
        counted_ms: int,
        input_tokens: int,
        output_tokens: int,
        cost: int | None,
        charge: int | None,
        blocked: bool,
    ) -> None:
        self.event_id = event_id
        self.counted_ms = counted_ms
        self.input_tokens = input_tokens
        self.output_tokens = output_tokens
        self.cost = cost
        self.charge = charge
        self.blocked = blocked


def count(
    state: PartitionState, batch: Batch, ws: Workspace, event: Counted, billing: Period
) -> None:
    """Add an event to its workspace's counters and emit what it crosses."""
    now = state.checkpoint.time_ms
    charge = event.charge or 0
    months = len(ws.months)
    own = ws.month(month_of(event.counted_ms).name)
    for counters in (ws.total, own.counted):
        counters.requests += 1
        counters.input_tokens += event.input_tokens
        counters.output_tokens += event.output_tokens
        if event.charge is None:
            counters.unpriced += 1
        else:
            counters.cost += event.cost or 0
            counters.charge += charge
    batch.changed[ws.id] = ws
    second = now // 1_000
    ws.slide(second)
    # A blocked call is a fact worth counting, but it used nothing: were it in the windows, a client
    # that retries would keep itself blocked for ever.
    if not event.blocked:
        counted_second = event.counted_ms // 1_000
        if counted_second > second - WINDOW_SECONDS:
            tokens = event.input_tokens + event.output_tokens
            bucket = ws.minute.get(counted_second)
            if bucket is None:
                ws.minute[counted_second] = [1, tokens, charge]
            else:
                bucket[0] += 1
                bucket[1] += tokens
                bucket[2] += charge
            sums = ws.sums
            sums[0] += 1
            sums[1] += tokens
            sums[2] += charge
        for limit in ws.force.plan.limits:
            if limit.window == "minute":
                check_minute(state, batch, ws, limit, event.event_id)
            else:
                check_month(state, batch, ws, limit, own.counted, event.event_id, event.counted_ms)
    if charge:
        booked = ws.month(billing.name)
        booked.booked += charge
        if booked.booked >= booked.next_alarm:
            cross_thresholds(state, batch, ws, billing.name, booked, event.event_id)
        if ws.force.plan.overage and booked.booked > ws.force.plan.credit_pico:
            accrue(state, batch, ws, billing.name, booked, event.event_id)
            schedule(state, ws)
    if len(ws.months) > months:
        schedule(state, ws)  # a month that has begun must also close

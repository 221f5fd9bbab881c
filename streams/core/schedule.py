"""Time passes without events: what is next due for a workspace, and doing it.

A heap holds one standing appointment a workspace; an entry that no longer matches it is stale. What
falls due is done at its own time, however much later it is done; and before anything else happens
to the workspace (`settle`). So rows made by time are the same in any cut into batches.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Final

from spendstream.schemas.period import month_named, month_of
from spendstream.streams.core.credit import (
    OVERAGE_STEP_PICO,
    OVERAGE_WAIT_MS,
    OVERDUE_MS,
    cumulative_of,
    flush,
)
from spendstream.streams.core.limits import minute_used_up, month_key
from spendstream.streams.core.outputs import Batch
from spendstream.streams.core.plans import NEVER, PlanTable
from spendstream.streams.core.state import PartitionState, Workspace

PUBLISH_EVERY_MS: Final = 1_000
MAX_DUE_RUNS: Final = 10_000
KEEP_MONTHS_MS: Final = 70 * 86_400_000
"""A month is forgotten this long after its close; an event may be 35 days late."""


def advance(state: PartitionState, batch: Batch, plans: PlanTable, until_ms: int) -> None:
    """Let partition time go on to `until_ms`, running what falls due on the way, in order.

    At most MAX_DUE_RUNS workspaces a batch: the end of a month concerns all of them at once.
    """
    if state.plan_revision != plans.revision:
        _wake_for_plans(state, plans)
    checkpoint = state.checkpoint
    heap = state.due
    while heap and heap[0][0] <= until_ms and batch.due_runs < MAX_DUE_RUNS:
        due_ms, workspace_id = heappop(heap)
        ws = state.workspaces[workspace_id]
        if due_ms != ws.due_ms:
            continue  # an earlier appointment has taken this one's place
        checkpoint.time_ms = max(checkpoint.time_ms, due_ms)
        batch.due_runs += 1
        _run_due(state, batch, ws, plans)
    checkpoint.time_ms = max(checkpoint.time_ms, until_ms)


def settle(state: PartitionState, batch: Batch, ws: Workspace, plans: PlanTable) -> None:
    """Do what is due of a workspace by now: `advance` may have had too many others to serve."""
    while ws.due_ms <= state.checkpoint.time_ms:
        _run_due(state, batch, ws, plans)


def refresh_plan(
    state: PartitionState, ws: Workspace, plans: PlanTable, at_ms: int | None = None
) -> None:
    """Take the plan in force at a moment (now); what hangs on it is looked at again."""
    now = state.checkpoint.time_ms if at_ms is None else at_ms
    # before the plan: a version that the follower's thread adds in between is then noticed later
    ws.plan_revision = plans.revision
    ws.force = plans.in_force(ws.id, now)
    for month in ws.months.values():
        month.next_alarm = 0
        pending = cumulative_of(ws, month) - month.overage_emitted
        if pending and not month.final:
            if pending >= OVERAGE_STEP_PICO:
                month.overage_since_ms = OVERDUE_MS
            elif month.overage_since_ms is None:
                month.overage_since_ms = now
    schedule(state, ws, now)


def schedule(state: PartitionState, ws: Workspace, at_ms: int | None = None) -> None:
    """Put the workspace's next appointment after a moment (now) on the heap, unless an earlier one
    stands."""
    due = next_due(ws, state.checkpoint.time_ms if at_ms is None else at_ms)
    if due < ws.due_ms:
        ws.due_ms = due
        heappush(state.due, (due, ws.id))


def next_due(ws: Workspace, now: int) -> int:
    """When something next happens to the workspace by itself, in milliseconds."""
    due = min(month_of(now).end_ms, ws.force.until_ms)
    for name, month in ws.months.items():
        if not month.final:
            due = min(due, month_named(name).closes_ms)
            if month.overage_since_ms == OVERDUE_MS:
                due = min(due, now + 1)
            elif month.overage_since_ms is not None:
                due = min(due, month.overage_since_ms + OVERAGE_WAIT_MS)
    if ws.unpublished:
        due = min(due, max(ws.published_ms + PUBLISH_EVERY_MS, now + 1))
    if minute_used_up(ws):
        due = min(due, (now // 1_000 + 1) * 1_000)
    return due


def _wake_for_plans(state: PartitionState, plans: PlanTable) -> None:
    # read once: the follower's thread may add a version meanwhile, which is then the next call's
    revision = plans.revision
    touched = plans.touched_since(state.plan_revision)
    state.plan_revision = revision
    ids = state.workspaces if None in touched else touched
    now = state.checkpoint.time_ms
    for workspace_id in ids:
        ws = state.workspaces.get(workspace_id or "")
        if ws is not None and ws.due_ms > now:
            ws.due_ms = now
            heappush(state.due, (now, ws.id))


def _run_due(state: PartitionState, batch: Batch, ws: Workspace, plans: PlanTable) -> None:
    """Do what is due at the workspace's appointment, at that time, and make the next one."""
    now = ws.due_ms
    ws.due_ms = NEVER
    if ws.plan_revision != plans.revision or now >= ws.force.until_ms:
        refresh_plan(state, ws, plans, now)
    batch.changed[ws.id] = ws
    # `finish` publishes it; were it due until then, a leap of time would run it every millisecond
    ws.unpublished = False
    ws.slide(now // 1_000)
    for name in list(ws.months):
        month = ws.months[name]
        closes_ms = month_named(name).closes_ms
        if now >= closes_ms and not month.final:
            flush(state, batch, ws, name, month, now, final=True)
            month.final = True
        elif month.overage_since_ms is not None and now >= month.overage_since_ms + OVERAGE_WAIT_MS:
            flush(state, batch, ws, name, month, now, final=False)
        if now >= closes_ms + KEEP_MONTHS_MS:
            del ws.months[name]
            for key in [key for key in ws.episodes if key.endswith(month_key("", name))]:
                del ws.episodes[key]
    schedule(state, ws, now)

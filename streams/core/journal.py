"""The rows of `usage.priced` are a journal: the same core brings a state forward from them.

A rebuild, a drift check or a re-rating reads rows instead of events. Pricing and deduplication
are done in them; what remains is counting.
"""

from __future__ import annotations

from typing import NamedTuple

from spendstream.schemas.period import month_named, month_of
from spendstream.schemas.topics import USAGE_PRICED
from spendstream.streams.core.counting import count
from spendstream.streams.core.ids import digest
from spendstream.streams.core.late_lane import mark_pricing
from spendstream.streams.core.outputs import Batch
from spendstream.streams.core.plans import PlanInForce, PlanTable
from spendstream.streams.core.schedule import advance, refresh_plan, settle
from spendstream.streams.core.state import PartitionState, Workspace


class JournalGap(ValueError):
    """A row does not follow the last one: rows are missing, and no exact state can be made."""


class JournalRow(NamedTuple):
    """What counting needs of a priced row; amounts in pico-USD, times in milliseconds."""

    seq: int
    topic: str
    counted_ms: int
    judged_ms: int
    event_id: str
    workspace_id: str
    input_tokens: int
    output_tokens: int
    cost: int | None
    charge: int | None
    blocked: bool
    billing_period: str
    plan_version: int


def apply_row(state: PartitionState, batch: Batch, row: JournalRow, plans: PlanTable) -> None:
    """Count a row that is already priced, as the worker counted it. Rows come in `seq` order.

    Raises:
        JournalGap: `row.seq` is not the next one.
    """
    checkpoint = state.checkpoint
    expected = checkpoint.seq[USAGE_PRICED] + 1
    if row.seq != expected:
        raise JournalGap(
            f"partition {checkpoint.partition}: row {expected} is expected, got {row.seq}"
        )
    if row.judged_ms > checkpoint.time_ms:
        advance(state, batch, plans, row.judged_ms)
    if checkpoint.time_ms >= state.next_mark_ms:
        mark_pricing(state)
    checkpoint.seq[USAGE_PRICED] = row.seq
    outcomes = checkpoint.outcomes[row.topic]
    outcomes["read"] += 1
    outcomes["priced"] += 1
    id_digest = digest(row.workspace_id, row.event_id)
    state.ids.forget(checkpoint.time_ms)
    state.ids.add_all((id_digest,), checkpoint.time_ms)
    batch.digests.append(id_digest)
    ws = state.workspaces.get(row.workspace_id)
    if ws is None:
        ws = state.workspaces[row.workspace_id] = Workspace(row.workspace_id)
    elif ws.due_ms <= checkpoint.time_ms:
        settle(state, batch, ws, plans)
    if ws.plan_revision != plans.revision or checkpoint.time_ms >= ws.force.until_ms:
        refresh_plan(state, ws, plans)
    if ws.force.version != row.plan_version:
        # the worker saw the version that the table names later than this row
        plan = plans.numbered(row.plan_version)
        ws.force = PlanInForce(plan, row.plan_version, ws.force.until_ms)
        for month in ws.months.values():
            month.next_alarm = 0
    count(
        state,
        batch,
        ws,
        row.event_id,
        row.counted_ms,
        month_of(row.counted_ms),
        month_named(row.billing_period),
        row.input_tokens,
        row.output_tokens,
        row.cost,
        row.charge,
        row.blocked,
    )

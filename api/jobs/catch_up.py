"""Let a partition's mirrored state catch up with the rows that are stored above it.

Counting is the core's (`journal`). What the rows do not tell is the clock: overage that waited was
sent when a minute had passed, whether or not an event came. So what the stored overage rows say was
sent, was sent, and what they do not say waits to be; the worker sends it. Alerts come from events
alone; those that are stored are known by what they are about, the others are sent again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import msgspec
from clickhouse_connect.driver.client import Client

from spendstream.api.stored import TABLES
from spendstream.schemas.money import pico_from_usd
from spendstream.schemas.reasons import Reason
from spendstream.schemas.topics import (
    USAGE_ALERTS,
    USAGE_DEAD,
    USAGE_EVENTS,
    USAGE_LATE,
    USAGE_OVERAGE,
    USAGE_PRICED,
    WORKSPACE_COMMANDS,
)
from spendstream.streams.core.ids import REMEMBER_MS, Tag, digest, pack
from spendstream.streams.core.journal import JournalGap, JournalRow, apply_row
from spendstream.streams.core.outputs import Batch, Row
from spendstream.streams.core.plans import PlanTable
from spendstream.streams.core.schedule import refresh_plan
from spendstream.streams.core.state import Checkpoint, PartitionState

IDS_A_RECORD: Final = 50_000
"""Of 16 bytes each: well within the topic's largest record."""
_MINUTE_MS: Final = 60_000


class CannotCatchUp(ValueError):
    """The stored rows do not continue the stored checkpoint; the sentence says where."""


class CaughtUp(NamedTuple):
    """The state after the rows, and what has to be sent with it. `rows`, `ids`: how many."""

    state: PartitionState
    rows: int
    alerts: list[Row]
    packed_ids: list[bytes]
    ids: int


def catch_up(client: Client, state: PartitionState, plans: PlanTable) -> CaughtUp:
    """Count the rows above the checkpoint of `state`, which is changed in place.

    Raises CannotCatchUp.
    """
    checkpoint = state.checkpoint
    last = {topic: _last_seq(client, topic, checkpoint.partition) for topic in TABLES}
    for topic, seq in last.items():
        if seq < checkpoint.seq.get(topic, 0):
            raise CannotCatchUp(
                f"partition {checkpoint.partition}: the mirrored checkpoint is at row "
                f"{checkpoint.seq[topic]} of {topic}, but only {seq} are stored"
            )
    before = dict(checkpoint.seq)
    batch = Batch()
    rows = 0
    try:
        for row in _rows_above(client, checkpoint.partition, before[USAGE_PRICED]):
            apply_row(state, batch, row, plans)
            rows += 1
    except JournalGap as error:
        raise CannotCatchUp(f"usage_raw has a hole: {error}") from error
    _count_refused(client, state, before)
    _settle_late(client, state, before)
    _settle_overage(client, state, before[USAGE_OVERAGE])
    checkpoint.seq.update(last)
    alerts = _unsent_alerts(client, state, batch, before[USAGE_ALERTS])
    for ws in state.workspaces.values():
        refresh_plan(state, ws, plans)
    packed, ids = _ids(client, state, before[USAGE_PRICED])
    return CaughtUp(state, rows, alerts, packed, ids)


def settle_forwarded(checkpoints: Iterable[Checkpoint]) -> None:
    """Make the partitions, once caught up, have forwarded as many events as they took over.

    A forwarded event leaves its row with the partition that took it. So where the other one's
    checkpoint was not mirrored, it was read and forwarded all the same; and where the row was not
    stored, the event was lost with the broker, and counts as never read, like any that was lost.
    """
    checkpoints = list(checkpoints)
    outcomes = [checkpoint.outcomes for checkpoint in checkpoints]
    missing = sum(checkpoint.taken_over for checkpoint in checkpoints)
    missing -= sum(by_topic[USAGE_EVENTS]["forwarded"] for by_topic in outcomes)
    for by_topic in outcomes:
        counts = by_topic[USAGE_EVENTS]
        change = max(missing, -counts["forwarded"])
        counts["read"] += change
        counts["forwarded"] += change
        missing -= change


def _rows_above(client: Client, partition: int, seq: int) -> Iterator[JournalRow]:
    query = (
        "SELECT seq, topic, toUnixTimestamp64Milli(counted), toUnixTimestamp64Milli(judged), "
        "event_id, workspace_id, ifNull(input_tokens, 0), ifNull(output_tokens, 0), cost, charge, "
        "status = 'blocked', billing_period, plan_version FROM usage_raw "
        "WHERE partition = {partition:UInt32} AND seq > {seq:UInt64} ORDER BY seq"
    )
    parameters = {"partition": partition, "seq": seq}
    with client.query_row_block_stream(query, parameters=parameters) as blocks:
        for block in blocks:
            for row in block:
                cost, charge, blocked, period, plan_version = row[8:]
                yield JournalRow._make(
                    (
                        *row[:8],
                        None if cost is None else pico_from_usd(cost),
                        None if charge is None else pico_from_usd(charge),
                        bool(blocked),
                        period,
                        plan_version,
                    )
                )


def _count_refused(client: Client, state: PartitionState, before: dict[str, int]) -> None:
    """Late and dead records above the checkpoint were read, too. Duplicates leave no row."""
    outcomes = state.checkpoint.outcomes
    for topic, outcome in ((USAGE_LATE, "late"), (USAGE_DEAD, "dead")):
        rows = client.query(
            f"SELECT topic, count() FROM {TABLES[topic]} WHERE partition = {{partition:UInt32}} "
            "AND seq > {seq:UInt64} GROUP BY topic",
            parameters={"partition": state.checkpoint.partition, "seq": before[topic]},
        ).result_rows
        for name, count in rows:
            counts = outcomes[str(name)]
            counts["read"] += int(count)
            counts[outcome] += int(count)
    refused = client.query(
        "SELECT count() FROM dead_letters WHERE partition = {partition:UInt32} "
        "AND seq > {seq:UInt64} AND topic = {commands:String} AND reason = {reason:String}",
        parameters={
            "partition": state.checkpoint.partition,
            "seq": before[USAGE_DEAD],
            "commands": WORKSPACE_COMMANDS,
            "reason": Reason.INVALID_COMMAND,
        },
    ).result_rows
    state.checkpoint.refused_commands += int(refused[0][0])


def _settle_late(client: Client, state: PartitionState, before: dict[str, int]) -> None:
    """Late rows are resolved in their order: up to the last that has left a row, all are.

    Those before it that have left none were repeats. What was resolved after it, and has left
    nothing, is resolved again.
    """
    checkpoint = state.checkpoint
    mark = checkpoint.late_resolved
    parameters: dict[str, Any] = {
        "partition": checkpoint.partition,
        "commands": WORKSPACE_COMMANDS,
        "mark": mark,
        "priced": before[USAGE_PRICED],
        "late": before[USAGE_LATE],
    }
    same = "USING (partition, workspace_id, event_id, arrival, time)"
    # of several copies of an event the first one was counted
    counted = client.query(
        "SELECT min(late.seq) FROM usage_raw INNER JOIN "
        "(SELECT * FROM late WHERE partition = {partition:UInt32} AND seq > {mark:UInt64}) AS late "
        f"{same} WHERE partition = {{partition:UInt32}} AND usage_raw.seq > {{priced:UInt64}} "
        "AND usage_raw.topic = {commands:String} GROUP BY usage_raw.seq",
        parameters=parameters,
    ).result_rows
    if not counted:
        return
    checkpoint.late_resolved = max(int(seq) for (seq,) in counted)
    again = client.query(
        "SELECT uniqExact(again.seq) FROM (SELECT * FROM late WHERE partition = "
        "{partition:UInt32} AND topic = {commands:String} AND seq > {late:UInt64}) AS again "
        "INNER JOIN (SELECT * FROM late WHERE partition = {partition:UInt32} "
        f"AND seq > {{mark:UInt64}} AND seq <= {{resolved:UInt64}}) AS first {same} "
        "WHERE first.seq < again.seq",
        parameters=parameters | {"resolved": checkpoint.late_resolved},
    ).result_rows
    repeats = checkpoint.late_resolved - mark - len(counted) - int(again[0][0])
    counts = checkpoint.outcomes[WORKSPACE_COMMANDS]
    counts["read"] += repeats
    counts["duplicate"] += repeats


def _settle_overage(client: Client, state: PartitionState, seq: int) -> None:
    """Overage sent is what the stored rows say; `refresh_plan` lets the rest wait its minute."""
    rows = client.query(
        "SELECT workspace_id, period, to_cumulative, revision, final FROM overage "
        "WHERE partition = {partition:UInt32} ORDER BY seq",
        parameters={"partition": state.checkpoint.partition},
    ).result_rows
    sent = {(str(w), str(p)): (pico_from_usd(c), int(r), bool(f)) for w, p, c, r, f in rows}
    for ws in state.workspaces.values():
        for name, month in ws.months.items():
            cumulative, revision, final = sent.get((ws.id, name), (0, 0, False))
            if month.final and not final and (cumulative or month.overage_emitted):
                month.final = False  # its last row was not stored: it is due again at once
            month.overage_emitted = cumulative
            month.overage_revision = revision
            month.overage_since_ms = None
            month.final = month.final or final


def _unsent_alerts(client: Client, state: PartitionState, batch: Batch, seq: int) -> list[Row]:
    """Alerts on the rows that are not stored, numbered on from the last that is."""
    checkpoint = state.checkpoint
    rows = client.query(
        "SELECT workspace_id, `limit`, scope, threshold_percent, event_id FROM alerts "
        "WHERE partition = {partition:UInt32} AND seq > {seq:UInt64}",
        parameters={"partition": checkpoint.partition, "seq": seq},
    ).result_rows
    stored = {tuple(row) for row in rows}
    unsent: list[Row] = []
    for key, value in batch.rows[USAGE_ALERTS]:
        alert: dict[str, Any] = msgspec.json.decode(value)
        about = (
            alert["workspace_id"],
            alert["limit"],
            alert["scope"],
            alert.get("threshold_percent"),
            alert.get("event_id") or "",
        )
        if about not in stored:
            checkpoint.seq[USAGE_ALERTS] += 1
            alert["seq"] = checkpoint.seq[USAGE_ALERTS]
            unsent.append((key, msgspec.json.encode(alert)))
    return unsent


def _ids(client: Client, state: PartitionState, before: int) -> tuple[list[bytes], int]:
    """Records of `workspace.ids` for the ids that a repeat could still meet.

    What came by a command arrived before it was counted, maybe long before. When it was counted,
    the marks of the checkpoint, whose last priced row is `before`, say well enough.
    """
    checkpoint = state.checkpoint
    live = checkpoint.time_ms - REMEMBER_MS - _MINUTE_MS
    counted = min(
        (seq for time_ms, seq in checkpoint.priced_marks if time_ms > live), default=before
    )
    query = (
        "SELECT workspace_id, event_id, toUnixTimestamp64Milli(arrival) FROM usage_raw "
        "WHERE partition = {partition:UInt32} "
        "AND (arrival > fromUnixTimestamp64Milli({since:Int64}, 'UTC') "
        "OR topic = {commands:String} AND seq > {counted:UInt64}) ORDER BY seq"
    )
    parameters = {
        "partition": checkpoint.partition,
        "since": max(0, live),
        "commands": WORKSPACE_COMMANDS,
        "counted": counted,
    }
    packed: list[bytes] = []
    pending: list[bytes] = []
    total = time_ms = 0
    with client.query_row_block_stream(query, parameters=parameters) as blocks:
        for block in blocks:
            for workspace_id, event_id, arrival_ms in block:
                # a record's ids are remembered from its own time, which must never go back
                time_ms = max(time_ms, int(arrival_ms))
                pending.append(digest(workspace_id, event_id))
                total += 1
                if len(pending) == IDS_A_RECORD:
                    packed.append(pack(Tag(0, (0, 0), time_ms), pending))
                    pending = []
    if pending:
        packed.append(pack(Tag(0, (0, 0), time_ms), pending))
    return packed, total


def _last_seq(client: Client, topic: str, partition: int) -> int:
    rows = client.query(
        f"SELECT max(seq) FROM {TABLES[topic]} WHERE partition = {{partition:UInt32}}",
        parameters={"partition": partition},
    ).result_rows
    return int(rows[0][0])

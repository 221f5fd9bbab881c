"""A batch through the core: records in, rows and changed state out. No Kafka, no clock, no I/O.

`process` takes one input's records in offset order and may be called several times for a batch;
`finish` closes it. The state is changed in place: whoever cannot commit the batch drops the state
and recovers it.

Every record of an input ends as exactly one of priced, duplicate, late, dead, forwarded; the
counts are in the checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from spendstream.schemas.event import FUTURE_LIMIT_MS, OLD_LIMIT_MS
from spendstream.schemas.partition import partition_of
from spendstream.schemas.period import booked_to, from_ms, month_of
from spendstream.schemas.prices import PriceBook
from spendstream.schemas.reasons import InvalidEvent, Reason
from spendstream.schemas.topics import (
    ID_HORIZON_MS,
    USAGE_EVENTS,
    USAGE_LATE,
    USAGE_PRICED,
)
from spendstream.streams.core.counting import count
from spendstream.streams.core.dead_letters import bury
from spendstream.streams.core.decode import decode_event
from spendstream.streams.core.envelope import envelope
from spendstream.streams.core.forwarding import forward, origin_of
from spendstream.streams.core.ids import digest
from spendstream.streams.core.input_record import InputRecord, arrived
from spendstream.streams.core.outputs import Batch, LateStruct, PricedStruct, encode
from spendstream.streams.core.plans import NEVER, PlanTable
from spendstream.streams.core.pricing import cost_quality, price_event
from spendstream.streams.core.schedule import advance, refresh_plan
from spendstream.streams.core.state import PartitionState, Workspace


def process(
    state: PartitionState,
    batch: Batch,
    topic: str,
    records: Sequence[InputRecord],
    book: PriceBook,
    plans: PlanTable,
    latest_ms: int = NEVER,
) -> None:
    """Take the next records of an input, in offset order.

    Args:
        latest_ms: no record can have arrived later, whatever its time stamp says. (A topic that
            keeps its producers' time stamps is at the mercy of their clocks.)
    """
    checkpoint = state.checkpoint
    position = checkpoint.inputs[topic]
    outcomes = checkpoint.outcomes[topic]
    due = state.due
    for record in records:
        arrival = record.timestamp
        if arrival > latest_ms:
            record, arrival = arrived(record, latest_ms), latest_ms
        if arrival > checkpoint.time_ms:
            if (due and due[0][0] <= arrival) or state.plan_revision != plans.revision:
                advance(state, batch, plans, arrival)
            checkpoint.time_ms = arrival
            state.ids.forget(arrival)
        if topic == USAGE_EVENTS:
            outcome = _take(state, batch, record, record, book, plans)
        else:
            outcome = _command(state, batch, record, book, plans)
        outcomes["read"] += 1
        outcomes[outcome] += 1
        position.upto = record.offset + 1


def _take(
    state: PartitionState,
    batch: Batch,
    origin: InputRecord,
    record: InputRecord,
    book: PriceBook,
    plans: PlanTable,
) -> str:
    """One event to its outcome. `origin` is the record it first came in by, `record` this one."""
    try:
        if origin.value is None:
            raise InvalidEvent(Reason.TOMBSTONE, "the record has no value")
        event_id, source, time_ms, data = envelope(origin.headers, origin.value)
        event, data = decode_event(data)
        workspace_id = event.workspace_id
        ws = state.workspaces.get(workspace_id)
        age = origin.timestamp - time_ms
        if age > OLD_LIMIT_MS:
            raise InvalidEvent(
                Reason.TOO_OLD,
                f"ce_time: {from_ms(time_ms).isoformat()} is more than"
                f" {OLD_LIMIT_MS // 86_400_000} days before its arrival",
            )
        if -age > FUTURE_LIMIT_MS:
            raise InvalidEvent(
                Reason.IN_THE_FUTURE,
                f"ce_time: {from_ms(time_ms).isoformat()} is over an hour ahead of its arrival",
            )
    except InvalidEvent as invalid:
        bury(state, batch, origin, invalid)
        return "dead"
    checkpoint = state.checkpoint
    if ws is None and record is origin:
        home = partition_of(workspace_id, state.partitions)
        if home != checkpoint.partition:
            try:
                forward(batch, origin, home, workspace_id)
            except InvalidEvent as invalid:
                bury(state, batch, origin, invalid)
                return "dead"
            return "forwarded"
    # By partition time, which what came in by the other input may have moved past this arrival: an
    # id is forgotten by partition time, and a repeat of a forgotten one must never be counted.
    if checkpoint.time_ms - time_ms > ID_HORIZON_MS:
        checkpoint.seq[USAGE_LATE] += 1
        late = LateStruct(
            seq=checkpoint.seq[USAGE_LATE],
            partition=checkpoint.partition,
            topic=record.topic,
            offset=record.offset,
            arrival_ms=origin.timestamp,
            time_ms=time_ms,
            event_id=event_id,
            source=source,
            priced_seq=checkpoint.seq[USAGE_PRICED],
            event=msgspec.Raw(data),
        )
        batch.rows[USAGE_LATE].append((workspace_id.encode(), encode(late)))
        return "late"
    id_digest = digest(workspace_id, event_id)
    if id_digest in state.ids.seen:
        return "duplicate"
    state.ids.add(id_digest, checkpoint.time_ms)
    batch.digests.append(id_digest)

    usage = event.usage
    leaves, cost, rule = price_event(book, event, time_ms)
    charge = cost

    counted_ms = min(time_ms, origin.timestamp)
    if ws is None:
        ws = state.workspaces[workspace_id] = Workspace(workspace_id)
    if ws.plan_revision != plans.revision or checkpoint.time_ms >= ws.force.until_ms:
        refresh_plan(state, ws, plans)
    own = month_of(counted_ms)
    billing = booked_to(own, checkpoint.time_ms)
    checkpoint.seq[USAGE_PRICED] += 1
    row = PricedStruct(  # in the order of PricedUsage
        checkpoint.seq[USAGE_PRICED],
        checkpoint.partition,
        record.topic,
        record.offset,
        origin.timestamp,
        time_ms,
        counted_ms,
        event_id,
        source,
        msgspec.Raw(data),
        leaves,
        None if cost is None else str(cost),
        None if charge is None else str(charge),
        cost_quality(event, cost),
        rule,
        book.version,
        ws.force.version,
        billing.name,
        None if billing is own else own.name,
    )
    batch.rows[USAGE_PRICED].append((ws.key, encode(row)))
    count(
        state,
        batch,
        ws,
        event_id,
        counted_ms,
        own,
        billing,
        usage.input_tokens if usage is not None else 0,
        usage.output_tokens if usage is not None else 0,
        cost,
        charge,
        event.status == "blocked",
    )
    return "priced"


def _command(
    state: PartitionState, batch: Batch, record: InputRecord, book: PriceBook, plans: PlanTable
) -> str:
    """A record of `workspace.commands`: for now a forwarded event."""
    try:
        origin = origin_of(record.value or b"")
    except InvalidEvent as invalid:
        bury(state, batch, record, invalid)
        return "dead"
    return _take(state, batch, origin, record, book, plans)

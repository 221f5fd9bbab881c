"""A condemned record's way through the core: its time passes, its letter is written, no more.

Everything but what the record says happens as if it were processed. So where the fault is not the
record's (in what fell due, say) this fails, too, and no letter is written.
"""

from __future__ import annotations

import msgspec

from spendstream.schemas.reasons import InvalidEvent, Reason
from spendstream.schemas.topics import USAGE_LATE, WORKSPACE_COMMANDS
from spendstream.streams.core.dead_letters import bury
from spendstream.streams.core.input_record import InputRecord, arrived
from spendstream.streams.core.outputs import Batch
from spendstream.streams.core.plans import PlanTable
from spendstream.streams.core.schedule import advance
from spendstream.streams.core.state import PartitionState


def condemn(
    state: PartitionState,
    batch: Batch,
    topic: str,
    record: InputRecord,
    plans: PlanTable,
    latest_ms: int,
    detail: str,
) -> None:
    """Take the next record of an input as dead; the arguments are those of `process`."""
    checkpoint = state.checkpoint
    if record.timestamp > latest_ms:
        record = arrived(record, latest_ms)
    if record.timestamp > checkpoint.time_ms:
        advance(state, batch, plans, record.timestamp)
        state.ids.forget(checkpoint.time_ms)
    bury(state, batch, record, InvalidEvent(Reason.PROCESSING_FAILED, detail))
    if topic == WORKSPACE_COMMANDS:
        _settle(state, record)
    outcomes = checkpoint.outcomes[topic]
    outcomes["read"] += 1
    outcomes["dead"] += 1
    checkpoint.inputs[topic].upto = record.offset + 1


def _settle(state: PartitionState, record: InputRecord) -> None:
    """Of a command: what it stood for is dead, too. Read without the decoder that may fail on it.

    A late row stays resolved; else the resolver would send its command again, for ever.
    """
    checkpoint = state.checkpoint
    try:
        command = msgspec.json.decode(record.value or b"", type=dict)
    except (ValueError, RecursionError):
        command = {}
    if command.get("kind") == "forwarded":
        return  # an event that is dead
    turn = checkpoint.late_resolved + 1
    if command.get("late_seq") == turn <= checkpoint.seq[USAGE_LATE]:
        checkpoint.late_resolved = turn
    else:
        checkpoint.refused_commands += 1

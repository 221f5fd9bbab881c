"""Late events: set aside uncounted, and counted or dropped when it is known what they are.

A row of `usage.late` may be a repeat of an event whose id is forgotten here. The resolver looks it
up among the rows of `usage.priced` that are stored, up to `checked_seq`, and sends one command a
row, in the order of their `seq`. Three things make each row count once, however often and however
late the resolver sends:

- `late_resolved`, in the checkpoint: a command that is not for the row after it changes nothing.
- What was priced after `checked_seq`, and would not have been found, is still among the ids here.
- If it is not certain that it is, the event is set aside again, under a new `seq`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from spendstream.schemas.partition import partition_of
from spendstream.schemas.reasons import InvalidEvent, Reason
from spendstream.schemas.topics import HOUR_MS, USAGE_LATE, USAGE_PRICED
from spendstream.streams.core.incoming import Incoming, Resolution
from spendstream.streams.core.outputs import Batch, LateStruct, encode
from spendstream.streams.core.state import PartitionState

MARK_EVERY_MS: Final = HOUR_MS
"""So the checkpoint holds about as many marks as the ids' horizon has hours."""


def set_aside(state: PartitionState, batch: Batch, late: Incoming) -> None:
    """Write an event to `usage.late`."""
    checkpoint = state.checkpoint
    checkpoint.seq[USAGE_LATE] += 1
    row = LateStruct(
        seq=checkpoint.seq[USAGE_LATE],
        partition=checkpoint.partition,
        topic=late.record.topic,
        offset=late.record.offset,
        arrival_ms=late.arrival_ms,
        time_ms=late.time_ms,
        event_id=late.event_id,
        source=late.source,
        priced_seq=checkpoint.seq[USAGE_PRICED],
        event=msgspec.Raw(late.data),
    )
    batch.rows[USAGE_LATE].append((late.event.workspace_id.encode(), encode(row)))


def check_turn(state: PartitionState, resolution: Resolution) -> None:
    """Whether this is the row whose turn it is.

    Raises:
        InvalidEvent: it is not; were it taken, the rows before it would never be resolved.
    """
    checkpoint = state.checkpoint
    turn, known = checkpoint.late_resolved + 1, checkpoint.seq[USAGE_LATE]
    if resolution.late_seq != turn or turn > known:
        raise InvalidEvent(
            Reason.INVALID_COMMAND,
            f"late_seq: {resolution.late_seq}, but row {turn} of usage.late is next, of {known}",
        )
    again = resolution.again
    if again is not None and again.event.workspace_id not in state.workspaces:
        home = partition_of(again.event.workspace_id, state.partitions)
        if home != checkpoint.partition:
            raise InvalidEvent(Reason.INVALID_COMMAND, f"its workspace belongs to partition {home}")


def mark_pricing(state: PartitionState) -> None:
    """Note before a row is priced, once an hour: from here on, rows are priced from now on."""
    checkpoint = state.checkpoint
    marks = checkpoint.priced_marks
    now = checkpoint.time_ms
    if not marks or now - marks[-1][0] >= MARK_EVERY_MS:
        kept = [mark for mark in marks if state.ids.remembers(mark[0])]
        checkpoint.priced_marks = [*kept, (now, checkpoint.seq[USAGE_PRICED])]
    state.next_mark_ms = checkpoint.priced_marks[-1][0] + MARK_EVERY_MS


def known_since(state: PartitionState, checked_seq: int) -> bool:
    """Whether the ids of all rows priced after `checked_seq` are certainly remembered."""
    checkpoint = state.checkpoint
    return checked_seq >= checkpoint.seq[USAGE_PRICED] or any(
        seq <= checked_seq and state.ids.remembers(time_ms)
        for time_ms, seq in checkpoint.priced_marks
    )

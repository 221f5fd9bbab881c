"""Recovery: from the partition's checkpoint topic to the state that its last batch committed.

Only records whose `upto` the last checkpoint covers are applied: on a broker whose readers
see aborted records, those of a batch that never committed are among them.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import structlog

from spendstream.schemas.topics import CONTROL_PLANS, INPUTS, WORKSPACE_CHECKPOINT, WORKSPACE_IDS
from spendstream.streams.core.ids import unpack
from spendstream.streams.core.schedule import schedule
from spendstream.streams.core.state import (
    CHECKPOINT_KEY,
    Checkpoint,
    PartitionState,
    StateRecord,
    Workspace,
    decode_checkpoint,
    decode_state_record,
)
from spendstream.streams.losses import check_first_start, find_losses, halted
from spendstream.streams.reading import LogReader, read_to_end

_log = structlog.get_logger(__name__)

IdsLog = deque[tuple[int, int]]
"""(partition time, offset) of records of `workspace.ids` that may hold live ids, oldest first."""


class Snapshot(NamedTuple):
    """A partition as its last checkpoint committed it, and at which offset that checkpoint lies."""

    state: PartitionState
    ids_log: IdsLog
    checkpoint_at: int


def recover(reader: LogReader, partition: int, partitions: int, epochs: dict[str, str]) -> Snapshot:
    """Restore a partition. The caller has fenced every other owner before.

    Raises:
        EpochChanged, RetentionOvertook, LogTruncated, CheckpointLost: an operator must decide.
        Recoverable: try again.
    """
    checkpoint, checkpoint_at, records = _read_checkpoint(reader, partition)
    state = PartitionState(partition, partitions)
    if checkpoint is None:
        check_first_start(reader, partition)
        for topic in INPUTS:
            state.checkpoint.inputs[topic].epoch = epochs[topic]
        state.checkpoint.ids_epoch = epochs[WORKSPACE_IDS]
        return Snapshot(state, deque(), checkpoint_at)
    _check(reader, partition, checkpoint, epochs)
    state.checkpoint = checkpoint
    for record in records.values():
        if checkpoint.covers(record.era, record.upto):
            ws = Workspace(record.workspace_id, record.state)
            ws.slide(checkpoint.time_ms // 1_000)
            state.workspaces[ws.id] = ws
    ids_log = _read_ids(reader, state)
    # no version that is there wakes a workspace whose plan is not
    moved = {one.topic for accepted in checkpoint.accepted for one in accepted.moved}
    for ws in state.workspaces.values():
        ws.unpublished |= CONTROL_PLANS in moved
        schedule(state, ws)
    _log.info(
        "partition_recovered",
        partition=partition,
        batch=checkpoint.batch,
        upto=checkpoint.upto,
        workspaces=len(state.workspaces),
        ids=len(state.ids),
    )
    return Snapshot(state, ids_log, checkpoint_at)


def still_stands(
    reader: LogReader, snapshot: Snapshot, partition: int, epochs: dict[str, str]
) -> bool:
    """Whether a snapshot from before a rebalance is what `recover` would restore: nobody has
    committed to the partition since. The caller has fenced every other owner before.

    Raises:
        EpochChanged, RetentionOvertook, LogTruncated: an operator must decide.
        Recoverable: try again.
    """
    known = snapshot.state.checkpoint
    last: Checkpoint | None = None
    for message in read_to_end(reader, WORKSPACE_CHECKPOINT, partition, snapshot.checkpoint_at):
        value = message.value()
        if message.key() == CHECKPOINT_KEY and value is not None:
            last = decode_checkpoint(value)
    if last != known:
        return False
    _check(reader, partition, known, epochs)
    return True


def _check(
    reader: LogReader, partition: int, checkpoint: Checkpoint, epochs: dict[str, str]
) -> None:
    losses = find_losses(reader, checkpoint, epochs)
    if losses:
        raise halted(checkpoint, losses)


def _read_checkpoint(
    reader: LogReader, partition: int
) -> tuple[Checkpoint | None, int, dict[bytes, StateRecord]]:
    """The last checkpoint and its offset, and of each key the newest record that it covers."""
    checkpoint: Checkpoint | None = None
    checkpoint_at = 0
    settled: dict[bytes, StateRecord] = {}
    pending: list[tuple[bytes, StateRecord]] = []
    for message in read_to_end(reader, WORKSPACE_CHECKPOINT, partition, 0):
        key, value = message.key(), message.value()
        if key is None or value is None:
            continue
        if key != CHECKPOINT_KEY:
            pending.append((key, decode_state_record(value)))
            continue
        checkpoint, checkpoint_at = decode_checkpoint(value), message.offset() or 0
        for pending_key, record in pending:
            if checkpoint.covers(record.era, record.upto):
                settled[pending_key] = record
        # What lies before a checkpoint and is not covered by it was never committed. It must not
        # wait for a later one: the batch may have been cut differently when it was done again, and
        # a later checkpoint would then let it win over what is newer.
        pending.clear()
    return checkpoint, checkpoint_at, settled


def _read_ids(reader: LogReader, state: PartitionState) -> IdsLog:
    checkpoint = state.checkpoint
    ids_log: IdsLog = deque()
    for message in read_to_end(reader, WORKSPACE_IDS, checkpoint.partition, checkpoint.ids_from):
        tag, digests = unpack(message.value() or b"")
        if not checkpoint.covers(tag.era, tag.upto):
            continue
        ids_log.append((tag.partition_ms, message.offset() or 0))
        state.ids.add_all(digests, tag.partition_ms)
    state.ids.forget(checkpoint.time_ms)
    return ids_log

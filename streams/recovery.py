"""Recovery: from the partition's checkpoint topic to the state that its last batch committed.

Only records whose `upto` is not above the last checkpoint's are applied: on a broker whose readers
see aborted records, those of a batch that never committed are among them.
"""

from __future__ import annotations

import time
from collections import deque

import structlog

from spendstream.schemas.topics import BY_NAME, INPUTS, WORKSPACE_CHECKPOINT, WORKSPACE_IDS
from spendstream.streams.core.ids import REMEMBER_MS, unpack
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
from spendstream.streams.errors import EpochChanged, RetentionOvertook
from spendstream.streams.reading import LogReader, read_to_end, watermarks

_log = structlog.get_logger(__name__)

IdsLog = deque[tuple[int, int]]
"""(partition time, offset) of records of `workspace.ids` that may hold live ids, oldest first."""


def recover(
    reader: LogReader, partition: int, partitions: int, epochs: dict[str, str]
) -> tuple[PartitionState, IdsLog]:
    """Restore a partition. The caller has fenced every other owner before.

    Raises:
        EpochChanged, RetentionOvertook: an operator must decide.
        Recoverable: try again.
    """
    checkpoint, records = _read_checkpoint(reader, partition)
    state = PartitionState(partition, partitions)
    if checkpoint is None:
        for topic in INPUTS:
            state.checkpoint.inputs[topic].epoch = epochs[topic]
        state.checkpoint.ids_epoch = epochs[WORKSPACE_IDS]
        return state, deque()
    _check(reader, checkpoint, epochs)
    state.checkpoint = checkpoint
    upto = checkpoint.upto
    for record in records.values():
        if record.upto[0] <= upto[0] and record.upto[1] <= upto[1]:
            ws = Workspace(record.workspace_id, record.state)
            ws.slide(checkpoint.time_ms // 1_000)
            state.workspaces[ws.id] = ws
    ids_log = _read_ids(reader, state)
    for ws in state.workspaces.values():
        schedule(state, ws)
    _log.info(
        "partition_recovered",
        partition=partition,
        batch=checkpoint.batch,
        upto=upto,
        workspaces=len(state.workspaces),
        ids=len(state.ids),
    )
    return state, ids_log


def _read_checkpoint(
    reader: LogReader, partition: int
) -> tuple[Checkpoint | None, dict[bytes, StateRecord]]:
    """The last checkpoint, and of each key the newest record that it covers."""
    checkpoint: Checkpoint | None = None
    settled: dict[bytes, StateRecord] = {}
    pending: list[tuple[bytes, StateRecord]] = []
    for message in read_to_end(reader, WORKSPACE_CHECKPOINT, partition, 0):
        key, value = message.key(), message.value()
        if key is None or value is None:
            continue
        if key != CHECKPOINT_KEY:
            pending.append((key, decode_state_record(value)))
            continue
        checkpoint = decode_checkpoint(value)
        upto = checkpoint.upto
        for pending_key, record in pending:
            if record.upto[0] <= upto[0] and record.upto[1] <= upto[1]:
                settled[pending_key] = record
        # What lies before a checkpoint and is not covered by it was never committed. It must not
        # wait for a later one: the batch may have been cut differently when it was done again, and
        # a later checkpoint would then let it win over what is newer.
        pending.clear()
    return checkpoint, settled


def _check(reader: LogReader, checkpoint: Checkpoint, epochs: dict[str, str]) -> None:
    positions = {name: (p.epoch, p.upto) for name, p in checkpoint.inputs.items()}
    positions[WORKSPACE_IDS] = (checkpoint.ids_epoch, checkpoint.ids_from)
    for topic, (epoch, upto) in positions.items():
        if epoch != epochs[topic]:
            raise EpochChanged(
                f"{topic}/{checkpoint.partition}: the checkpoint's offsets belong to topic {epoch},"
                f" but the topic is {epochs[topic]} now: it was deleted and created again"
            )
        low = watermarks(reader, topic, checkpoint.partition).low
        if low > upto and not (topic == WORKSPACE_IDS and _expired(checkpoint)):
            raise RetentionOvertook(
                f"{topic}/{checkpoint.partition}: the log begins at {low}, but {upto} is next:"
                " records were deleted before they were processed"
            )


def _expired(checkpoint: Checkpoint) -> bool:
    """Whether ids that retention may have deleted by now were forgotten by partition time, too.

    A partition without events does not move `ids_from`, and the log may well begin above it.
    """
    deleted_up_to = int(time.time() * 1_000) - BY_NAME[WORKSPACE_IDS].retention_ms
    return checkpoint.time_ms - REMEMBER_MS > deleted_up_to


def _read_ids(reader: LogReader, state: PartitionState) -> IdsLog:
    checkpoint = state.checkpoint
    upto = checkpoint.upto
    ids_log: IdsLog = deque()
    for message in read_to_end(reader, WORKSPACE_IDS, checkpoint.partition, checkpoint.ids_from):
        tag, partition_ms, digests = unpack(message.value() or b"")
        if tag[0] > upto[0] or tag[1] > upto[1]:
            continue
        ids_log.append((partition_ms, message.offset() or 0))
        state.ids.add_all(digests, partition_ms)
    state.ids.forget(checkpoint.time_ms)
    return ids_log

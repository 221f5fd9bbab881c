"""What the workers know: public state by workspace, and the checkpoints with the exact counters.

`workspace.state` is what anyone may read; `workspace.checkpoint` is the worker's own and exact to
the pico-dollar. With the stack stopped, the mirror of the latter in ClickHouse holds the same
records, so both ways end in `fold`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from clickhouse_connect.driver.client import Client

from spendstream.api.log import partitions_of, read_to_end, reader
from spendstream.schemas import WorkspaceState
from spendstream.schemas.partition import partition_of
from spendstream.schemas.topics import WORKSPACE_CHECKPOINT, WORKSPACE_STATE
from spendstream.streams.core.state import (
    CHECKPOINT_KEY,
    Checkpoint,
    Saved,
    StateRecord,
    decode_checkpoint,
    decode_state_record,
)


class CheckpointRecord(NamedTuple):
    """A record of `workspace.checkpoint`, from Kafka or from its mirror."""

    partition: int
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class WorkerState:
    """Checkpoints by partition, and each workspace's counters as of them, and its partition."""

    checkpoints: dict[int, Checkpoint]
    workspaces: dict[str, Saved]
    partitions: dict[str, int]


def read_worker_state(bootstrap_servers: str, timeout: float = 60.0) -> WorkerState:
    """The exact state, from Kafka. Raises LogUnavailable."""
    return fold(
        CheckpointRecord(_partition(message.partition()), key, value)
        for message in read_to_end(bootstrap_servers, WORKSPACE_CHECKPOINT, timeout=timeout)
        if (key := message.key()) is not None and (value := message.value()) is not None
    )


def read_mirrored_state(client: Client) -> WorkerState:
    """The same from ClickHouse, as of the sinks' last mirroring."""
    return fold(mirrored_states(client))


def mirrored_states(client: Client) -> list[CheckpointRecord]:
    """The newest mirrored record of each key, in the order they were written."""
    rows = client.query(
        "SELECT partition, key, value FROM mirror_checkpoint FINAL ORDER BY partition, version"
    ).result_rows
    return [CheckpointRecord(int(p), key.encode(), value.encode()) for p, key, value in rows]


def fold(records: Iterable[CheckpointRecord]) -> WorkerState:
    """Newest record of each key, given in the order written, under the last checkpoint.

    A state record is tagged with its batch's `upto`. One above the last checkpoint's belongs to a
    batch that was never finished (a broker may show aborted records) and is left out.
    """
    checkpoints: dict[int, Checkpoint] = {}
    history: dict[tuple[int, bytes], list[StateRecord]] = {}
    for partition, key, value in records:
        if key == CHECKPOINT_KEY:
            checkpoints[partition] = decode_checkpoint(value)
        else:
            history.setdefault((partition, key), []).append(decode_state_record(value))
    workspaces: dict[str, Saved] = {}
    partitions: dict[str, int] = {}
    for (partition, _), versions in history.items():
        checkpoint = checkpoints.get(partition)
        if checkpoint is None:
            continue
        for record in reversed(versions):
            if checkpoint.covers(record.era, record.upto):
                workspaces[record.workspace_id] = record.state
                partitions[record.workspace_id] = partition
                break
    return WorkerState(checkpoints, workspaces, partitions)


def read_workspace_states(
    bootstrap_servers: str, workspace_id: str | None = None, timeout: float = 30.0
) -> dict[str, WorkspaceState]:
    """The newest public state by workspace id; of one workspace, or of all.

    A workspace that never sent an event has none. Raises LogUnavailable.
    """
    states: dict[str, WorkspaceState] = {}
    partitions = None
    if workspace_id is not None:
        with reader(bootstrap_servers) as consumer:
            count = len(partitions_of(consumer, WORKSPACE_STATE))
        partitions = [partition_of(workspace_id, count)]
    for message in read_to_end(bootstrap_servers, WORKSPACE_STATE, partitions, timeout):
        key, value = message.key(), message.value()
        if not key or value is None:
            continue
        name = key.decode()
        if workspace_id is None or name == workspace_id:
            states[name] = WorkspaceState.model_validate_json(value)
    return states


def _partition(number: int | None) -> int:
    assert number is not None
    return number

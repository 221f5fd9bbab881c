"""From records of `workspace.checkpoint` to the core's own state, as a worker recovers it."""

from __future__ import annotations

from collections.abc import Iterable

from clickhouse_connect.driver.client import Client

from spendstream.api.jobs.control import VersionRecord, mirrored_versions
from spendstream.api.state import WorkerState, read_mirrored_state
from spendstream.schemas import WorkspaceState
from spendstream.streams.core.plans import PlanTable
from spendstream.streams.core.public import decide, public_state
from spendstream.streams.core.schedule import refresh_plan, schedule
from spendstream.streams.core.state import PartitionState, Workspace


def restore(worker: WorkerState, partition: int, partitions: int) -> PartitionState:
    """A partition's state as of its checkpoint; an empty one where it has none. Without ids."""
    state = PartitionState(partition, partitions)
    checkpoint = worker.checkpoints.get(partition)
    if checkpoint is None:
        return state
    state.checkpoint = checkpoint
    for workspace_id, home in worker.partitions.items():
        if home == partition:
            ws = Workspace(workspace_id, worker.workspaces[workspace_id])
            ws.slide(checkpoint.time_ms // 1_000)
            state.workspaces[workspace_id] = ws
    for ws in state.workspaces.values():
        schedule(state, ws)
    return state


def plan_table(records: Iterable[VersionRecord]) -> PlanTable:
    """All versions, as the workers hold them."""
    table = PlanTable()
    for record in records:
        table.add(record.version)
    return table


def read_stored_states(client: Client, workspace_id: str) -> dict[str, WorkspaceState]:
    """A workspace's public state from the mirror in ClickHouse, for when nothing runs.

    As of the partition's last mirrored checkpoint. Empty where the workspace is unknown.
    """
    worker = read_mirrored_state(client)
    partition = worker.partitions.get(workspace_id)
    if partition is None:
        return {}
    state = restore(worker, partition, len(worker.checkpoints))
    ws = state.workspaces[workspace_id]
    refresh_plan(state, ws, plan_table(mirrored_versions(client)))
    public = public_state(state, ws, decide(ws, state.time_ms))
    return {workspace_id: WorkspaceState.model_validate_json(public)}

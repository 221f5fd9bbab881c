"""Prove every figure: recount = raw rows = rollups = worker state = credit and overage.

The recount is the ground (recount.py): from the manifests of what was sent, else from the raw
rows' own usage. Everything else is compared with it, to the pico-dollar. Nothing is repaired.

It looks at what is stored now; wait until it is settled first (settled.py). Rows that retention
has removed show as missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypedDict

from clickhouse_connect.driver.client import Client

from spendstream.api.jobs import control_prices
from spendstream.api.jobs.checks.difference import Difference, bounded, difference
from spendstream.api.jobs.checks.events import Expected, check_events, check_sums
from spendstream.api.jobs.checks.judges import Judges
from spendstream.api.jobs.checks.rollups import check_rollups
from spendstream.api.jobs.checks.sequence import (
    check_conservation,
    check_sequence,
    check_unique_ids,
)
from spendstream.api.jobs.checks.state import check_counters, check_credit
from spendstream.api.jobs.control import VersionRecord, mirrored_versions, read_records
from spendstream.api.jobs.recount import Recount, read_manifests, recount
from spendstream.api.state import WorkerState, read_mirrored_state, read_worker_state
from spendstream.schemas import DEFAULT_PLAN, Plan
from spendstream.schemas.topics import CONTROL_PLANS

Progress = Callable[[str], None]


class Verification(TypedDict):
    """`ok`: no difference. `events`: how many were recounted. `basis`: in words, from what."""

    ok: bool
    events: int
    manifest_events: int
    outside_manifests: int
    basis: str
    differences: list[Difference]


def verify(
    client: Client,
    bootstrap_servers: str | None = None,
    manifests: Path | None = None,
    progress: Progress | None = None,
) -> Verification:
    """Compare everything with everything.

    Args:
        client: ClickHouse, with the database of the sinks selected.
        bootstrap_servers: Kafka, for the workers' state; None reads its mirror in ClickHouse.
        manifests: directory with `*.jsonl`; None, missing or empty recounts from raw rows.
        progress: called with the name of each step.

    Raises:
        LogUnavailable: Kafka cannot be read.
        ValueError: a manifest is broken.
    """
    step = progress or _quiet
    step("reading the workers' state")
    worker = (
        read_worker_state(bootstrap_servers) if bootstrap_servers else read_mirrored_state(client)
    )
    plans = read_records(bootstrap_servers) if bootstrap_servers else mirrored_versions(client)
    prices = (
        control_prices.read_records(bootstrap_servers)
        if bootstrap_servers
        else control_prices.mirrored_records(client)
    )
    judges = Judges([r.version for r in prices], [r.version for r in plans])
    step("recounting the manifests")
    sent = _recount(client, manifests, judges)
    expected = Expected()
    differences = list(bounded(_differences(client, sent, worker, plans, judges, expected, step)))
    numbers = [record.version.version for record in prices]
    if numbers != list(range(1, len(numbers) + 1)):
        wanted = f"1 to {len(numbers)}"
        differences.append(difference("control.prices: versions", wanted, numbers))
    return {
        "ok": not differences,
        "events": expected.events,
        "manifest_events": len(sent or ()),
        "outside_manifests": expected.outside,
        "basis": _basis(sent, expected),
        "differences": differences,
    }


def _differences(
    client: Client,
    sent: Recount | None,
    worker: WorkerState,
    plans: list[VersionRecord],
    judges: Judges,
    expected: Expected,
    step: Progress,
) -> Iterator[Difference]:
    step("comparing events")
    resolved = {p: checkpoint.late_resolved for p, checkpoint in worker.checkpoints.items()}
    yield from check_events(client, sent, expected, resolved, judges)
    yield from check_sums(client, expected)
    step("comparing rollups")
    yield from check_rollups(client)
    step("looking for gaps and repeats")
    yield from check_sequence(client, worker.checkpoints)
    yield from check_conservation(worker.checkpoints)
    yield from check_unique_ids(client)
    step("comparing the workers' state")
    now_ms = max((c.time_ms for c in worker.checkpoints.values()), default=0)
    yield from check_counters(worker.workspaces, expected, now_ms)
    in_force = _plans_in_force(worker, plans)
    versions = {r.version.version: _plain(r.version.version, r.version.plan) for r in plans}
    yield from check_credit(client, worker.workspaces, expected, in_force, versions, now_ms)
    numbers = [record.version.version for record in plans]
    if numbers != list(range(1, len(numbers) + 1)):
        yield difference("control.plans: versions", f"1 to {len(numbers)}", numbers)


def _recount(client: Client, manifests: Path | None, judges: Judges) -> Recount | None:
    if manifests is None or not any(manifests.glob("*.jsonl")):
        return None
    return recount(read_manifests(manifests), judges.of_rows(client))


def _basis(sent: Recount | None, expected: Expected) -> str:
    if sent is None:
        return "no manifest: recounted from the raw rows' own usage"
    if expected.outside:
        return (
            f"manifests; {expected.outside} rows that no manifest knows were recounted from "
            "their own usage"
        )
    return "manifests"


def _plans_in_force(worker: WorkerState, records: list[VersionRecord]) -> dict[str, dict[str, Any]]:
    """Of each workspace: its own newest plan that is effective, else the default's, else ours.

    As the worker of its partition saw it: only the records below its checkpoint's position, at
    its own time.
    """
    found: dict[str, dict[str, Any]] = {}
    for workspace, partition in worker.partitions.items():
        checkpoint = worker.checkpoints[partition]
        position = checkpoint.control.get(CONTROL_PLANS)
        number, plan = 0, DEFAULT_PLAN
        for wanted in (None, workspace):
            for record in records:
                version = record.version
                seen = position is not None and record.offset < position.upto
                effective = version.effective_from_ms <= checkpoint.time_ms
                if seen and effective and version.workspace_id == wanted:
                    number, plan = version.version, version.plan
        found[workspace] = _plain(number, plan)
    return found


def _plain(version: int, plan: Plan) -> dict[str, Any]:
    return {
        "version": version,
        "credit_pico": plan.credit_pico,
        "overage": plan.overage,
        "thresholds": [threshold.percent for threshold in plan.thresholds],
    }


def _quiet(step: str) -> None:
    """Tell nobody."""

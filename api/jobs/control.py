"""Plans in `control.plans`: what is there, what is in force, and changing it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from clickhouse_connect.driver.client import Client

from spendstream.api.author import os_user
from spendstream.api.jobs.control_writer import check_expected, now_ms, only_writer
from spendstream.api.log import read_to_end
from spendstream.api.plans.file import DEFAULT, render_plan
from spendstream.schemas import DEFAULT_PLAN, Plan, PlanVersion
from spendstream.schemas.topics import CONTROL_PLANS


class Change(NamedTuple):
    """One difference between the plans in force and those wanted."""

    workspace_id: str | None
    field: str
    before: object
    after: object

    def __str__(self) -> str:
        who = DEFAULT if self.workspace_id is None else self.workspace_id
        return f"{who}: {self.field} {self.before!r} → {self.after!r}"


class VersionRecord(NamedTuple):
    """A version and its offset in `control.plans`: workers say up to which they have seen."""

    offset: int
    version: PlanVersion


def read_records(bootstrap_servers: str, timeout: float = 30.0) -> list[VersionRecord]:
    """Every version ever written, in order. Raises LogUnavailable."""
    return [
        VersionRecord(message.offset() or 0, PlanVersion.model_validate_json(value))
        for message in read_to_end(bootstrap_servers, CONTROL_PLANS, timeout=timeout)
        if (value := message.value()) is not None
    ]


def mirrored_versions(client: Client) -> list[VersionRecord]:
    """The same from the mirror in ClickHouse, as of the sinks' last mirroring."""
    rows = client.query(
        "SELECT offset, value FROM mirror_control FINAL WHERE topic = {topic:String}",
        parameters={"topic": CONTROL_PLANS},
    ).result_rows
    records = [
        VersionRecord(int(offset), PlanVersion.model_validate_json(value)) for offset, value in rows
    ]
    return sorted(records, key=lambda record: record.version.version)


def read_versions(bootstrap_servers: str, timeout: float = 30.0) -> list[PlanVersion]:
    """As `read_records`, without offsets."""
    return [record.version for record in read_records(bootstrap_servers, timeout)]


def newest(versions: Iterable[PlanVersion]) -> dict[str | None, PlanVersion]:
    """The newest version of each workspace's plan, the default under None."""
    return {v.workspace_id: v for v in sorted(versions, key=lambda v: v.version)}


def in_force(versions: Iterable[PlanVersion], at_ms: int) -> dict[str | None, PlanVersion]:
    """As `newest`, without versions that are not in force yet."""
    return newest(v for v in versions if v.effective_from_ms <= at_ms)


def diff(versions: Iterable[PlanVersion], wanted: Mapping[str | None, Plan]) -> list[Change]:
    """What writing `wanted` would change, field by field, as the plans file names them."""
    held = newest(versions)
    changes: list[Change] = []
    for workspace_id, plan in sorted(wanted.items(), key=lambda item: item[0] or ""):
        version = held.get(workspace_id)
        if version is None and workspace_id is not None:
            changes.append(Change(workspace_id, "plan", None, render_plan(plan)))
            continue
        before = render_plan(version.plan if version else DEFAULT_PLAN)
        changes += [
            Change(workspace_id, field, before[field], value)
            for field, value in render_plan(plan).items()
            if before[field] != value
        ]
    return changes


def apply_plans(
    bootstrap_servers: str,
    plans: Mapping[str | None, Plan],
    *,
    expected_version: int | None = None,
    author: str | None = None,
    effective_from_ms: int | None = None,
    timeout: float = 30.0,
) -> list[PlanVersion]:
    """Write the plans that differ from those held, in one transaction; all or none.

    Args:
        plans: by workspace id, the default plan under None.
        expected_version: the newest version of what the edit was made from; None accepts any.
        author: for the record; the operating system's user where not given.
        effective_from_ms: milliseconds since 1970; now where not given.
        timeout: seconds for each step with the broker.

    Returns:
        The versions written; empty where nothing changes.

    Raises:
        StaleEdit: the topic is not at `expected_version`, or another writer overtook this one.
        ControlUnavailable: the broker does not answer.
        LogUnavailable: the topic cannot be read.
    """
    with only_writer(bootstrap_servers, "plans", timeout) as append:
        versions = read_versions(bootstrap_servers, timeout)
        head = check_expected(versions, expected_version, "plans")
        records = _records(versions, head, plans, author or os_user(), effective_from_ms, now_ms())
        if records:
            append(CONTROL_PLANS, map(as_record, records))
        return records


def as_record(version: PlanVersion) -> tuple[bytes, bytes]:
    """Key and value."""
    return (version.workspace_id or "").encode(), version.model_dump_json().encode()


def _records(
    versions: list[PlanVersion],
    head: int,
    plans: Mapping[str | None, Plan],
    author: str,
    effective_from_ms: int | None,
    at_ms: int,
) -> list[PlanVersion]:
    held = newest(versions)
    changed = [
        (workspace_id, plan)
        for workspace_id, plan in sorted(plans.items(), key=lambda item: item[0] or "")
        if workspace_id not in held or held[workspace_id].plan != plan
    ]
    return [
        PlanVersion(
            version=head + number,
            workspace_id=workspace_id,
            plan=plan,
            effective_from_ms=at_ms if effective_from_ms is None else effective_from_ms,
            written_at_ms=at_ms,
            author=author,
        )
        for number, (workspace_id, plan) in enumerate(changed, 1)
    ]

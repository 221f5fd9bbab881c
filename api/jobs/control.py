"""Plans in `control.plans`: what is there, what is in force, and changing it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from clickhouse_connect.driver.client import Client

from spendstream.api.author import os_user
from spendstream.api.jobs.control_log import read_mirror, read_to_write, read_topic
from spendstream.api.jobs.control_writer import check_expected, now_ms, only_writer
from spendstream.api.plans.versions import edits_of
from spendstream.schemas import Plan, PlanVersion
from spendstream.schemas.topics import CONTROL_PLANS


class VersionRecord(NamedTuple):
    """A version and its offset in `control.plans`: workers say up to which they have seen."""

    offset: int
    version: PlanVersion


def read_records(bootstrap_servers: str, timeout: float = 30.0) -> list[VersionRecord]:
    """Every version ever written that can be read, in order. Raises LogUnavailable."""
    found = read_topic(bootstrap_servers, CONTROL_PLANS, PlanVersion, timeout)
    return [VersionRecord(*record) for record in found]


def mirrored_versions(client: Client) -> list[VersionRecord]:
    """The same from the mirror in ClickHouse, as of the sinks' last mirroring."""
    records = (VersionRecord(*one) for one in read_mirror(client, CONTROL_PLANS, PlanVersion))
    return sorted(records, key=lambda record: record.version.version)


def read_versions(bootstrap_servers: str, timeout: float = 30.0) -> list[PlanVersion]:
    """As `read_records`, without offsets."""
    return [record.version for record in read_records(bootstrap_servers, timeout)]


def check_stale(
    versions: Iterable[PlanVersion], expected: int | None, workspaces: Collection[str | None]
) -> int:
    """The newest version's number, for an edit of those workspaces' plans (None: the default).

    What others have changed meanwhile does not make it stale, except for the default plan where a
    workspace has no plan of its own yet: that is what it was edited from.

    Raises:
        StaleEdit: one of these plans is newer than `expected`, or there is no such version.
    """
    versions = tuple(versions)
    own = {version.workspace_id for version in versions}
    touched = [
        version
        for version in versions
        if version.workspace_id in workspaces
        or (version.workspace_id is None and not own.issuperset(workspaces))
    ]
    return check_expected(versions, expected, "plans", touched)


def apply_plans(
    bootstrap_servers: str,
    plans: Mapping[str | None, Plan],
    *,
    expected_version: int | None = None,
    author: str | None = None,
    reason: str | None = None,
    effective_from_ms: int | None = None,
    timeout: float = 30.0,
) -> list[PlanVersion]:
    """Write the plans that differ from those held, in one transaction; all or none.

    Args:
        plans: by workspace id, the default plan under None.
        expected_version: the newest version when the edit was made; None accepts any.
        author: for the record; the operating system's user where not given.
        reason: why, for the record.
        effective_from_ms: milliseconds since 1970; now where not given.
        timeout: seconds for each step with the broker.

    Returns:
        The versions written; empty where nothing changes.

    Raises:
        StaleEdit: one of these plans has changed since, or another writer overtook this one.
        ControlUnavailable: the broker does not answer.
        LogUnavailable: the topic cannot be read.
    """
    with only_writer(bootstrap_servers, "plans", timeout) as append:
        versions, following = read_to_write(bootstrap_servers, CONTROL_PLANS, PlanVersion, timeout)
        check_stale(versions, expected_version, plans)
        at_ms, by = now_ms(), author or os_user()
        from_ms = at_ms if effective_from_ms is None else effective_from_ms
        records = [
            PlanVersion(
                version=number,
                workspace_id=edit.workspace_id,
                plan=edit.plan,
                effective_from_ms=from_ms,
                written_at_ms=at_ms,
                author=by,
                reason=reason,
            )
            for number, edit in enumerate(edits_of(versions, plans, from_ms), following)
        ]
        if records:
            append(CONTROL_PLANS, map(as_record, records))
        return records


def as_record(version: PlanVersion) -> tuple[bytes, bytes]:
    """Key and value."""
    return (version.workspace_id or "").encode(), version.model_dump_json().encode()

"""The one writer of `control.plans`: command line and API change plans through it.

Every writer opens with the same `transactional.id`, which fences the one before it, and reads the
topic only after that. So whatever it read is still the end of the topic when it commits: a writer
that was overtaken in between cannot commit any more, and is told so.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from clickhouse_connect.driver.client import Client
from confluent_kafka import KafkaError, KafkaException, Producer

from spendstream.api.author import os_user
from spendstream.api.log import read_to_end
from spendstream.api.plans_file import DEFAULT, render_plan
from spendstream.schemas import DEFAULT_PLAN, Plan, PlanVersion
from spendstream.schemas.topics import CONTROL_PLANS

TRANSACTIONAL_ID: Final = "spendstream-control"
FENCED: Final = frozenset(
    {KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED}
)


class StaleEdit(ValueError):
    """Someone else changed the plans since they were read; read them again and repeat."""


class ControlUnavailable(RuntimeError):
    """The plans could not be written: the broker does not answer. Nothing was changed."""


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


def current_version(versions: Iterable[PlanVersion]) -> int:
    """What an edit made now must expect; 0 where no plan was ever written."""
    return max((version.version for version in versions), default=0)


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
        expected_version: `current_version` of what the edit was made from; None accepts any.
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
    producer = Producer(
        {
            "bootstrap.servers": bootstrap_servers,
            "transactional.id": TRANSACTIONAL_ID,
            "transaction.timeout.ms": 10_000,
            "message.timeout.ms": 10_000,
            "partitioner": "murmur2_random",
            "log_level": 0,  # what goes wrong is raised
        }
    )
    try:
        producer.init_transactions(timeout)
        versions = read_versions(bootstrap_servers, timeout)
        head = current_version(versions)
        if expected_version is not None and head != expected_version:
            raise StaleEdit(_stale(versions, expected_version, head))
        records = _records(versions, plans, author or os_user(), effective_from_ms, _now_ms())
        if records:
            _append(producer, records, timeout)
        return records
    except KafkaException as error:
        cause: Any = error.args[0]
        if cause.code() in FENCED:
            raise StaleEdit(
                "another writer changed the plans at the same moment, and this edit was not "
                "written; read the plans again and repeat it"
            ) from error
        raise ControlUnavailable(f"the plans were not written: {cause.str()}") from error
    finally:
        # what a fenced writer still holds must never be sent
        producer.purge()


def _records(
    versions: list[PlanVersion],
    plans: Mapping[str | None, Plan],
    author: str,
    effective_from_ms: int | None,
    now_ms: int,
) -> list[PlanVersion]:
    held = newest(versions)
    head = current_version(versions)
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
            effective_from_ms=now_ms if effective_from_ms is None else effective_from_ms,
            written_at_ms=now_ms,
            author=author,
        )
        for number, (workspace_id, plan) in enumerate(changed, 1)
    ]


def _append(producer: Producer, records: list[PlanVersion], timeout: float) -> None:
    producer.begin_transaction()
    try:
        for record in records:
            producer.produce(
                CONTROL_PLANS,
                key=(record.workspace_id or "").encode(),
                value=record.model_dump_json().encode(),
                partition=0,
            )
        producer.commit_transaction(timeout)
    except KafkaException as error:
        if not error.args[0].fatal():
            producer.abort_transaction(timeout)
        raise


def _stale(versions: list[PlanVersion], expected: int, head: int) -> str:
    authors = sorted({v.author for v in versions if v.version > expected})
    by = f" (since then by {', '.join(authors)})" if authors else ""
    return (
        f"the plans are at version {head}{by}, and this edit was made from version {expected}; "
        "nothing was written; read them again and repeat it"
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

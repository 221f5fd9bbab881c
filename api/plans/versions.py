"""Which of the versions of a plan counts, and what each of them has changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from spendstream.api.plans.changes import Change, changes_between
from spendstream.schemas import DEFAULT_PLAN, Plan, PlanVersion

Standing = Literal["in force", "later", "replaced", "withdrawn"]
"""`later` takes effect at a time to come; `withdrawn` was replaced before it did."""


class Edit(NamedTuple):
    """A plan that is to be written.

    `against` is what would hold from then on without it, None where that is the built-in default;
    `instead_of` are versions that take effect later, and never would.
    """

    workspace_id: str | None
    plan: Plan
    against: PlanVersion | None
    changes: list[Change]
    instead_of: list[PlanVersion]


class Written(NamedTuple):
    """A version, and what it has changed of the one before it (None: the built-in default)."""

    version: PlanVersion
    standing: Standing
    against: PlanVersion | None
    changes: list[Change]


def newest(versions: Iterable[PlanVersion]) -> dict[str | None, PlanVersion]:
    """The newest version of each workspace's plan, the default under None."""
    return {v.workspace_id: v for v in sorted(versions, key=lambda v: v.version)}


def in_force(versions: Iterable[PlanVersion], at_ms: int) -> dict[str | None, PlanVersion]:
    """As `newest`, without versions that are not in force yet."""
    return newest(v for v in versions if v.effective_from_ms <= at_ms)


def governing(
    versions: Iterable[PlanVersion], workspace_id: str | None, at_ms: int
) -> PlanVersion | None:
    """Its own version, else that of the default plan; None is the built-in default."""
    held = in_force(versions, at_ms)
    return held.get(workspace_id) or held.get(None)


def standings(versions: Iterable[PlanVersion], at_ms: int) -> dict[int, Standing]:
    """How each version stands at a time, by its number."""
    found: dict[int, Standing] = {}
    since: dict[str | None, int] = {}  # the earliest beginning of the versions after it
    for version in sorted(versions, key=lambda v: v.version, reverse=True):
        own, start = version.workspace_id, version.effective_from_ms
        replaced = own in since and since[own] <= max(start, at_ms)
        if not replaced:
            found[version.version] = "in force" if start <= at_ms else "later"
        else:
            found[version.version] = "replaced" if start < since[own] else "withdrawn"
        since[own] = min(start, since.get(own, start))
    return found


def edits_of(
    versions: Sequence[PlanVersion], wanted: Mapping[str | None, Plan], from_ms: int
) -> list[Edit]:
    """What of `wanted` is not so already, were it to take effect at `from_ms`."""
    return [
        edit
        for workspace_id, plan in sorted(wanted.items(), key=lambda item: item[0] or "")
        if (edit := _edit(versions, workspace_id, plan, from_ms)) is not None
    ]


def history_of(versions: Sequence[PlanVersion], at_ms: int) -> Iterator[Written]:
    """Every version in its order, compared with the one before it: of the workspace, else of the
    default plan."""
    standing = standings(versions, at_ms)
    held: dict[str | None, PlanVersion] = {}
    for version in sorted(versions, key=lambda v: v.version):
        against = held.get(version.workspace_id) or held.get(None)
        changes = changes_between(plan_of(against), version.plan)
        yield Written(version, standing[version.version], against, changes)
        held[version.workspace_id] = version


def plan_of(version: PlanVersion | None) -> Plan:
    return DEFAULT_PLAN if version is None else version.plan


def _edit(
    versions: Sequence[PlanVersion], workspace_id: str | None, plan: Plan, from_ms: int
) -> Edit | None:
    own = [version for version in versions if version.workspace_id == workspace_id]
    last = newest(own).get(workspace_id)
    if last is not None and last.plan == plan and last.effective_from_ms <= from_ms:
        return None
    against = governing(versions, workspace_id, from_ms)
    standing = standings(own, from_ms)
    later = [version for version in own if standing[version.version] == "later"]
    return Edit(
        workspace_id, plan, against, changes_between(plan_of(against), plan), instead_of=later
    )

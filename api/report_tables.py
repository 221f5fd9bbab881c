"""What can be reported by, and which table is read for it: the one with the fewest rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, TypeAlias

from spendstream.schemas.call_kinds import CALL_KINDS, OTHER_CALLS

Filters: TypeAlias = Mapping[str, str | Sequence[str]]

TAG_PREFIX: Final = "tag:"


class Group(NamedTuple):
    """`columns`: what a table must have; `value`: how it is read from them."""

    columns: tuple[str, ...]
    value: str


def _kind() -> str:
    """SQL of a call's kind, from a raw row."""
    cases = []
    for name, kind in CALL_KINDS.items():
        ways = []
        if kind.operations:
            ways.append(f"operation IN {_literals(kind.operations)}")
        if kind.used:
            ways.append(f"hasAny(mapKeys(usage_details), array{_literals(kind.used)})")
        cases.append(f"{' OR '.join(ways)}, '{name}'")
    return f"multiIf({', '.join(cases)}, '{OTHER_CALLS}')"


def _literals(names: Sequence[str]) -> str:
    return "(" + ", ".join(f"'{name}'" for name in names) + ")"


NAMED: Final = {
    "workspace": Group(("workspace_id",), "workspace_id"),
    "user": Group(("user_id",), "user_id"),
    "model": Group(("model",), "model"),
    "provider": Group(("provider",), "provider"),
    "request_type": Group(("request_type",), "request_type"),
    "task": Group(("task_id",), "task_id"),
    "trackable": Group(
        ("trackable_type", "trackable_id"),
        "if(trackable_id = '', '', concat(trackable_type, '/', trackable_id))",
    ),
    "api_key": Group(("api_key_id",), "api_key_id"),
    "quality": Group(("cost_quality",), "cost_quality"),
    "operation": Group(("operation",), "operation"),
    "kind": Group(("operation", "usage_details"), _kind()),
}
PERIODS: Final = {
    "hour": ("toStartOfHour({time})", "%Y-%m-%dT%H:00:00Z", timedelta(hours=1)),
    "day": ("toStartOfDay({time})", "%Y-%m-%d", timedelta(days=1)),
    "month": ("toStartOfMonth({time})", "%Y-%m", timedelta(days=1)),
}
GROUPS: Final = (*NAMED, "tag", *PERIODS)

# A task or trackable has its whole life in one rollup row, and only calls that have one are in
# there; the same holds where the report must read raw rows instead.
ONLY_WITH: Final = {"task": "task_id", "trackable": "trackable_id"}


class Table(NamedTuple):
    """A table to report from. `grain` None: it knows no time at all."""

    name: str
    time: str
    grain: timedelta | None
    columns: frozenset[str]


_COMMON: Final = frozenset({"provider", "model", "cost_quality"})
_BY_WORKSPACE: Final = _COMMON | {"workspace_id"}
_TYPED: Final = _BY_WORKSPACE | {"request_type"}

# the fewest rows first: the first that has all that is asked for is read
ROLLUPS: Final = (
    Table("usage_total", "", None, _BY_WORKSPACE),
    Table("usage_hour", "hour", timedelta(hours=1), _COMMON),
    Table("usage_trackable", "", None, _BY_WORKSPACE | {"trackable_type", "trackable_id"}),
    Table("usage_task", "", None, _BY_WORKSPACE | {"task_id"}),
    Table("usage_day", "toDateTime(day, 'UTC')", timedelta(days=1), _TYPED),
    Table("usage_quarter", "quarter", timedelta(minutes=15), _TYPED),
    Table(
        "usage_user_day", "toDateTime(day, 'UTC')", timedelta(days=1), _BY_WORKSPACE | {"user_id"}
    ),
)
RAW: Final = "usage_raw"
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def cheapest(
    group_by: Sequence[str],
    filters: Filters,
    start: datetime | None,
    end: datetime | None,
    only: str | None = None,
) -> Table | None:
    """The table to read; None where there is none, which can be with `only` a certain one."""
    names = [name for name in (*group_by, *filters) if name not in PERIODS]
    raw = Table(RAW, "counted", timedelta(milliseconds=1), frozenset())
    if only == RAW or any(name.startswith(TAG_PREFIX) for name in names):
        return raw
    needed = {column for name in names for column in NAMED[name].columns}
    grains = [PERIODS[group][2] for group in group_by if group in PERIODS]
    bounds = [bound for bound in (start, end) if bound is not None]
    for candidate in ROLLUPS:
        if (
            only in (None, candidate.name)
            and needed <= candidate.columns
            and _holds_all(candidate, group_by, filters)
            and _fits(candidate.grain, grains, bounds)
        ):
            return candidate
    return raw if only is None else None


def _holds_all(candidate: Table, group_by: Sequence[str], filters: Filters) -> bool:
    """Whether calls that the table leaves out are left out of the report, too."""
    return all(
        column not in candidate.columns
        or group in group_by
        or (group in filters and "" not in values(filters[group]))
        for group, column in ONLY_WITH.items()
    )


def _fits(grain: timedelta | None, grains: Sequence[timedelta], bounds: Sequence[datetime]) -> bool:
    """Whether all periods and bounds are whole numbers of the table's own."""
    if grain is None:
        return not grains and not bounds
    return all(not period % grain for period in grains) and all(
        not (bound - EPOCH) % grain for bound in bounds
    )


def values(wanted: str | Sequence[str]) -> Sequence[str]:
    return [wanted] if isinstance(wanted, str) else wanted

"""Who spent what: grouped sums over the rollups, or over the raw rows where no rollup has them.

API, command line and exports all render these. Figures come from ClickHouse; names that a caller
gives (workspaces, models, tag keys, …) travel as query parameters and are only ever data.

Times are UTC by counted time (the earlier of the event's own time and its arrival). Money is a
plain decimal string of USD, exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeAlias

from clickhouse_connect.driver.client import Client

Row: TypeAlias = dict[str, Any]
Filters: TypeAlias = Mapping[str, str | Sequence[str]]

TAG_PREFIX: Final = "tag:"


class ReportError(ValueError):
    """The report that was asked for does not exist; says what there is."""


class _Group(NamedTuple):
    """`columns`: what a table must have; `value`: how it is read from them."""

    columns: tuple[str, ...]
    value: str


_NAMED: Final = {
    "workspace": _Group(("workspace_id",), "workspace_id"),
    "user": _Group(("user_id",), "user_id"),
    "model": _Group(("model",), "model"),
    "provider": _Group(("provider",), "provider"),
    "request_type": _Group(("request_type",), "request_type"),
    "task": _Group(("task_id",), "task_id"),
    "trackable": _Group(
        ("trackable_type", "trackable_id"),
        "if(trackable_id = '', '', concat(trackable_type, '/', trackable_id))",
    ),
    "api_key": _Group(("api_key_id",), "api_key_id"),
    "quality": _Group(("cost_quality",), "cost_quality"),
}
_PERIODS: Final = {
    "hour": ("toStartOfHour({time})", "%Y-%m-%dT%H:00:00Z", timedelta(hours=1)),
    "day": ("toStartOfDay({time})", "%Y-%m-%d", timedelta(days=1)),
    "month": ("toStartOfMonth({time})", "%Y-%m", timedelta(days=1)),
}
GROUPS: Final = (*_NAMED, "tag", *_PERIODS)

# A task or trackable has its whole life in one rollup row, and only calls that have one are in
# there; the same holds where the report must read raw rows instead.
_ONLY_WITH: Final = {"task": "task_id", "trackable": "trackable_id"}


class _Table(NamedTuple):
    """A table to report from. `grain` None: it knows no time at all."""

    name: str
    time: str
    grain: timedelta | None
    columns: frozenset[str]


_COMMON: Final = frozenset({"provider", "model"})
_BY_WORKSPACE: Final = _COMMON | {"workspace_id"}
_TYPED: Final = _BY_WORKSPACE | {"request_type", "cost_quality"}

# the fewest rows first: the first that has all that is asked for is read
_ROLLUPS: Final = (
    _Table("usage_total", "", None, _BY_WORKSPACE),
    _Table("usage_hour", "hour", timedelta(hours=1), _COMMON),
    _Table("usage_trackable", "", None, _BY_WORKSPACE | {"trackable_type", "trackable_id"}),
    _Table("usage_task", "", None, _BY_WORKSPACE | {"task_id"}),
    _Table("usage_day", "toDateTime(day, 'UTC')", timedelta(days=1), _TYPED),
    _Table("usage_quarter", "quarter", timedelta(minutes=15), _TYPED),
    _Table(
        "usage_user_day", "toDateTime(day, 'UTC')", timedelta(days=1), _BY_WORKSPACE | {"user_id"}
    ),
)
_RAW: Final = "usage_raw"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Statement(NamedTuple):
    """A query and its parameters; `table` is what it reads."""

    table: str
    sql: str
    parameters: dict[str, Any]


def report(
    client: Client,
    group_by: Sequence[str],
    start: datetime | None = None,
    end: datetime | None = None,
    filters: Filters | None = None,
) -> list[Row]:
    """Sums by group, in the order of the groups' values.

    Args:
        group_by: names of GROUPS, `tag` as `tag:<key>`. Empty: one row for everything.
        start: counted at or after; must have a time zone.
        end: counted before; must have a time zone.
        filters: by group name (not a period), the value or values to keep. An empty string keeps
            what has none.

    Returns:
        One dict a group: the names of `group_by` with their values (None where an event has
        none), `requests`, `input_tokens`, `output_tokens`, `total_tokens`, `cost_usd`,
        `charge_usd`, `unpriced_requests`. Grouped by task or trackable, only calls that have one.

    Raises:
        ReportError: unknown group or filter, a group given twice, or a time without a zone.
    """
    statement = build(group_by, start, end, filters)
    result = client.query(statement.sql, parameters=statement.parameters)
    rows = []
    for values in result.result_rows:
        names, sums = values[: len(group_by)], values[len(group_by) :]
        requests, input_tokens, output_tokens, cost, charge, unpriced = sums
        row: Row = {
            group: name if name != "" else None for group, name in zip(group_by, names, strict=True)
        }
        row |= {
            "requests": int(requests),
            "input_tokens": int(input_tokens),
            "output_tokens": int(output_tokens),
            "total_tokens": int(input_tokens) + int(output_tokens),
            "cost_usd": plain(cost),
            "charge_usd": plain(charge),
            "unpriced_requests": int(unpriced),
        }
        rows.append(row)
    return rows


def build(
    group_by: Sequence[str],
    start: datetime | None = None,
    end: datetime | None = None,
    filters: Filters | None = None,
    table: str | None = None,
) -> Statement:
    """The query of a report, from the cheapest table that has it, or from `table`.

    Raises ReportError, also where `table` lacks what is asked for.
    """
    parameters: dict[str, Any] = {}
    filters = filters or {}
    _check(group_by, filters, start, end)
    source = _source(group_by, filters, start, end, table)
    selected = [_value(group, source, parameters) for group in group_by]
    conditions = [f"{_ONLY_WITH[group]} != ''" for group in group_by if group in _ONLY_WITH]
    for number, (group, wanted) in enumerate(sorted(filters.items())):
        name = f"filter_{number}"
        parameters[name] = [wanted] if isinstance(wanted, str) else list(wanted)
        conditions.append(f"{_value(group, source, parameters)} IN {{{name}:Array(String)}}")
    for bound, sign, name in ((start, ">=", "start_ms"), (end, "<", "end_ms")):
        if bound is not None:
            parameters[name] = (bound - _EPOCH) // timedelta(milliseconds=1)
            moment = f"fromUnixTimestamp64Milli({{{name}:Int64}}, 'UTC')"
            conditions.append(f"{source.time} {sign} {moment}")
    columns = [f"{value} AS g{number}" for number, value in enumerate(selected)]
    groups = ", ".join(f"g{number}" for number in range(len(selected)))
    sql = f"SELECT {', '.join([*columns, *_measures(source)])} FROM {source.name}"
    if conditions:
        sql += f" WHERE {' AND '.join(conditions)}"
    if groups:
        sql += f" GROUP BY {groups} ORDER BY {groups}"
    return Statement(source.name, sql, parameters)


def plain(amount: Decimal | int) -> str:
    """A decimal without exponent and without trailing zeros: `0.0025`, `100`, `0`."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _check(
    group_by: Sequence[str], filters: Filters, start: datetime | None, end: datetime | None
) -> None:
    errors = []
    for what, names in (("group", group_by), ("filter", list(filters))):
        for name in names:
            known = name in _NAMED or (name.startswith(TAG_PREFIX) and name != TAG_PREFIX)
            if not known and not (what == "group" and name in _PERIODS):
                errors.append(f"unknown {what} {name!r}")
    errors += [f"group {n!r} is given twice" for n in set(group_by) if group_by.count(n) > 1]
    for name, bound in (("start", start), ("end", end)):
        if bound is not None and bound.tzinfo is None:
            errors.append(f"{name} has no time zone: {bound.isoformat()}")
    if errors:
        there_are = ", ".join("tag:<key>" if group == "tag" else group for group in GROUPS)
        raise ReportError(f"{'; '.join(sorted(errors))} (there are {there_are})")


def _source(
    group_by: Sequence[str],
    filters: Filters,
    start: datetime | None,
    end: datetime | None,
    table: str | None,
) -> _Table:
    names = [name for name in (*group_by, *filters) if name not in _PERIODS]
    raw = _Table(_RAW, "counted", timedelta(milliseconds=1), frozenset())
    if table == _RAW or any(name.startswith(TAG_PREFIX) for name in names):
        return raw
    needed = {column for name in names for column in _NAMED[name].columns}
    grains = [_PERIODS[group][2] for group in group_by if group in _PERIODS]
    bounds = [bound for bound in (start, end) if bound is not None]
    for candidate in _ROLLUPS:
        if (
            table in (None, candidate.name)
            and needed <= candidate.columns
            and _holds_all(candidate, group_by, filters)
            and _fits(candidate.grain, grains, bounds)
        ):
            return candidate
    if table is not None:
        raise ReportError(f"{table} does not have what was asked for")
    return raw


def _holds_all(candidate: _Table, group_by: Sequence[str], filters: Filters) -> bool:
    """Whether calls that the table leaves out are left out of the report, too."""
    return all(
        column not in candidate.columns
        or group in group_by
        or (group in filters and "" not in _values(filters[group]))
        for group, column in _ONLY_WITH.items()
    )


def _fits(grain: timedelta | None, grains: Sequence[timedelta], bounds: Sequence[datetime]) -> bool:
    """Whether all periods and bounds are whole numbers of the table's own."""
    if grain is None:
        return not grains and not bounds
    return all(not period % grain for period in grains) and all(
        not (bound - _EPOCH) % grain for bound in bounds
    )


def _value(group: str, source: _Table, parameters: dict[str, Any]) -> str:
    if group in _NAMED:
        return f"toString({_NAMED[group].value})"
    if group in _PERIODS:
        start_of, shown, _ = _PERIODS[group]
        # a parameter, because the driver would take the percent signs for its own
        name = f"format_{group}"
        parameters[name] = shown
        return f"formatDateTime({start_of.format(time=source.time)}, {{{name}:String}}, 'UTC')"
    key = group.removeprefix(TAG_PREFIX)
    name = next(
        (n for n, v in parameters.items() if n.startswith("tag_") and v == key),
        f"tag_{len(parameters)}",
    )
    parameters[name] = key
    return f"tags[{{{name}:String}}]"


def _values(wanted: str | Sequence[str]) -> Sequence[str]:
    return [wanted] if isinstance(wanted, str) else wanted


def _measures(source: _Table) -> list[str]:
    if source.name == _RAW:
        return [
            "count()",
            "sum(ifNull(input_tokens, 0))",
            "sum(ifNull(output_tokens, 0))",
            "sum(ifNull(cost, 0))",
            "sum(ifNull(charge, 0))",
            "countIf(cost_quality = 'unpriced')",
        ]
    sums = ("requests", "input_tokens", "output_tokens", "cost", "charge", "unpriced")
    return [f"sum({column})" for column in sums]

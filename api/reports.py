"""Who spent what: grouped sums over the rollups, or over the raw rows where no rollup has them.

API, command line and exports all render these. Figures come from ClickHouse; names that a caller
gives (workspaces, models, tag keys, …) travel as query parameters and are only ever data.

Times are UTC by counted time (the earlier of the event's own time and its arrival). Money is a
plain decimal string of USD, exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeAlias, get_args

from clickhouse_connect.driver.client import Client

from spendstream.api.report_tables import (
    EPOCH,
    GROUPS,
    NAMED,
    ONLY_WITH,
    PERIODS,
    RAW,
    TAG_PREFIX,
    Filters,
    Table,
    cheapest,
    values,
)
from spendstream.schemas.period import iso
from spendstream.schemas.records import CostQuality

__all__ = ["GROUPS", "Filters", "ReportError", "Row", "Statement", "build", "plain", "report"]

Row: TypeAlias = dict[str, Any]

QUALITIES: Final[tuple[str, ...]] = get_args(CostQuality)
UNKNOWN_QUALITY: Final = "unknown"
"""Of rollup rows that are older than the quality in them and than the raw rows."""

_SUMS: Final = {
    "requests": "1",
    "input_tokens": "ifNull(input_tokens, 0)",
    "output_tokens": "ifNull(output_tokens, 0)",
    "cost": "ifNull(cost, 0)",
    "charge": "ifNull(charge, 0)",
    "input_cost": "input_cost",
    "output_cost": "output_cost",
}
"""A rollup's column, and its value in a raw row."""
_BY_QUALITY: Final = ("requests", "cost", "charge")


class ReportError(ValueError):
    """The report that was asked for does not exist; says what there is."""


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
        none), `requests`, `input_tokens`, `output_tokens`, `total_tokens`; `cost_usd` and its
        `input_cost_usd`, `output_cost_usd` and `other_cost_usd` (searches, fetches, fees, and all
        of a cost that was reported, whose sides are not known); `charge_usd`; `by_quality`: by what
        the cost rests on, `requests`, `cost_usd` and `charge_usd`; `unpriced_requests`. Grouped by
        task or trackable, only calls that have one, and `models`, `first_call` and `last_call`.

    Raises:
        ReportError: unknown group or filter, a group given twice, or a time without a zone; every
            mistake, one a line.
    """
    statement = build(group_by, start, end, filters)
    result = client.query(statement.sql, parameters=statement.parameters)
    return [_row(group_by, found) for found in result.result_rows]


def _row(group_by: Sequence[str], found: Sequence[Any]) -> Row:
    names, figures = found[: len(group_by)], iter(found[len(group_by) :])
    row: Row = {
        group: name if name != "" else None for group, name in zip(group_by, names, strict=True)
    }
    requests, input_tokens, output_tokens, cost, charge, input_cost, output_cost = (
        next(figures) for _ in _SUMS
    )
    qualities = {name: tuple(next(figures) for _ in _BY_QUALITY) for name in QUALITIES}
    row |= {
        "requests": int(requests),
        "input_tokens": int(input_tokens),
        "output_tokens": int(output_tokens),
        "total_tokens": int(input_tokens) + int(output_tokens),
        "cost_usd": plain(cost),
        "input_cost_usd": plain(input_cost),
        "output_cost_usd": plain(output_cost),
        "other_cost_usd": plain(cost - input_cost - output_cost),
        "charge_usd": plain(charge),
        "by_quality": {name: _rests(*of) for name, of in qualities.items()},
        "unpriced_requests": int(qualities["unpriced"][0]),
    }
    if left := requests - sum(of[0] for of in qualities.values()):
        costs, charges = (sum(of[at] for of in qualities.values()) for at in (1, 2))
        row["by_quality"][UNKNOWN_QUALITY] = _rests(left, cost - costs, charge - charges)
    if _has_calls(group_by):
        row["models"] = list(next(figures))
        row["first_call"], row["last_call"] = (iso(next(figures)) for _ in range(2))
    return row


def _rests(requests: int, cost: Decimal | int, charge: Decimal | int) -> Row:
    return {"requests": int(requests), "cost_usd": plain(cost), "charge_usd": plain(charge)}


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
    source = cheapest(group_by, filters, start, end, table)
    if source is None:
        raise ReportError(f"{table} does not have what was asked for")
    selected = [_value(group, source, parameters) for group in group_by]
    conditions = [f"{ONLY_WITH[group]} != ''" for group in group_by if group in ONLY_WITH]
    for number, (group, wanted) in enumerate(sorted(filters.items())):
        name = f"filter_{number}"
        parameters[name] = list(values(wanted))
        conditions.append(f"{_value(group, source, parameters)} IN {{{name}:Array(String)}}")
    for bound, sign, name in ((start, ">=", "start_ms"), (end, "<", "end_ms")):
        if bound is not None:
            parameters[name] = (bound - EPOCH) // timedelta(milliseconds=1)
            moment = f"fromUnixTimestamp64Milli({{{name}:Int64}}, 'UTC')"
            conditions.append(f"{source.time} {sign} {moment}")
    columns = [f"{value} AS g{number}" for number, value in enumerate(selected)]
    groups = ", ".join(f"g{number}" for number in range(len(selected)))
    measures = _measures(source)
    if _has_calls(group_by):
        measures += _calls(source)
    sql = f"SELECT {', '.join([*columns, *measures])} FROM {source.name}"
    if conditions:
        sql += f" WHERE {' AND '.join(conditions)}"
    if groups:
        # a migration may have left rows of nothing in a rollup
        sql += f" GROUP BY {groups} HAVING {measures[0]} != 0 ORDER BY {groups}"
    return Statement(source.name, sql, parameters)


def plain(amount: Decimal | int) -> str:
    """A decimal without exponent and without trailing zeros: `0.0025`, `100`, `0`."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _check(
    group_by: Sequence[str], filters: Filters, start: datetime | None, end: datetime | None
) -> None:
    wrong = []
    if unknown := [name for name in group_by if not _exists(name) and name not in PERIODS]:
        wrong.append(f"unknown group {_quoted(unknown)}: groups are {_shown(GROUPS)}")
    if unknown := [name for name in filters if not _exists(name)]:
        there_are = [name for name in GROUPS if name not in PERIODS]
        wrong.append(f"unknown filter {_quoted(unknown)}: filters are {_shown(there_are)}")
    wrong += [f"group {n!r} is given twice" for n in sorted(set(group_by)) if group_by.count(n) > 1]
    for name, bound in (("start", start), ("end", end)):
        if bound is not None and bound.tzinfo is None:
            wrong.append(f"{name} has no time zone: {bound.isoformat()}")
    if wrong:
        raise ReportError("\n".join(wrong))


def _exists(name: str) -> bool:
    return name in NAMED or (name.startswith(TAG_PREFIX) and name != TAG_PREFIX)


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))


def _shown(names: Sequence[str]) -> str:
    return ", ".join("tag:<key>" if name == "tag" else name for name in names)


def _value(group: str, source: Table, parameters: dict[str, Any]) -> str:
    if group in NAMED:
        return f"toString({NAMED[group].value})"
    if group in PERIODS:
        start_of, shown, _ = PERIODS[group]
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


def _measures(source: Table) -> list[str]:
    """The sums, then those of each quality."""
    value = {name: raw if source.name == RAW else name for name, raw in _SUMS.items()}
    return [
        *(f"sum({value[name]})" for name in _SUMS),
        *(
            f"sumIf({value[name]}, cost_quality = '{quality}')"
            for quality in QUALITIES
            for name in _BY_QUALITY
        ),
    ]


def _has_calls(group_by: Sequence[str]) -> bool:
    """Whether its rows tell of single calls: those of a task or trackable do."""
    return any(group in ONLY_WITH for group in group_by)


def _calls(source: Table) -> list[str]:
    first, last = ("counted",) * 2 if source.name == RAW else ("first_call", "last_call")
    return [
        "arraySort(groupUniqArray(concat(provider, '/', model)))",
        f"toUnixTimestamp64Milli(min({first}))",
        f"toUnixTimestamp64Milli(max({last}))",
    ]

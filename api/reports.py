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
from typing import Any, NamedTuple, TypeAlias

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

__all__ = ["GROUPS", "Filters", "ReportError", "Row", "Statement", "build", "plain", "report"]

Row: TypeAlias = dict[str, Any]


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
        none), `requests`, `input_tokens`, `output_tokens`, `total_tokens`, `cost_usd`,
        `charge_usd`, `unpriced_requests`. Grouped by task or trackable, only calls that have one.

    Raises:
        ReportError: unknown group or filter, a group given twice, or a time without a zone; every
            mistake, one a line.
    """
    statement = build(group_by, start, end, filters)
    result = client.query(statement.sql, parameters=statement.parameters)
    rows = []
    for found in result.result_rows:
        names, sums = found[: len(group_by)], found[len(group_by) :]
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
    if source.name == RAW:
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

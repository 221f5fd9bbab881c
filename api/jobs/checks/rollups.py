"""Every rollup against sums over the raw rows, worked out here and not by the views' own SQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from clickhouse_connect.driver.client import Client

from spendstream.api.jobs.checks.difference import Difference, difference
from spendstream.api.reports import plain


class Rollup(NamedTuple):
    """`keys`: column → its value in a raw row; `only`: which raw rows are in it."""

    table: str
    keys: dict[str, str]
    only: str = "1"


_WORKSPACE: Final = {"workspace_id": "workspace_id"}
_MODEL: Final = {"provider": "provider", "model": "model", "cost_quality": "cost_quality"}
_TYPED: Final = {"request_type": "request_type"}
_DAY: Final = {"day": "toDate(counted, 'UTC')"}

ROLLUPS: Final = (
    Rollup(
        "usage_quarter",
        _WORKSPACE
        | _MODEL
        | _TYPED
        | {"quarter": "toDateTime(intDiv(toUnixTimestamp64Milli(counted), 900000) * 900, 'UTC')"},
    ),
    Rollup("usage_day", _WORKSPACE | _MODEL | _TYPED | _DAY),
    Rollup("usage_user_day", _WORKSPACE | _MODEL | _DAY | {"user_id": "user_id"}),
    Rollup(
        "usage_hour",
        _MODEL
        | {"hour": "toDateTime(intDiv(toUnixTimestamp64Milli(counted), 3600000) * 3600, 'UTC')"},
    ),
    Rollup("usage_task", _WORKSPACE | _MODEL | {"task_id": "task_id"}, "task_id != ''"),
    Rollup(
        "usage_trackable",
        _WORKSPACE | _MODEL | {"trackable_type": "trackable_type", "trackable_id": "trackable_id"},
        "trackable_id != ''",
    ),
    Rollup("usage_total", _WORKSPACE | _MODEL),
)

MEASURES: Final = {
    "requests": "1",
    "input_tokens": "ifNull(input_tokens, 0)",
    "output_tokens": "ifNull(output_tokens, 0)",
    "cache_read_input_tokens": "cache_read_input_tokens",
    "cache_write_input_tokens": "cache_write_input_tokens",
    "reasoning_output_tokens": "reasoning_output_tokens",
    "cost": "ifNull(cost, 0)",
    "charge": "ifNull(charge, 0)",
    "input_cost": "input_cost",
    "output_cost": "output_cost",
    "unpriced": "isNull(cost)",
}
_MONEY: Final = ("cost", "charge", "input_cost", "output_cost")
_WITH_CALLS: Final = ("usage_task", "usage_trackable")
_OTHERS: Final = ("usage_unique_users", "usage_ids", "positions")


def check_rollups(client: Client) -> Iterator[Difference]:
    """Differences by rollup, key and measure; and rollups that nobody checks."""
    for rollup in ROLLUPS:
        yield from _check(client, rollup)
        if rollup.table in _WITH_CALLS:
            yield from _check_calls(client, rollup)
    yield from _check_unique_users(client)
    yield from _check_ids(client)
    yield from _unknown(client)


def _check(client: Client, rollup: Rollup) -> Iterator[Difference]:
    keys = list(rollup.keys)
    wanted = [f"toString({raw}) AS k{n}" for n, raw in enumerate(rollup.keys.values())]
    stored = [f"toString({column}) AS k{n}" for n, column in enumerate(keys)]
    grouped = ", ".join(f"k{n}" for n in range(len(keys)))
    right = [f"{_signed(name, raw)} AS right_{name}" for name, raw in MEASURES.items()]
    found = [f"{_signed(name, name)} AS found_{name}" for name in MEASURES]
    zeros = {name: _signed(name, "0") for name in MEASURES}
    sums = ", ".join(
        f"sum(right_{name}) AS r_{name}, sum(found_{name}) AS f_{name}" for name in MEASURES
    )
    differs = " OR ".join(f"r_{name} != f_{name}" for name in MEASURES)
    no_right = [f"{zeros[name]} AS right_{name}" for name in MEASURES]
    no_found = [f"{zeros[name]} AS found_{name}" for name in MEASURES]
    # both sides under other names than the tables' columns: an alias would hide the column
    sql = (
        f"SELECT {grouped}, {sums} FROM ("
        f"SELECT {', '.join([*wanted, *right, *no_found])} FROM usage_raw WHERE {rollup.only} "
        f"UNION ALL SELECT {', '.join([*stored, *no_right, *found])} FROM {rollup.table}"
        f") GROUP BY {grouped} HAVING {differs} ORDER BY {grouped}"
    )
    for row in client.query(sql).result_rows:
        where = {_shown(key): value for key, value in zip(keys, row, strict=False)}
        figures = row[len(keys) :]
        for n, name in enumerate(MEASURES):
            expected, is_there = figures[2 * n], figures[2 * n + 1]
            if expected != is_there:
                what = f"rollup {rollup.table}: {name}"
                yield difference(what, plain(expected), plain(is_there), **where)


def _check_calls(client: Client, rollup: Rollup) -> Iterator[Difference]:
    """The first and the last call; rows that a migration emptied have neither."""
    keys = list(rollup.keys)
    wanted = [f"toString({raw}) AS k{n}" for n, raw in enumerate(rollup.keys.values())]
    stored = [f"toString({column}) AS k{n}" for n, column in enumerate(keys)]
    grouped = ", ".join(f"k{n}" for n in range(len(keys)))
    sql = (
        f"SELECT {grouped}, minIf(low, raw) AS wanted_first, minIf(low, NOT raw) AS found_first, "
        "maxIf(high, raw) AS wanted_last, maxIf(high, NOT raw) AS found_last FROM ("
        f"SELECT {', '.join(wanted)}, counted AS low, counted AS high, true AS raw "
        f"FROM usage_raw WHERE {rollup.only} "
        f"UNION ALL SELECT {', '.join(stored)}, first_call AS low, last_call AS high, false AS raw "
        f"FROM {rollup.table}) GROUP BY {grouped} "
        "HAVING countIf(raw) != 0 AND (wanted_first != found_first OR wanted_last != found_last) "
        f"ORDER BY {grouped}"
    )
    for row in client.query(sql).result_rows:
        where = {_shown(key): value for key, value in zip(keys, row, strict=False)}
        figures = row[len(keys) :]
        for name, right, is_there in (("first", *figures[:2]), ("last", *figures[2:])):
            if right != is_there:
                what = f"rollup {rollup.table}: {name} call"
                yield difference(what, str(right), str(is_there), **where)


def _check_unique_users(client: Client) -> Iterator[Difference]:
    rows = client.query(
        "SELECT workspace, d, sum(wanted), sum(is_there) FROM ("
        "SELECT workspace_id AS workspace, toDate(counted, 'UTC') AS d, uniq(user_id) AS wanted, "
        "toUInt64(0) AS is_there FROM usage_raw WHERE user_id != '' GROUP BY workspace, d "
        "UNION ALL SELECT workspace_id AS workspace, day AS d, toUInt64(0) AS wanted, "
        "uniqMerge(users) AS is_there FROM usage_unique_users GROUP BY workspace, d"
        ") GROUP BY workspace, d HAVING sum(wanted) != sum(is_there) ORDER BY workspace, d"
    ).result_rows
    for workspace, day, wanted, is_there in rows:
        what = "rollup usage_unique_users: users"
        yield difference(what, wanted, is_there, workspace=workspace, day=str(day))


def _check_ids(client: Client) -> Iterator[Difference]:
    rows = client.query(
        "SELECT workspace_id, event_id, partition, seq, sum(wanted) AS w, sum(is_there) AS t FROM ("
        "SELECT workspace_id, event_id, partition, seq, 1 AS wanted, 0 AS is_there FROM usage_raw "
        "WHERE arrival > now64(3) - INTERVAL 39 DAY "
        "UNION ALL "
        "SELECT workspace_id, event_id, partition, seq, 0 AS wanted, 1 AS is_there FROM usage_ids "
        "WHERE arrival > now64(3) - INTERVAL 39 DAY"
        ") GROUP BY workspace_id, event_id, partition, seq HAVING w != t "
        "ORDER BY partition, seq"
    ).result_rows
    for workspace, event, partition, seq, wanted, is_there in rows:
        yield difference(
            "rollup usage_ids: rows",
            wanted,
            is_there,
            workspace=workspace,
            event=event,
            partition=partition,
            seq=seq,
        )


def _unknown(client: Client) -> Iterator[Difference]:
    """A rollup that was added later and is not in the list above must not pass unseen."""
    rows = client.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() "
        "AND name LIKE 'usage\\\\_%' AND engine != 'MaterializedView' ORDER BY name"
    ).result_rows
    known = {rollup.table for rollup in ROLLUPS} | {"usage_raw", *_OTHERS}
    for (name,) in rows:
        if name not in known:
            yield difference("a rollup that verify does not know", "", name)


def _signed(name: str, expression: str) -> str:
    return f"toDecimal128({expression}, 12)" if name in _MONEY else f"toInt64({expression})"


def _shown(key: str) -> str:
    return {"workspace_id": "workspace", "user_id": "user"}.get(key, key)

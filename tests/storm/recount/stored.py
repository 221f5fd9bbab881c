"""ClickHouse against the verified rows: raw rows one by one, each roll-up key by key."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import Any, Final

from clickhouse_connect.driver.client import Client

from tests.storm.recount.differences import Differences
from tests.storm.recount.outputs import Rows
from tests.storm.recount.priced import Counted

QUARTER_S: Final = 900
_DAY_S: Final = 86_400
_PICO: Final = 10**12
MEASURES: Final = (
    "requests",
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_write_input_tokens",
    "cost",
    "charge",
    "unpriced",
    "input_cost",
    "output_cost",
)
# table: its key but `cost_quality`, which all have, as ClickHouse gives it, with times as seconds
# since 1970
ROLLUPS: Final = {
    "usage_quarter": "toUnixTimestamp(quarter), workspace_id, provider, model, request_type",
    "usage_day": (
        "toUnixTimestamp(toDateTime(day, 'UTC')), workspace_id, provider, model, request_type"
    ),
    "usage_user_day": (
        "toUnixTimestamp(toDateTime(day, 'UTC')), workspace_id, user_id, provider, model"
    ),
    "usage_hour": "toUnixTimestamp(hour), partition, provider, model",
    "usage_task": "workspace_id, task_id, provider, model",
    "usage_trackable": "workspace_id, trackable_type, trackable_id, provider, model",
    "usage_total": "workspace_id, provider, model",
}
SPANS: Final = ("usage_task", "usage_trackable")
"""Roll-ups that know their first and last call."""
OTHERS: Final = {
    "usage.alerts": "alerts",
    "usage.overage": "overage",
    "usage.late": "late",
    "usage.dead": "dead_letters",
}


class Stored:
    """Fed with every verified row; then compared."""

    def __init__(self) -> None:
        self._sums: dict[str, dict[tuple[Any, ...], list[int]]] = {
            table: defaultdict(lambda: [0] * len(MEASURES)) for table in ROLLUPS
        }
        self._spans: dict[str, dict[tuple[Any, ...], tuple[int, int]]] = {
            table: {} for table in SPANS
        }
        self._users: dict[tuple[int, str], set[str]] = defaultdict(set)
        self._rows: dict[tuple[int, int], tuple[Any, ...]] = {}

    def take(self, row: Counted) -> None:
        call = row.call
        known = call.input_tokens is not None and call.status != "blocked"
        tokens = (call.input_tokens or 0, call.output_tokens, call.cache_read, call.cache_write)
        used = tokens if known else (0, 0, 0, 0)
        bill = row.bill
        unpriced = int(bill.cost is None)
        measures = (1, *used, bill.cost or 0, bill.charge or 0, unpriced, *bill.sides)
        more = call.more
        model, name = (call.provider, call.model), call.workspace_id
        second = row.counted_ms // 1_000
        day = second - second % _DAY_S
        keys: dict[str, tuple[Any, ...]] = {
            "usage_quarter": (second - second % QUARTER_S, name, *model, more["request_type"]),
            "usage_day": (day, name, *model, more["request_type"]),
            "usage_user_day": (day, name, more.get("user_id", ""), *model),
            "usage_hour": (second - second % 3_600, row.partition, *model),
            "usage_total": (name, *model),
        }
        if "task_id" in more:
            keys["usage_task"] = (name, more["task_id"], *model)
        if "trackable" in more:
            keys["usage_trackable"] = (name, "doc", more["trackable"]["id"], *model)
        for table, key in keys.items():
            key = (*key, bill.quality)
            if table in SPANS:
                first, last = self._spans[table].get(key, (row.counted_ms, row.counted_ms))
                span = min(first, row.counted_ms), max(last, row.counted_ms)
                self._spans[table][key] = span
            sums = self._sums[table][key]
            for i, value in enumerate(measures):
                sums[i] += value
        if "user_id" in more:
            self._users[day, name].add(more["user_id"])
        self._rows[row.partition, row.seq] = (
            call.id,
            name,
            row.counted_ms,
            row.price_version,
            bill.quality,
            used[:2],
            (bill.computed, bill.reported, bill.cost, bill.charge, *bill.sides),
        )

    def check(self, client: Client, read: Rows, found: Differences) -> None:
        self._check_raw(client, found)
        for table, key in ROLLUPS.items():
            names = ", ".join(f"sum({name})" for name in MEASURES)
            query = f"SELECT {key}, cost_quality, {names} FROM {table} GROUP BY ALL"
            width = len(MEASURES)
            actual = {
                tuple(map(_plain, row[:-width])): [*map(_whole, row[-width:])]
                for row in client.query(query).result_rows
            }
            found.compare(f"roll-up {table}", dict(self._sums[table]), actual)
        for table in SPANS:
            query = (
                f"SELECT {ROLLUPS[table]}, cost_quality, toUnixTimestamp64Milli(min(first_call)),"
                f" toUnixTimestamp64Milli(max(last_call)) FROM {table} GROUP BY ALL"
            )
            rows = client.query(query).result_rows
            spans = {tuple(map(_plain, row[:-2])): tuple(row[-2:]) for row in rows}
            found.compare(f"first and last call of {table}", self._spans[table], spans)
        query = (
            "SELECT toUnixTimestamp(toDateTime(day, 'UTC')), workspace_id, uniqMerge(users)"
            " FROM usage_unique_users GROUP BY ALL"
        )
        users = {(int(r[0]), str(r[1])): int(r[2]) for r in client.query(query).result_rows}
        found.compare(
            "roll-up usage_unique_users", {k: len(v) for k, v in self._users.items()}, users
        )
        for topic, table in OTHERS.items():
            names = "partition, seq" + (
                ", id" if topic in ("usage.alerts", "usage.overage") else ""
            )
            there: dict[tuple[Any, ...], int] = defaultdict(int)
            for row in client.query(f"SELECT {names} FROM {table}").result_rows:
                there[tuple(map(_plain, row))] += 1
            columns = names.split(", ")
            expected = {tuple(row[column] for column in columns): 1 for row in read[topic]}
            found.compare(f"table {table}", expected, dict(there))

    def _check_raw(self, client: Client, found: Differences) -> None:
        """Each row once, and as it was counted."""
        query = (
            "SELECT partition, seq, event_id, workspace_id, toUnixTimestamp64Milli(counted),"
            " price_version, cost_quality, ifNull(input_tokens, 0), ifNull(output_tokens, 0),"
            " computed_cost, reported_cost, cost, charge, input_cost, output_cost FROM usage_raw"
        )
        left = dict(self._rows)
        seen: set[tuple[int, int]] = set()
        with client.query_rows_stream(query) as stream:
            for row in stream:
                found.check("raw rows")
                place = (row[0], row[1])
                if place in seen:
                    found.add("raw rows", f"{place} twice")
                    continue
                seen.add(place)
                expected = left.pop(place, None)
                money = tuple(None if usd is None else _whole(usd) for usd in row[9:])
                actual = (*row[2:7], row[7:9], money)
                if actual != expected:
                    found.add("raw rows", f"{place}: {actual} instead of {expected}")
        for place, expected in left.items():
            found.add("raw rows", f"{place}: nothing instead of {expected}")
        query = "SELECT count(), uniqExact(partition, seq) FROM usage_ids"
        ids = client.query(query).result_rows[0]
        wanted = len(self._rows)
        found.compare("table usage_ids", {"rows, distinct": (wanted, wanted)},
                      {"rows, distinct": tuple(ids)})  # fmt: skip


def _plain(value: Any) -> Any:
    return value if isinstance(value, int) else str(value)


def _whole(value: Any) -> int:
    return int(value * _PICO) if isinstance(value, Decimal) else int(value)

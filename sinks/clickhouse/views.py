"""After a crash: does every view of a table have an insert, and fill those that lack it.

Inserting again under the same token is not enough. ClickHouse writes a token down a moment before
it puts the part in its place: a server that is killed in between refuses the token ever after,
although the rows are not there (seen on 26.9, about once in 150 kills inside an insert). So the
range is looked for in the raw table and in every view, by `seq`, which one lane alone writes.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from clickhouse_connect.driver.client import Client

from spendstream.sinks.clickhouse.tables import ROLLUPS

TARGETS: Final = frozenset({*ROLLUPS, "positions"})
SETTINGS: Final[dict[str, Any]] = {
    "async_insert": 0,
    # what is missing has been looked for: a token could only be in the way
    "insert_deduplicate": 0,
    "deduplicate_insert_select": "disable",
    "max_threads": 1,
}


class View(NamedTuple):
    """A materialized view: its target, the target's key, and what it selects from the source."""

    target: str
    key: tuple[str, ...]
    select: str


def views_of(client: Client, source: str) -> list[View]:
    """Our views that an insert into `source` feeds. (An operator's own carry no `last_seq`.)"""
    rows = client.query(
        "SELECT v.as_select, t.name, t.sorting_key FROM system.tables AS v"
        " JOIN system.tables AS t ON t.database = v.database"
        "   AND t.name = extract(v.create_table_query, ' TO (?:\\S+\\.)?`?(\\w+)`?')"
        " WHERE v.database = currentDatabase() AND v.engine = 'MaterializedView'"
        "   AND match(v.as_select, {source:String}) ORDER BY t.name",
        parameters={"source": rf"FROM (\S+\.)?{source}\b"},
    ).result_rows
    return [
        View(str(target), tuple(part.strip() for part in str(key).split(",")), str(select))
        for select, target, key in rows
        if target in TARGETS
    ]


def fill(client: Client, source: str, partition: int, after: int, upto: int) -> list[str]:
    """Fill the views of `source` that lack the rows with `after` < seq ≤ `upto`.

    The rows must be in `source`, nobody may be inserting this partition's rows meanwhile, and no
    later ones may be in. Returns the targets that had to be filled.
    """
    filled = []
    for view in views_of(client, source):
        rows = (
            f"(SELECT * FROM {source} WHERE partition = {partition} AND seq > {after}"
            f" AND seq <= {upto}) AS {source}"
        )
        select = re.sub(rf"FROM (\S+\.)?{source}\b", f"FROM {rows}", view.select)
        mark = "seq" if view.target in ("usage_ids", "positions") else "last_seq"
        key = ", ".join(view.key)
        wanted, there = client.query(
            f"SELECT (SELECT count() FROM ({select})), (SELECT count() FROM {view.target}"
            f" WHERE {mark} > {after} AND ({key}) IN (SELECT {key} FROM ({select})))"
        ).result_rows[0]
        if wanted and not there:
            columns = client.query(f"SELECT * FROM ({select}) LIMIT 0").column_names
            names = ", ".join(f"`{name}`" for name in columns)
            client.command(f"INSERT INTO {view.target} ({names}) {select}", settings=SETTINGS)
            filled.append(view.target)
    return filled

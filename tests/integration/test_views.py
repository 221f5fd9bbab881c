"""Views that a crash has cut off are found and filled, and only those."""

from __future__ import annotations

import pytest

from spendstream.schemas.topics import USAGE_PRICED
from spendstream.sinks.clickhouse.migrate import migrate
from spendstream.sinks.clickhouse.store import connect
from spendstream.sinks.clickhouse.tables import INSERT_SETTINGS, ROLLUPS, TABLES
from spendstream.sinks.clickhouse.views import fill, views_of
from tests.bench.sink import example_row
from tests.servers.clickhouse import ClickHouseServer

RAW = TABLES[USAGE_PRICED]
ROWS = 300
TARGETS = sorted([*ROLLUPS, "positions"])
NO_ROWS = {"usage_trackable"}  # the example rows have none


@pytest.mark.parametrize("lacking", [["usage_ids"], ["usage_day", "usage_hour"], TARGETS])
def test_what_lacks_an_insert_is_filled_once(
    clickhouse: ClickHouseServer, clickhouse_database: str, lacking: list[str]
) -> None:
    client = connect(clickhouse.url)
    migrate(client, clickhouse_database)
    views = views_of(client, RAW.name)
    assert sorted(view.target for view in views) == TARGETS

    def insert(first: int, partition: int) -> None:
        rows = [example_row(seq, partition) for seq in range(first, first + ROWS)]
        client.raw_insert(
            RAW.name, RAW.columns, b"\n".join(rows), settings=INSERT_SETTINGS, fmt="JSONEachRow"
        )

    insert(1, 0)
    insert(1, 1)  # of another lane: its rows share the hours' key but for the partition
    names = {
        str(target): str(view)
        for view, target in client.query(
            "SELECT name, extract(create_table_query, ' TO (?:\\\\S+\\\\.)?`?(\\\\w+)`?') AS target"
            " FROM system.tables WHERE database = currentDatabase()"
            " AND engine = 'MaterializedView' AND match(as_select, 'usage_raw')"
        ).result_rows
    }
    for target in lacking:
        client.command(f"DETACH TABLE {names[target]}")
    insert(1 + ROWS, 0)  # the server dies: some views have it, some do not
    for target in lacking:
        client.command(f"ATTACH TABLE {names[target]}")

    assert fill(client, RAW.name, 0, ROWS, 2 * ROWS) == sorted({*lacking} - NO_ROWS)
    assert fill(client, RAW.name, 0, ROWS, 2 * ROWS) == []
    for view in views:
        if view.target in ("usage_unique_users", "positions"):
            continue
        columns = client.query(f"SELECT * FROM {view.target} LIMIT 0").column_names
        names_ = ", ".join(f"`{name}`" for name in columns)
        final = "" if view.target == "usage_ids" else "FINAL"
        found = client.query(f"SELECT {names_} FROM {view.target} {final} ORDER BY ALL")
        wanted = client.query(f"SELECT {names_} FROM ({view.select}) ORDER BY ALL")
        assert found.result_rows == wanted.result_rows, view.target
    assert client.query(
        "SELECT partition, seq, rows FROM positions FINAL ORDER BY partition"
    ).result_rows == [(0, 2 * ROWS, 2 * ROWS), (1, ROWS, ROWS)]

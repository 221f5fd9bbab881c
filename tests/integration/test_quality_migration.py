"""Rollups that were loaded before migration 0009, and after it, hold what a fresh load holds."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import pytest
from clickhouse_connect.driver.client import Client

from spendstream.schemas.prices.units import LEAVES, SIDES
from spendstream.schemas.records import Leaf, PricedUsage
from spendstream.schemas.topics import USAGE_PRICED
from spendstream.sinks.clickhouse import migrate as migrating
from spendstream.sinks.clickhouse.batches import Batch
from spendstream.sinks.clickhouse.config import DATABASE, LoaderConfig
from spendstream.sinks.clickhouse.errors import Retry
from spendstream.sinks.clickhouse.intents import Intent
from spendstream.sinks.clickhouse.loading import Loading
from spendstream.sinks.clickhouse.migrate import migrate, migrations
from spendstream.sinks.clickhouse.store import Store, connect
from spendstream.sinks.clickhouse.stream import Work
from spendstream.sinks.clickhouse.tables import INSERT_SETTINGS, ROLLUPS, TABLES, Table
from spendstream.sinks.clickhouse.views import fill
from tests.integration.loader_rig import priced
from tests.servers.clickhouse import ClickHouseServer

pytestmark = [pytest.mark.clickhouse, pytest.mark.xdist_group("quality_migration")]

RAW: Final = TABLES[USAGE_PRICED]
ROWS: Final = 400
"""An insert's."""
QUALITIES: Final = ("measured", "measured", "estimated", "conflicting", "provider_reported")
SUMMED: Final = tuple(
    table for table in ROLLUPS if table not in ("usage_unique_users", "usage_ids")
)
(NINTH,) = (migration for migration in migrations() if migration.number == 9)


@pytest.fixture
def old(
    clickhouse: ClickHouseServer, clickhouse_database: str, monkeypatch: pytest.MonkeyPatch
) -> Client:
    """A database as it was before."""
    client = connect(clickhouse.url)
    before = [migration for migration in migrations() if migration.number < NINTH.number]
    with monkeypatch.context() as patched:
        patched.setattr(migrating, "migrations", lambda: before)
        migrate(client, clickhouse_database)
    return client


@pytest.fixture
def fresh(clickhouse: ClickHouseServer) -> Iterator[Client]:
    client = connect(clickhouse.url)
    database = f"fresh_{os.getpid()}"
    client.command(f"DROP DATABASE IF EXISTS {database}")
    migrate(client, database)
    yield client
    client.command(f"DROP DATABASE {database}")


def row(seq: int, partition: int) -> PricedUsage:
    """Leaves of every name; qualities that change within every key; a reported cost is not the sum
    of its leaves; each ninth is unpriced."""
    leaves: tuple[Leaf, ...] = ()
    cost: int | None = None
    quality = "unpriced"
    if seq % 9:
        quality = QUALITIES[seq % len(QUALITIES)]
        leaves = tuple(
            Leaf(
                leaf=LEAVES[(seq + n) % len(LEAVES)],  # type: ignore[arg-type]
                quantity=1,
                price_atto="1000000",
                cost_pico=str(seq * 1_000_003 + n),
            )
            for n in range(3)
        )
        cost = sum(int(leaf.cost_pico) for leaf in leaves) + (quality == "provider_reported")
    return priced(
        seq,
        partition,
        leaves=leaves,
        cost_pico=None if cost is None else str(cost),
        charge_pico=None if cost is None else str(cost * 2),
        cost_quality=quality,
    )


def insert(client: Client, first: int, partition: int = 0, token: str | None = None) -> None:
    """`ROWS` rows under a token of their own, without fields that the table has no column for."""
    there = {
        str(name)
        for (name,) in client.query(
            "SELECT name FROM system.columns WHERE database = currentDatabase()"
            " AND table = 'usage_raw'"
        ).result_rows
    }
    rows = [row(seq, partition).model_dump_json().encode() for seq in range(first, first + ROWS)]
    client.raw_insert(
        RAW.name,
        [name for name in RAW.columns if name in there],
        b"\n".join(rows),
        settings={
            **INSERT_SETTINGS,
            "input_format_skip_unknown_fields": 1,
            "input_format_json_ignore_unknown_keys_in_named_tuple": 1,
            "insert_deduplication_token": token or f"{partition}:{first}",
        },
        fmt="JSONEachRow",
    )


def held(client: Client) -> dict[str, Sequence[Sequence[Any]]]:
    """All rows of all rollups, each key's joined; without those that hold nothing."""
    found = {}
    for table in SUMMED:
        names = [
            str(name)
            for (name,) in client.query(
                "SELECT name FROM system.columns WHERE database = currentDatabase()"
                " AND table = {table:String} ORDER BY name",
                parameters={"table": table},
            ).result_rows
        ]
        found[table] = client.query(
            f"SELECT {', '.join(names)} FROM {table} FINAL WHERE requests != 0 ORDER BY ALL"
        ).result_rows
        assert found[table], table
    return found


def test_before_and_after_are_as_a_fresh_load(
    old: Client, fresh: Client, clickhouse_database: str
) -> None:
    for first, partition in ((1, 0), (1, 1), (1 + ROWS, 0)):
        insert(old, first, partition)
    assert migrate(old, clickhouse_database)[0] == NINTH.name
    insert(old, 1 + ROWS, 1)
    insert(old, 1 + 2 * ROWS)
    for first, partition in ((1, 0), (1 + ROWS, 0), (1 + 2 * ROWS, 0), (1, 1), (1 + ROWS, 1)):
        insert(fresh, first, partition)
    expected = held(fresh)
    assert held(old) == expected
    # no row holds what is negative, or of no quality
    for table in SUMMED:
        of_none = f"SELECT sum(requests), sum(cost) FROM {table} WHERE cost_quality = ''"
        assert old.query(of_none).result_rows == [(0, 0)], table


def test_an_insert_of_before_is_not_doubled_behind_the_migration(
    clickhouse: ClickHouseServer,
    clickhouse_database: str,
    old: Client,
    fresh: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The views that it changes do not know the tokens of before: whoever asks twice must look."""
    store = Store(LoaderConfig("none:9092", clickhouse.url, clickhouse_database))
    loading = Loading(LoaderConfig("none:9092", clickhouse.url, clickhouse_database), store, 0)
    monkeypatch.setattr(loading, "_prove", lambda _: None)
    through = store.insert

    def unanswered(table: Table, rows: Sequence[bytes], token: str) -> None:
        monkeypatch.setattr(store, "insert", through)
        insert(old, 1, token=token)
        migrate(old, clickhouse_database)
        raise Retry("no answer")

    monkeypatch.setattr(store, "insert", unanswered)
    work = some_work(1)
    loading._insert(work)
    insert(fresh, 1)
    assert held(old) == held(fresh)
    loading._insert(replace(work, again=True))
    assert held(old) == held(fresh)


def some_work(first: int) -> Work:
    batch = Batch(RAW.topic, 0, first - 1)
    batch.rows = [row(seq, 0).model_dump_json().encode() for seq in range(first, first + ROWS)]
    intent = Intent(
        epoch="e",
        start=first,
        end=first + ROWS,
        n=ROWS,
        seq_before=first - 1,
        seq=first - 1 + ROWS,
        inserts=0,
        at_ms=time.time_ns() // 1_000_000,
    )
    return Work(RAW, batch, intent, again=False)


def test_a_migration_that_was_cut_off_is_run_again(
    old: Client, fresh: Client, clickhouse_database: str
) -> None:
    insert(old, 1)
    for cut in range(len(NINTH.statements)):
        if cut % 5 == 0:
            for statement in NINTH.statements[: cut + 1]:
                old.command(statement)
    assert migrate(old, clickhouse_database)[0] == NINTH.name
    for statement in NINTH.statements:
        old.command(statement)
    insert(fresh, 1)
    assert held(old) == held(fresh)


def test_an_insert_that_a_crash_cut_off_is_completed_behind_the_migration(
    old: Client, fresh: Client, clickhouse_database: str
) -> None:
    """Its rows are in usage_raw and in some views: the others get them whole, and once."""
    insert(old, 1)
    lacking = ("usage_task", "usage_total", "usage_quarter", "usage_hour")
    for table in lacking:
        old.command(f"DETACH TABLE {table}_view")
    insert(old, 1 + ROWS)
    for table in lacking:
        old.command(f"ATTACH TABLE {table}_view")
    migrate(old, clickhouse_database)
    assert fill(old, RAW.name, 0, ROWS, 2 * ROWS) == sorted(lacking)
    assert fill(old, RAW.name, 0, ROWS, 2 * ROWS) == []
    for first in (1, 1 + ROWS):
        insert(fresh, first)
    assert held(old) == held(fresh)


def test_what_raw_rows_no_longer_tell_is_of_no_quality(
    old: Client, clickhouse_database: str
) -> None:
    insert(old, 1)
    asked = "SELECT sum(requests), sum(cost), sum(charge), sum(input_tokens) FROM usage_total"
    before = old.query(asked).result_rows
    gone = "seq <= 100"
    left = old.query(f"SELECT count(), sum(cost) FROM usage_raw WHERE {gone}").result_rows
    old.command(f"ALTER TABLE usage_raw DELETE WHERE {gone}", settings={"mutations_sync": 2})
    migrate(old, clickhouse_database)
    assert old.query(asked).result_rows == before
    of_none = "SELECT sum(requests), sum(cost) FROM usage_total WHERE cost_quality = ''"
    assert old.query(of_none).result_rows == left


def test_the_sides_are_those_of_the_table(fresh: Client) -> None:
    """SIDES says it once more in SQL, where every leaf's name must be right."""
    insert(fresh, 1)
    rows = fresh.query(
        "SELECT leaves.leaf, leaves.cost_pico, cost_quality, toInt128(input_cost * 1000000000000),"
        " toInt128(output_cost * 1000000000000) FROM usage_raw"
    ).result_rows
    assert {name for names, *_ in rows for name in names} == set(LEAVES)
    for names, costs, quality, *found in rows:
        sides = {"input": 0, "output": 0, "other": 0}
        for name, pico in zip(names, costs, strict=True):
            sides[SIDES.get(name, "other")] += pico
        reported = quality == "provider_reported"
        assert found == ([0, 0] if reported else [sides["input"], sides["output"]])


def test_a_retry_after_the_server_has_restarted_counts_once(
    clickhouse_server: Callable[[], ClickHouseServer],
) -> None:
    server = clickhouse_server()
    client = connect(server.url)
    migrate(client)
    insert(client, 1)
    once = held(client)
    client.close()
    server.stop()
    server.start()
    again = connect(server.url, DATABASE)
    insert(again, 1)
    assert held(again) == once
    again.close()

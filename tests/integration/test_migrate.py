"""Migrators beside each other, dead ones, and loaders meanwhile, on a ClickHouse."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from clickhouse_connect.driver.client import Client

from spendstream.schemas.topics import USAGE_PRICED
from spendstream.sinks.clickhouse import migrate as migrating
from spendstream.sinks.clickhouse.config import LoaderConfig
from spendstream.sinks.clickhouse.errors import MigrationError, Retry
from spendstream.sinks.clickhouse.migrate import LOCK, Migration, locked, migrate, migrations
from spendstream.sinks.clickhouse.store import Store
from spendstream.sinks.clickhouse.tables import TABLES
from tests.integration.loader_rig import priced
from tests.servers.clickhouse import ClickHouseServer
from tests.support.waiting import until

pytestmark = [pytest.mark.clickhouse, pytest.mark.xdist_group("migrate")]

NAMES = [migration.name for migration in migrations()]
ALL_ONCE = [(migration.number, 1) for migration in migrations()]
RAW = TABLES[USAGE_PRICED]
ROW = priced(1).model_dump_json().encode()

# a migrator that stands still before the statement with the text sys.argv[3]
_STUCK = """
import signal, sys
from spendstream.sinks.clickhouse.migrate import migrate
from spendstream.sinks.clickhouse.store import connect
url, database, where = sys.argv[1:]
def stopping(call):
    def called(*arguments, **options):
        if where in str(arguments):
            print("stuck", flush=True)
            signal.pause()
        return call(*arguments, **options)
    return called
client = connect(url)
client.command, client.insert = stopping(client.command), stopping(client.insert)
migrate(client, database)
"""


@pytest.fixture
def client(clickhouse: ClickHouseServer, clickhouse_database: str) -> Iterator[Client]:
    connected = clickhouse.client(clickhouse_database)
    yield connected
    connected.close()


@contextmanager
def stuck_migrator(
    clickhouse: ClickHouseServer, database: str, where: str
) -> Iterator[subprocess.Popen[str]]:
    """A process that stands still in its migrations; killed at the end."""
    command = [sys.executable, "-c", _STUCK, clickhouse.url, database, where]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "stuck\n"
            yield process
        finally:
            process.kill()


def at_once(clickhouse: ClickHouseServer, database: str) -> list[list[str]]:
    """Two migrators, each with a client of its own; what they applied."""
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(migrate, clickhouse.client(), database) for _ in range(2)]
        return sorted(future.result(60) for future in both)


def applied(client: Client) -> list[tuple[int, int]]:
    """Each migration's number, and how often it was applied."""
    rows = client.query(
        "SELECT number, count() FROM schema_migrations GROUP BY number ORDER BY number"
    ).result_rows
    return [(int(number), int(times)) for number, times in rows]


def test_two_at_once_apply_each_migration_once(
    clickhouse: ClickHouseServer,
    clickhouse_database: str,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both find nothing applied; the second finds all applied when the lock is its."""
    pending, both = migrating._pending, threading.Barrier(2, timeout=30)
    looked = set()

    def together(of: Client) -> list[Migration]:
        found = pending(of)
        if of not in looked:
            looked.add(of)
            both.wait()
        return found

    monkeypatch.setattr(migrating, "_pending", together)
    assert at_once(clickhouse, clickhouse_database) == [[], NAMES]
    assert applied(client) == ALL_ONCE
    assert not locked(client)


def test_a_living_migrator_is_waited_for_and_a_dead_ones_lock_taken_over(
    clickhouse: ClickHouseServer, clickhouse_database: str, client: Client
) -> None:
    with stuck_migrator(clickhouse, clickhouse_database, NAMES[2]):
        with pytest.raises(MigrationError, match=f"another migrator has held {LOCK} for 1 s"):
            migrate(client, clickhouse_database, wait_seconds=1)
        assert applied(client) == ALL_ONCE[:2]
    assert locked(client)
    assert migrate(client, clickhouse_database) == NAMES[2:]
    assert applied(client) == ALL_ONCE
    assert not locked(client)


def test_one_that_died_behind_its_last_migration_keeps_no_loader_out(
    clickhouse: ClickHouseServer, clickhouse_database: str, client: Client
) -> None:
    with stuck_migrator(clickhouse, clickhouse_database, f"DROP TABLE IF EXISTS {LOCK}"):
        assert applied(client) == ALL_ONCE
    assert locked(client)
    assert migrate(client, clickhouse_database) == []
    assert not locked(client)


def test_of_two_that_find_a_lock_stale_one_takes_it_over(
    clickhouse: ClickHouseServer,
    clickhouse_database: str,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second acts on what it found when the first holds a fresh lock already."""
    with stuck_migrator(clickhouse, clickhouse_database, NAMES[2]):
        pass
    move_away, took_place = migrating._move_away, migrating._took_place
    both = threading.Barrier(2, timeout=30)
    first_is_in, second_has_tried = threading.Event(), threading.Event()
    second: list[Client] = []
    entered: list[Client] = []

    def one_by_one(of: Client, stale: migrating._Held) -> None:
        if both.wait() == 0:
            second.append(of)
            assert first_is_in.wait(30)
        move_away(of, stale)

    def told(of: Client, statement: str) -> bool:
        done = took_place(of, statement)
        if not done and of in second and statement.startswith("CREATE") and first_is_in.is_set():
            second_has_tried.set()
        return done

    def inside(of: Client, _: float) -> None:
        entered.append(of)
        first_is_in.set()
        if of in second:
            second_has_tried.set()
        assert second_has_tried.wait(30)

    monkeypatch.setattr(migrating, "_move_away", one_by_one)
    monkeypatch.setattr(migrating, "_took_place", told)
    monkeypatch.setattr(migrating, "_wait_for_inserts", inside)
    assert at_once(clickhouse, clickhouse_database) == [[], NAMES[2:]]
    assert len(entered) == 1
    assert applied(client) == ALL_ONCE
    assert not locked(client)


def test_a_lock_that_was_taken_over_is_not_dropped_by_its_first_holder(
    clickhouse: ClickHouseServer,
    clickhouse_database: str,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(migrating, "STALE_LOCK_SECONDS", -1)
    slow = migrating._lock(clickhouse.client(clickhouse_database), 5)
    slow.__enter__()
    with migrating._lock(client, 5):
        slow.__exit__(None, None, None)
        assert locked(client)
    assert not locked(client)


@pytest.mark.parametrize(
    ("number", "name", "message"),
    [
        (1, NAMES[0], "0001_usage_raw.sql was edited after it had been applied"),
        (9_999, "9999_later.sql", "has migration 9999_later.sql, which this version does not know"),
    ],
    ids=["edited", "newer"],
)
def test_a_history_that_is_not_ours_is_refused(
    clickhouse_database: str, client: Client, number: int, name: str, message: str
) -> None:
    migrate(client, clickhouse_database)
    client.insert("schema_migrations", [[number, name, "other", datetime.now(UTC)]])
    with pytest.raises(MigrationError, match=message):
        migrate(client, clickhouse_database)
    assert not locked(client)


def test_no_insert_begins_while_the_lock_is_held(
    clickhouse: ClickHouseServer, clickhouse_database: str, client: Client
) -> None:
    migrate(client, clickhouse_database)
    store = Store(LoaderConfig("none:9092", clickhouse.url, clickhouse_database))
    store.insert(RAW, [ROW], "token")

    def go_on() -> None:
        deadline = time.monotonic() + 2 * migrating.LOCK_CHECK_SECONDS
        while time.monotonic() < deadline:
            store.insert(RAW, [ROW], "token")

    with migrating._lock(client, 5):
        with pytest.raises(Retry, match="loaders pause"):
            go_on()
        with pytest.raises(Retry, match="loaders pause"):
            store.put("mirror_control", ["topic", "partition", "offset", "key", "value"], [])
    store.insert(RAW, [ROW], "token")


def test_inserts_under_way_are_waited_for(
    clickhouse: ClickHouseServer,
    clickhouse_database: str,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    migrate(client, clickhouse_database)
    later = Migration(9_999, "9999_later.sql", "CREATE TABLE later (n UInt8) ENGINE = Memory;\n")
    every = [*migrations(), later]
    monkeypatch.setattr(migrating, "migrations", lambda: every)
    client.command("CREATE TABLE slow (n UInt8) ENGINE = Memory")
    sleeping = "INSERT INTO slow SELECT sleepEachRow(1) FROM numbers(7) SETTINGS max_block_size = 1"
    inserting = threading.Thread(
        target=clickhouse.client(clickhouse_database).command, args=(sleeping,)
    )
    inserting.start()
    running = (
        "SELECT count() FROM system.processes"
        " WHERE query_kind = 'Insert' AND current_database = currentDatabase()"
    )
    until(lambda: client.command(running) == 1, 10)
    with pytest.raises(MigrationError, match="an insert has not ended in 0 s"):
        migrate(client, clickhouse_database, wait_seconds=0)
    assert not locked(client)
    assert migrate(client, clickhouse_database) == [later.name]
    assert client.command("SELECT count() FROM slow") == 7
    inserting.join()

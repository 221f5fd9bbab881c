"""What an insert costs ClickHouse with the views of one migration and of another, and their bytes.

`python -m tests.bench.views 8 9`: two databases on one chDB server, migrated as far as the numbers
say, get the same rows by turns. CPU is the whole server's, merges included, so nothing else may use
it meanwhile.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from statistics import median
from typing import Final

from clickhouse_connect.driver.client import Client

from spendstream.sinks.clickhouse.migrate import migrations
from spendstream.sinks.clickhouse.store import connect
from spendstream.sinks.clickhouse.tables import INSERT_SETTINGS, ROLLUPS
from tests.bench.sink import TABLE, example_row
from tests.servers.clickhouse import ChdbClickHouse

ROUNDS: Final = 10
INSERTS: Final = 5
"""In a row into one database, between two looks at the clock."""
TICKS: Final = os.sysconf("SC_CLK_TCK")


def measure(numbers: list[int], rows: int) -> None:
    """Print CPU seconds an insert of `rows` rows, and bytes a row of each table, by migration."""
    server = ChdbClickHouse().start()
    try:
        clients = {number: database(server.url, number) for number in numbers}
        spent: dict[int, list[float]] = {number: [] for number in numbers}
        for turn in range(ROUNDS):
            bodies = [body(turn * INSERTS + n, rows) for n in range(INSERTS)]
            # who goes first changes: merges of the one may still run when the other begins
            for number in numbers if turn % 2 else reversed(numbers):
                began = cpu_seconds(server.pid)
                for place, lines in enumerate(bodies):
                    insert(clients[number], lines, f"{turn}:{place}")
                quiet(clients[number])
                spent[number].append((cpu_seconds(server.pid) - began) / INSERTS)
        for number in numbers:
            each = spent[number][1:]  # the first one warms the engine up
            print(f"{rows:,} rows an insert, migrations to {number}: {median(each):.3f} CPU s")
        for table in ("usage_raw", *ROLLUPS):
            sizes = ", ".join(f"{number}: {size(clients[number], table)}" for number in numbers)
            print(f"  {table:20} {sizes}")
    finally:
        server.dispose()


def database(url: str, number: int) -> Client:
    client = connect(url)
    name = f"views_{number}"
    client.command(f"CREATE DATABASE {name}")
    client.database = name
    for migration in migrations():
        if migration.number <= number:
            for statement in migration.statements:
                client.command(statement)
    return client


def body(number: int, rows: int) -> bytes:
    first = number * rows + 1
    return b"\n".join(example_row(seq, 0) for seq in range(first, first + rows))


def insert(client: Client, lines: bytes, token: str) -> None:
    settings = {
        **INSERT_SETTINGS,
        "insert_deduplication_token": token,
        "input_format_skip_unknown_fields": 1,  # what came with a later migration
    }
    known = {
        name
        for (name,) in client.query(
            "SELECT name FROM system.columns "
            "WHERE database = currentDatabase() AND table = {t:String}",
            parameters={"t": TABLE.name},
        ).result_rows
    }
    columns = [column for column in TABLE.columns if column in known]
    client.raw_insert(TABLE.name, columns, lines, settings=settings, fmt="JSONEachRow")


def quiet(client: Client) -> None:
    """Wait until the merges that the inserts made due are over."""
    while client.command("SELECT count() FROM system.merges"):
        time.sleep(0.02)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def size(client: Client, table: str) -> str:
    client.command(f"OPTIMIZE TABLE {table} FINAL")
    rows, size_ = client.query(
        "SELECT sum(rows), sum(data_compressed_bytes) FROM system.parts"
        " WHERE database = currentDatabase() AND table = {table:String} AND active",
        parameters={"table": table},
    ).result_rows[0]
    return f"{size_ / rows:.1f} B/row of {rows:,}" if rows else "no rows"


if __name__ == "__main__":
    for at_once in (2_000, 35_000):
        measure([int(number) for number in sys.argv[1:]], at_once)

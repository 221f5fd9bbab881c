"""Migrations: numbered SQL files, each applied once, under a lock, while loaders pause.

ClickHouse has neither transactions nor locks. What stands in for them: `CREATE TABLE` without
`IF NOT EXISTS` succeeds for one caller only, so a table is the lock; `RENAME TABLE` to a name that
is taken fails, so a dead migrator's lock is moved away by one caller only; and every statement of a
migration can be run again, so one that was cut off half way is simply run once more.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from typing import Final, NamedTuple
from uuid import UUID

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from spendstream.sinks.clickhouse.config import DATABASE
from spendstream.sinks.clickhouse.errors import MigrationError

LOCK: Final = "schema_migrations_lock"
STALE_LOCK_SECONDS: Final = 600
"""A migrator that died leaves its lock behind. One that lives renews it before each statement; a
longer INSERT of its is waited for by whoever takes the lock over."""
LOCK_CHECK_SECONDS: Final = 1.0
"""A loader looks for the lock this often, so after twice that no new insert begins."""
_TABLE_ALREADY_EXISTS: Final = 57
_UNKNOWN_TABLE: Final = 60
_FILE_NAME: Final = re.compile(r"(\d{4})_\w+\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def statements(self) -> list[str]:
        """A statement ends with `;` at the end of a line."""
        return [part for text in re.split(r";[ ]*\n", self.sql) if (part := text.strip())]


def migrations() -> list[Migration]:
    """The migrations that came with this version, by number."""
    folder = resources.files("spendstream.sinks.clickhouse") / "migrations"
    found = [
        Migration(int(match.group(1)), file.name, file.read_text("utf-8"))
        for file in folder.iterdir()
        if (match := _FILE_NAME.fullmatch(file.name))
    ]
    return sorted(found, key=lambda migration: migration.number)


def migrate(client: Client, database: str = DATABASE, wait_seconds: float = 60) -> list[str]:
    """Bring `database` to this version's tables; returns the names of what was applied.

    Leaves `client` on that database. Where all is applied and nobody holds the lock, it does
    nothing, and takes no lock either.

    Raises:
        MigrationError: another migrator holds the lock, an applied file was edited since, or the
            database is newer than this version.
    """
    client.command(f"CREATE DATABASE IF NOT EXISTS {_quoted(database)}")
    client.database = database
    client.command(
        "CREATE TABLE IF NOT EXISTS schema_migrations"
        " (number UInt32, name String, checksum String, applied_at DateTime64(3, 'UTC'))"
        " ENGINE = ReplacingMergeTree ORDER BY number"
    )
    if not _pending(client) and not locked(client):  # one that died would keep loaders out for ever
        return []
    with _lock(client, wait_seconds):
        applied = []
        pending = _pending(client)
        if pending:
            _wait_for_inserts(client, wait_seconds)
        for migration in pending:
            for statement in migration.statements:
                client.command(f"ALTER TABLE {LOCK} MODIFY COMMENT '{migration.name}'")
                client.command(statement)
            client.insert(
                "schema_migrations",
                [[migration.number, migration.name, migration.checksum, datetime.now(UTC)]],
                column_names=["number", "name", "checksum", "applied_at"],
            )
            applied.append(migration.name)
        return applied


def locked(client: Client) -> bool:
    """Whether a migrator is at work: then no insert may begin."""
    return bool(client.command(f"EXISTS TABLE {LOCK}"))


def _pending(client: Client) -> list[Migration]:
    """What is still to apply; refuses a history that this version does not know."""
    known = {migration.number: migration for migration in migrations()}
    rows = client.query("SELECT number, name, checksum FROM schema_migrations FINAL").result_rows
    for number, name, checksum in rows:
        if number not in known:
            raise MigrationError(
                f"the database has migration {name}, which this version does not know:"
                " it was written by a newer one; use that"
            )
        if known[number].checksum != checksum:
            raise MigrationError(f"migration {name} was edited after it had been applied")
    done = {number for number, _, _ in rows}
    return [migration for number, migration in known.items() if number not in done]


@contextmanager
def _lock(client: Client, wait_seconds: float) -> Iterator[None]:
    deadline = time.monotonic() + wait_seconds
    holder = f"{socket.gethostname()}:{os.getpid()}"
    while not _took_place(
        client, f"CREATE TABLE {LOCK} (holder String DEFAULT {_literal(holder)}) ENGINE = Memory"
    ):
        held = _held(client)
        if held is not None and held.stale:
            _move_away(client, held)
        else:
            time.sleep(0.2)  # ClickHouse tells nobody when a table goes
        if time.monotonic() > deadline:
            raise MigrationError(
                f"another migrator has held {LOCK} for {wait_seconds:.0f} s;"
                f" if none is running, DROP TABLE {LOCK}"
            )
    ours = _held(client)
    try:
        yield
    finally:
        held = _held(client)
        if held and ours and held.uuid == ours.uuid:  # nobody took ours for stale meanwhile
            client.command(f"DROP TABLE IF EXISTS {LOCK}")


class _Held(NamedTuple):
    """A lock: its table's id, `host:pid` of who made it, seconds since it was made or renewed."""

    uuid: UUID
    holder: str
    age: int

    @property
    def stale(self) -> bool:
        """Whether the holder is surely gone: a process of this machine that has ended, or one that
        has held the lock for longer than any migration takes."""
        host, _, pid = self.holder.rpartition(":")
        if host == socket.gethostname() and pid.isdecimal() and not _alive(int(pid)):
            return True
        return self.age > STALE_LOCK_SECONDS


def _held(client: Client) -> _Held | None:
    rows = client.query(
        "SELECT t.uuid, c.default_expression,"
        " dateDiff('second', t.metadata_modification_time, now())"
        " FROM system.tables AS t JOIN system.columns AS c"
        " ON c.database = t.database AND c.table = t.name"
        f" WHERE t.database = currentDatabase() AND t.name = '{LOCK}'"
    ).result_rows
    return _Held(rows[0][0], str(rows[0][1]).strip("'"), int(rows[0][2])) if rows else None


def _move_away(client: Client, stale: _Held) -> None:
    """Make place for a fresh lock.

    The name that the stale one gets is its own, and stays taken. So of all who found it stale only
    the first can move it, and who comes late does not move the fresh lock of the first.
    """
    _took_place(client, f"RENAME TABLE {LOCK} TO {LOCK}_left_behind_{stale.uuid.hex}")


def _took_place(client: Client, statement: str) -> bool:
    """Whether the statement made or moved a table: of several callers, it does so for one."""
    try:
        client.command(statement)
    except DatabaseError as error:
        if error.code not in (_TABLE_ALREADY_EXISTS, _UNKNOWN_TABLE):
            raise
        return False
    return True


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's, so it is there
    return True


def _wait_for_inserts(client: Client, wait_seconds: float) -> None:
    """Loaders begin no insert once they have seen the lock; those under way are waited for.

    Raises MigrationError where one does not end.
    """
    if not client.command("EXISTS TABLE usage_raw"):
        return  # a new database: nobody can be loading
    time.sleep(2 * LOCK_CHECK_SECONDS)  # by then every loader has looked for the lock
    deadline = time.monotonic() + wait_seconds
    while client.command(
        "SELECT count() FROM system.processes"
        " WHERE query_kind = 'Insert' AND current_database = currentDatabase()"
    ):
        if time.monotonic() > deadline:
            raise MigrationError(
                f"an insert has not ended in {wait_seconds:.0f} s: see SHOW PROCESSLIST"
            )
        time.sleep(0.1)  # ClickHouse tells nobody when an insert ends


def _quoted(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
        raise MigrationError(f"not a database name: {name!r}")
    return f"`{name}`"


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

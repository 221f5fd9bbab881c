"""ClickHouse as the loader uses it: inserts with tokens, and what is already there.

Every failure comes out as one of two: try again, or never (errors.py).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from spendstream.sinks.clickhouse import views
from spendstream.sinks.clickhouse.config import LoaderConfig
from spendstream.sinks.clickhouse.errors import Hole, Refused, Retry
from spendstream.sinks.clickhouse.migrate import LOCK_CHECK_SECONDS, locked
from spendstream.sinks.clickhouse.tables import BLOCK_SETTINGS, INSERT_SETTINGS, Table

REQUEST_SECONDS: Final = 60
CONNECT_SECONDS: Final = 5
COUNT_SECONDS: Final = 10.0
"""How old the count of inserts may be. An old one only makes an intent look older."""

_REFUSALS: Final = frozenset(
    {
        6,  # CANNOT_PARSE_TEXT
        10,  # NOT_FOUND_COLUMN_IN_BLOCK: a field of `event` without a column
        16,  # NO_SUCH_COLUMN_IN_TABLE
        25,  # CANNOT_PARSE_ESCAPE_SEQUENCE
        26,  # CANNOT_PARSE_QUOTED_STRING
        27,  # CANNOT_PARSE_INPUT_ASSERTION_FAILED
        41,  # CANNOT_PARSE_DATETIME
        47,  # UNKNOWN_IDENTIFIER
        53,  # TYPE_MISMATCH
        60,  # UNKNOWN_TABLE
        62,  # SYNTAX_ERROR
        69,  # ARGUMENT_OUT_OF_BOUND
        72,  # CANNOT_PARSE_NUMBER
        81,  # UNKNOWN_DATABASE
        115,  # UNKNOWN_SETTING
        117,  # INCORRECT_DATA: also a field without a column
        130,  # CANNOT_READ_ARRAY_FROM_TEXT
        131,  # TOO_LARGE_STRING_SIZE
        349,  # CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
        407,  # DECIMAL_OVERFLOW
    }
)
_ADVICE: Final = {
    75: "Its disk takes no more: free space on it",  # CANNOT_WRITE_TO_FILE_DESCRIPTOR
    243: "Its disk is full: free space on it",  # NOT_ENOUGH_SPACE
    497: "Grant the sink's user SELECT and INSERT on the database",  # ACCESS_DENIED
    516: "See to the user and password in the sink's address",  # AUTHENTICATION_FAILED
}
"""By ClickHouse's code of error: what an operator must do before trying again can help."""


class Stored(NamedTuple):
    """Of one topic and partition: the highest seq that is in ClickHouse, and how many rows."""

    seq: int = 0
    rows: int = 0

    @property
    def upto(self) -> int:
        """Up to which seq all rows are there; where some are missing, how many there are."""
        return min(self)

    def check_whole(self, topic: str, partition: int) -> None:
        """Raise Hole where rows are missing below the highest seq.

        A sink that does not notice that ClickHouse was restored from a backup goes on above what
        was lost, and from then on the highest seq says that all is there.
        """
        if self.rows < self.seq:
            raise Hole(
                f"{topic}[{partition}]: ClickHouse has seq {self.seq}, but {self.seq - self.rows}"
                " rows below it are missing: a backup was restored while a sink was running, or a"
                " crash of ClickHouse took them. What is above them cannot be loaded again without"
                " doubling it. Stop the sinks; restore all of the database's tables from one"
                " backup, the same will do, or give the sinks a new database, which they make at"
                f" their start; then `spendstream partitions reload {partition}` loads what Kafka"
                " still has; then restart the sinks"
            )


def connect(url: str, database: str | None = None) -> Client:
    """A client that threads may share. Raises ClickHouseError."""
    address = urlsplit(url)
    return clickhouse_connect.get_client(
        host=address.hostname,
        port=address.port or (8443 if address.scheme == "https" else 8123),
        secure=address.scheme == "https",
        username=address.username,
        password=address.password or "",
        database=database or "default",
        compress=False,
        # a session would make threads wait for each other
        autogenerate_session_id=False,
        connect_timeout=CONNECT_SECONDS,
        send_receive_timeout=REQUEST_SECONDS,
        query_retries=0,
    )


@contextmanager
def _failures(doing: str) -> Iterator[None]:
    try:
        yield
    except ClickHouseError as error:
        code = getattr(error, "code", None)
        text = f"{doing}: {' '.join(str(error).split())[:500]}"
        if code in _REFUSALS:
            raise Refused(
                f"ClickHouse refuses {text}. Where a table or view was changed by hand, change"
                " it back; where the worker is of a newer version, update the sink. Then restart it"
            ) from None
        advice = f". {_ADVICE[code]}; the sink goes on by itself" if code in _ADVICE else ""
        raise Retry(f"ClickHouse fails at {text}{advice}") from None
    except OSError as error:
        raise Retry(f"ClickHouse cannot be reached for {doing}: {error}") from None


class Store:
    """One database. Threads may share it. Every method may raise Retry or Refused."""

    def __init__(self, config: LoaderConfig) -> None:
        self._config = config
        self._connecting = threading.Lock()
        self._connected: Client | None = None
        self.inserts_seen = 0
        """How many inserts ClickHouse had seen when they were last counted: never too many."""
        self._counted_at = float("-inf")
        self._lock_seen = float("-inf")

    @property
    def _client(self) -> Client:
        with self._connecting:
            if self._connected is None:
                with _failures("connecting"):
                    self._connected = connect(self._config.clickhouse_url, self._config.database)
            return self._connected

    def insert(self, table: Table, rows: Sequence[bytes], token: str) -> None:
        """Insert the rows as one block under its token: doing it again changes nothing."""
        self._pause_for_migrations()
        with _failures(f"an insert of {len(rows)} rows into {table.name}"):
            # not `raw_insert`, which does it again by itself where its connection is cut: whoever
            # asks twice must look whether the rows are in (views.py)
            self._client.command(
                f"INSERT INTO {table.name} ({', '.join(table.columns)}) FORMAT JSONEachRow",
                data=b"\n".join(rows),
                settings={**INSERT_SETTINGS, "insert_deduplication_token": token},
            )

    def insert_again(self, table: Table, partition: int, after: int, upto: int, token: str) -> None:
        """Insert rows that are in the raw table once more, from there, under their old token.

        The token keeps them out of the raw table, so what it fills is the views that lack them, an
        operator's own among them.
        """
        names = ", ".join(f"`{name}`" for name in self._stored_columns(table))
        with _failures(f"completing the views of {table.name}"):
            self._client.command(
                f"INSERT INTO {table.name} ({names}) SELECT {names} FROM {table.name}"
                " WHERE partition = {partition:UInt32} AND seq > {after:UInt64}"
                " AND seq <= {upto:UInt64} ORDER BY seq",
                parameters={"partition": partition, "after": after, "upto": upto},
                settings={
                    **BLOCK_SETTINGS,
                    "insert_deduplication_token": token,
                    "deduplicate_insert_select": "force_enable",
                    "max_threads": 1,
                    "max_block_size": BLOCK_SETTINGS["max_insert_block_size"],
                },
            )

    def complete(self, table: Table, partition: int, after: int, upto: int) -> list[str]:
        """Fill the views that lack rows of the raw table, after an insert that may have been cut
        off; returns the targets that had to be filled."""
        with _failures(f"completing the views of {table.name}"):
            return views.fill(self._client, table.name, partition, after, upto)

    def put(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Upsert rows into a table that keeps the newest of each key: one block, all or none."""
        self._pause_for_migrations()
        with _failures(f"an insert into {table}"):
            self._client.insert(table, list(rows), column_names=columns, settings=BLOCK_SETTINGS)

    def positions(self, partition: int) -> dict[str, Stored]:
        """How far each topic is loaded."""
        found = self.query(
            "SELECT topic, max(seq), sum(rows) FROM positions"
            " WHERE partition = {partition:UInt32} GROUP BY topic",
            {"partition": partition},
        )
        return {str(topic): Stored(int(str(seq)), int(str(rows))) for topic, seq, rows in found}

    def count_inserts(self) -> None:
        """Bring `inserts_seen` up to date where it is older than COUNT_SECONDS."""
        if time.monotonic() - self._counted_at > COUNT_SECONDS:
            rows = self.query("SELECT sum(inserts) FROM positions", {})
            self.inserts_seen = int(str(rows[0][0]))
            self._counted_at = time.monotonic()

    def migrated_ms(self) -> int:
        """When the last migration was applied, in milliseconds since 1970."""
        rows = self.query(
            "SELECT toUnixTimestamp64Milli(max(applied_at)) FROM schema_migrations", {}
        )
        return int(str(rows[0][0]))

    def count(self, table: Table, partition: int, after: int, upto: int) -> int:
        """Rows of the raw table with `after` < seq ≤ `upto`."""
        rows = self.query(
            f"SELECT count() FROM {table.name} WHERE partition = {{partition:UInt32}}"
            " AND seq > {after:UInt64} AND seq <= {upto:UInt64}",
            {"partition": partition, "after": after, "upto": upto},
        )
        return int(str(rows[0][0]))

    def query(self, sql: str, parameters: Mapping[str, object]) -> Sequence[Sequence[object]]:
        with _failures("a query"):
            return self._client.query(sql, parameters=dict(parameters)).result_rows

    def _stored_columns(self, table: Table) -> list[str]:
        rows = self.query(
            "SELECT name FROM system.columns WHERE database = currentDatabase()"
            " AND table = {table:String} AND default_kind != 'EPHEMERAL' ORDER BY position",
            {"table": table.name},
        )
        return [str(name) for (name,) in rows]

    def _pause_for_migrations(self) -> None:
        if time.monotonic() - self._lock_seen > LOCK_CHECK_SECONDS:
            with _failures("a look for migrations"):
                if locked(self._client):
                    raise Retry("a migration is at work: loaders pause")
            self._lock_seen = time.monotonic()

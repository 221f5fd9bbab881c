"""The names of the tables in ClickHouse, and how far each sequenced topic is in them."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from spendstream.sinks.clickhouse import tables
from spendstream.sinks.clickhouse.config import DATABASE

TABLES: Final = {topic: table.name for topic, table in tables.TABLES.items()}
"""Where each sequenced topic's rows are."""


class ClickHouseUnavailable(RuntimeError):
    """No ClickHouse answers at the address."""


def connect(clickhouse_url: str, database: str = DATABASE) -> Client:
    """A client for reading; the caller closes it. Raises ClickHouseUnavailable."""
    address = urlsplit(clickhouse_url)
    try:
        return clickhouse_connect.get_client(
            host=address.hostname or "127.0.0.1",
            port=address.port or 8123,
            secure=address.scheme == "https",
            username=address.username or "default",
            password=address.password or "",
            database=database,
            compress=False,
            # without a session, one client serves several threads
            autogenerate_session_id=False,
        )
    except (ClickHouseError, OSError) as error:
        raise ClickHouseUnavailable(
            f"no ClickHouse with the database {database} answers at "
            f"{address.hostname}:{address.port}: {error}"
        ) from error


def stored_seq(client: Client) -> dict[tuple[str, int], int]:
    """The highest `seq` that is in the topic's table, by (topic, partition).

    Its roll-ups are filled by the same insert, and may still lack it for a moment.
    """
    rows = client.query(
        "SELECT topic, partition, max(seq) FROM positions GROUP BY topic, partition"
    ).result_rows
    return {(str(topic), int(partition)): int(seq) for topic, partition, seq in rows}

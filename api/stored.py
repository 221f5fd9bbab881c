"""The names of the tables in ClickHouse, and how far each sequenced topic is in them."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from spendstream.schemas.topics import (
    USAGE_ALERTS,
    USAGE_DEAD,
    USAGE_LATE,
    USAGE_OVERAGE,
    USAGE_PRICED,
)

DATABASE: Final = "spendstream"

TABLES: Final = {
    USAGE_PRICED: "usage_raw",
    USAGE_ALERTS: "alerts",
    USAGE_OVERAGE: "overage",
    USAGE_LATE: "late",
    USAGE_DEAD: "dead_letters",
}
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
    """The highest `seq` whose insert is complete, by (topic, partition)."""
    rows = client.query(
        "SELECT topic, partition, max(seq) FROM positions GROUP BY topic, partition"
    ).result_rows
    return {(str(topic), int(partition)): int(seq) for topic, partition, seq in rows}

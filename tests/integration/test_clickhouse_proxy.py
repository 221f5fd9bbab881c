"""What the proxy of the tests passes on is all that was sent."""

from __future__ import annotations

import clickhouse_connect
import pytest

from tests.servers.clickhouse import ClickHouseServer
from tests.support.clickhouse_proxy import Answer, ClickHouseProxy, Statement

pytestmark = pytest.mark.clickhouse


class PassOn(ClickHouseProxy):
    def answer(self, statement: Statement) -> Answer:
        return statement.forward()


def test_rows_in_chunks_arrive_whole_and_the_connection_goes_on(
    clickhouse: ClickHouseServer, clickhouse_database: str
) -> None:
    """Were they cut off, the inserts of migrations would be of nothing, in silence."""
    proxy = PassOn(clickhouse.url)
    client = clickhouse_connect.get_client(dsn=f"{proxy.url}/{clickhouse_database}")
    try:
        client.command("CREATE TABLE t (n UInt32) ENGINE = MergeTree ORDER BY n")
        for start in (0, 1_000):
            client.insert("t", [[n] for n in range(start, start + 1_000)], column_names=["n"])
        assert client.query("SELECT count(), max(n) FROM t").result_rows == [(2_000, 1_999)]
    finally:
        client.close()
        proxy.close()

"""Raw rows and rollups in ClickHouse against the oracle, to the pico-dollar."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from clickhouse_connect.driver.client import Client

from tests.support.exact import Rows
from tests.support.oracle import Oracle
from tests.support.waiting import until

RAW = (
    "count(), sum(input_tokens), sum(output_tokens), sum(cost), sum(charge),"
    " countIf(cost_quality = 'unpriced')"
)
ROLLED = (
    "sum(requests), sum(input_tokens), sum(output_tokens), sum(cost), sum(charge), sum(unpriced)"
)


def check_tables(client: Client, oracle: Oracle) -> None:
    """Wait for the rows, then compare every figure of every workspace."""
    events = sum(len(ledger.uses) for ledger in oracle.ledgers.values())
    until(lambda: number(client, "SELECT count() FROM usage_raw") >= events, 90)
    # the last insert's views end after its rows are seen
    until(lambda: number(client, "SELECT sum(requests) FROM usage_total") >= events, 20)
    once = "SELECT count(), uniqExact(workspace_id, event_id) FROM usage_raw"
    assert client.query(once).result_rows == [(events, events)]
    expected = {}
    for name in oracle.ledgers:
        sums = oracle.total(name)
        money = Decimal(sums.cost) / 10**12
        tokens = sums.input_tokens, sums.output_tokens
        expected[name] = (sums.requests, *tokens, money, money, sums.unpriced)
    assert grouped(client, "usage_raw", RAW) == expected
    for rollup in ("usage_quarter", "usage_day", "usage_user_day", "usage_total"):
        assert grouped(client, rollup, ROLLED) == expected, rollup
    hours = client.query("SELECT sum(requests), sum(cost) FROM usage_hour").result_rows
    assert hours == [(events, sum(money for *_, money, _ in expected.values()))]


def check_alerts_and_overage(client: Client, rows: Rows) -> None:
    """Wait for those of the topics, then compare them; more may have come meanwhile."""
    for table, topic, column, amount in (
        ("alerts", "usage.alerts", "used", "used"),
        ("overage", "usage.overage", "to_cumulative_pico", "to_cumulative * 1000000000000"),
    ):
        wanted = {
            (row["partition"], row["seq"]): (row["id"], int(row[column])) for row in rows[topic]
        }
        until(lambda: number(client, f"SELECT count() FROM {table}") >= len(wanted), 30)  # noqa: B023
        found = client.query(f"SELECT partition, seq, id, {amount} FROM {table}").result_rows
        stored = {(row[0], row[1]): (row[2], int(row[3])) for row in found}
        assert len(stored) == len(found), table
        assert {key: stored.get(key) for key in wanted} == wanted, table


def grouped(client: Client, table: str, columns: str) -> dict[str, tuple[Any, ...]]:
    query = f"SELECT workspace_id, {columns} FROM {table} GROUP BY workspace_id"
    return {row[0]: tuple(row[1:]) for row in client.query(query).result_rows}


def number(client: Client, query: str) -> int:
    return int(client.command(query))  # type: ignore[arg-type]

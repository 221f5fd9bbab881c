"""Single records for people: alerts, overage, dead letters; newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from clickhouse_connect.driver.client import Client

from spendstream.api.reports import Row, plain
from spendstream.schemas.money import usd_string

MAX_ROWS: Final = 1_000
_ISO: Final = "%Y-%m-%dT%H:%i:%S.%fZ"


def alerts(client: Client, workspace_id: str | None = None, max_rows: int = MAX_ROWS) -> list[Row]:
    """Alerts. `used` and `amount` are USD strings where the measure is charge, else counts."""
    rows = _select(
        client,
        "alerts",
        "id, kind, workspace_id, formatDateTime(at, {iso:String}, 'UTC') AS at, `limit`, scope, "
        "measure, window, threshold_percent, severity, action, used, amount, episode, event_id, "
        "plan_version",
        "alerts.at DESC, partition, seq DESC",
        {"workspace_id": workspace_id},
        max_rows,
    )
    for row in rows:
        for name in ("used", "amount"):
            value = int(row[name])
            row[name] = usd_string(value) if row["measure"] == "charge" else value
    return rows


def overage(client: Client, workspace_id: str | None = None, max_rows: int = MAX_ROWS) -> list[Row]:
    """Overage records: bill `to_cumulative_usd` minus what was billed for the period."""
    rows = _select(
        client,
        "overage",
        "id, workspace_id, period, revision, from_cumulative, to_cumulative, "
        "formatDateTime(at, {iso:String}, 'UTC') AS at, final, plan_version",
        "overage.at DESC, partition, seq DESC",
        {"workspace_id": workspace_id},
        max_rows,
    )
    for row in rows:
        for name in ("from_cumulative", "to_cumulative"):
            row[f"{name}_usd"] = plain(row.pop(name))
    return rows


def dead_letters(client: Client, reason: str | None = None, max_rows: int = MAX_ROWS) -> list[Row]:
    """Refused records, byte for byte (base64; None where the record had no key or value)."""
    rows = _select(
        client,
        "dead_letters",
        "reason, detail, topic, partition, offset, seq, "
        "formatDateTime(arrival, {iso:String}, 'UTC') AS arrival, "
        "base64Encode(record_key) AS key_base64, base64Encode(record_value) AS value_base64, "
        "arrayMap(h -> (h.name, base64Encode(h.value)), record_headers) AS headers",
        "dead_letters.arrival DESC, partition, seq DESC",
        {"reason": reason},
        max_rows,
    )
    for row in rows:
        row["headers"] = [
            {"name": name, "value_base64": value} for name, value in map(_pair, row["headers"])
        ]
    return rows


def dead_letter_counts(client: Client) -> dict[str, int]:
    """How many records were refused, by reason, the most frequent first."""
    rows = client.query(
        "SELECT reason, count() AS records FROM dead_letters "
        "GROUP BY reason ORDER BY records DESC, reason"
    ).result_rows
    return {str(reason): int(records) for reason, records in rows}


def _select(
    client: Client,
    table: str,
    columns: str,
    order: str,
    equal: dict[str, str | None],
    max_rows: int,
) -> list[Row]:
    """Rows of a table; columns and order are ours, the values compared are parameters."""
    wanted = {name: value for name, value in equal.items() if value is not None}
    where = " AND ".join(f"{table}.{name} = {{{name}:String}}" for name in wanted) or "1"
    parameters: dict[str, Any] = {**wanted, "iso": _ISO, "max_rows": max_rows}
    result = client.query(
        f"SELECT {columns} FROM {table} WHERE {where} ORDER BY {order} LIMIT {{max_rows:UInt32}}",
        parameters=parameters,
    )
    return [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]


def _pair(header: dict[str, Any] | Sequence[Any]) -> tuple[Any, Any]:
    name, value = header.values() if isinstance(header, dict) else header
    return name, value

"""A thousand malformed records among twenty thousand good ones, through worker and sink."""

from __future__ import annotations

import random
import time
from base64 import b64decode
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest

from tests.servers.clickhouse import ClickHouseServer
from tests.servers.kafka import KafkaServer
from tests.support.exact import check_exact
from tests.support.header_names import in_bytes
from tests.support.malformed import HOSTILE, Malformed, kinds, structured
from tests.support.records import Call, Headers
from tests.support.rig import Rig
from tests.support.waiting import until

pytestmark = [pytest.mark.kafka, pytest.mark.clickhouse, pytest.mark.xdist_group("engine")]

GOOD, BAD = 20_000, 1_000
Sent = tuple[bytes | None, bytes | None, Headers]


def good_calls(now: int) -> list[Call]:
    """Every tenth is named like an attack, in all its names."""
    calls = []
    for i in range(GOOD):
        text = HOSTILE[i // 10 % len(HOSTILE)] if i % 10 == 0 else f"ws-{i % 50}"
        more: dict[str, Any] = {"user_id": text, "tags": {text: text}, "metadata": {text: [text]}}
        calls.append(Call(f"{text}-{i}", now - i % 60_000, text, input_tokens=i, more=more))
    return calls


def bad_records(now: int) -> list[Malformed]:
    """All kinds in turn, each with an id of its own."""
    found: list[Malformed] = []
    while len(found) < BAD:
        found += kinds(Call(f"bad-{len(found)}", now, f"ws-{len(found) % 7}"))
    return found[:BAD]


def test_every_bad_one_is_kept_every_good_one_is_counted(
    broker: KafkaServer, clickhouse: ClickHouseServer, clickhouse_database: str, tmp_path: Path
) -> None:
    rig = Rig(broker.bootstrap_servers, tmp_path)
    try:
        worker = rig.worker()
        sink = rig.sink(clickhouse.url, clickhouse_database)
        now = time.time_ns() // 1_000_000
        good, bad = good_calls(now), bad_records(now)
        assert len({kind.name for kind in bad}) >= 25
        sent: list[Sent] = [
            structured(c) if i % 9 == 0 else (c.workspace_id.encode(), c.value(), c.headers())
            for i, c in enumerate(good)
        ]
        sent += [(kind.key, kind.value, kind.headers) for kind in bad]
        random.Random(1).shuffle(sent)
        rig.send_raw(sent)
        outcomes = rig.wait_settled(120)
        assert worker.running()
        assert "partition_recovers" not in worker.log
        assert outcomes["usage.events"]["dead"] == BAD
        rows = check_exact(rig, good)

        expected = Counter((kind.reason, *plain(kind)) for kind in bad)
        assert Counter(letter(row) for row in rows["usage.dead"]) == expected
        # each points at the record it came from
        events = {(m.partition(), m.offset()): m for m in rig.read("usage.events")}
        for row in rows["usage.dead"]:
            message = events[row["partition"], row["offset"]]
            assert letter(row)[1:3] == (message.key(), message.value())
        for row in rows["usage.priced"]:
            assert row["event"]["user_id"] == row["event"]["workspace_id"]
        check_tables(clickhouse, clickhouse_database, expected)
        assert sink.running()
    finally:
        rig.close()


def check_tables(clickhouse: ClickHouseServer, database: str, expected: Counter[Any]) -> None:
    client = clickhouse.client(database)
    try:
        until(lambda: counted(client, "usage_raw") >= GOOD, 60)
        until(lambda: counted(client, "dead_letters") >= BAD, 60)
        assert (counted(client, "usage_raw"), counted(client, "dead_letters")) == (GOOD, BAD)
        stored = client.query(
            "SELECT reason, base64Encode(record_key) AS key_base64,"
            " base64Encode(record_value) AS value_base64,"
            " arrayMap(h -> (h.1, base64Encode(h.2)), record_headers) AS headers FROM dead_letters"
        ).named_results()
        assert Counter(letter(row) for row in stored) == expected
        named = client.query(
            "SELECT workspace_id, count() FROM usage_raw WHERE workspace_id = user_id"
            " GROUP BY workspace_id"
        ).result_rows
        assert {name for name, _ in named} >= set(HOSTILE)
        assert sum(count for _, count in named) == GOOD
    finally:
        client.close()


def counted(client: Any, table: str) -> int:
    if not client.command(f"EXISTS TABLE {table}"):
        return 0
    return int(client.command(f"SELECT count() FROM {table}"))


def plain(kind: Malformed) -> tuple[Any, ...]:
    return kind.key, kind.value, tuple(in_bytes(kind.headers))


def letter(row: dict[str, Any]) -> tuple[Any, ...]:
    """(reason, key, value, headers) of a dead letter, in bytes again."""
    headers = [h.values() if isinstance(h, dict) else h for h in row["headers"]]
    return (
        row["reason"],
        unbase(row["key_base64"]),
        unbase(row["value_base64"]),
        tuple((unquote_to_bytes(name), unbase(value)) for name, value in headers),
    )


def unbase(text: str | None) -> bytes | None:
    return None if text is None else b64decode(text)

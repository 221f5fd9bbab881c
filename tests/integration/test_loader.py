"""The loader on a real Kafka and a ClickHouse: every row once, whatever happens on the way."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC
from decimal import Decimal
from pathlib import Path

import pytest

from spendstream.schemas.period import to_ms
from spendstream.schemas.topics import (
    USAGE_ALERTS,
    USAGE_DEAD,
    USAGE_LATE,
    USAGE_OVERAGE,
)
from spendstream.sinks.clickhouse import migrate as migrating
from spendstream.sinks.clickhouse.tables import ROLLUPS
from tests.integration.clickhouse_proxy import proxy
from tests.integration.loader_rig import Rig, alert, dead, late, overage, priced, rig
from tests.servers.clickhouse import ClickHouseServer
from tests.servers.kafka import KafkaServer
from tests.support.clickhouse_proxy import Answer, Forward

pytestmark = [pytest.mark.kafka, pytest.mark.clickhouse, pytest.mark.xdist_group("loader")]


@pytest.fixture
def loading(
    broker: KafkaServer,
    clickhouse: ClickHouseServer,
    clickhouse_database: str,
    tmp_path: Path,
) -> Iterator[Rig]:
    with rig(broker, clickhouse, clickhouse_database, tmp_path) as made:
        yield made


def rows(first: int, last: int, partition: int = 0) -> list[object]:
    return [priced(seq, partition) for seq in range(first, last + 1)]


def test_everything_is_loaded_once_and_a_restart_goes_on(loading: Rig) -> None:
    loading.send(rows(1, 3_000, 0) + rows(1, 2_000, 1))
    loading.send([alert(seq) for seq in (1, 2, 3)], USAGE_ALERTS)
    loading.send([overage(1), overage(2)], USAGE_OVERAGE)
    loading.send([late(1), late(2), late(1, 1)], USAGE_LATE)
    loader = loading.start()
    loading.wait_loaded(5_000)
    loading.wait_loaded(3, USAGE_ALERTS)
    loading.wait_loaded(2, USAGE_OVERAGE)
    loading.wait_loaded(3, USAGE_LATE)
    assert loader.stop() == 0
    loading.send(rows(3_001, 4_000, 0))
    again = loading.start()
    loading.wait_loaded(6_000)
    assert again.stop() == 0
    loading.check_exact(6_000)
    loading.check_exact(3, USAGE_ALERTS)
    loading.check_exact(2, USAGE_OVERAGE)
    loading.check_exact(3, USAGE_LATE)
    assert not again.said("trying again")


def test_killed_between_intent_and_insert(loading: Rig) -> None:
    loading.send(rows(1, 500))
    with proxy(loading.clickhouse.url) as between:
        loader = loading.start(between.url)

        def kill(_: Forward) -> None:
            loader.kill()

        between.at_insert("usage_raw", kill)
        assert between.tripped.wait(60)
        loading.send(rows(501, 900))
        loading.start(between.url)
        loading.wait_loaded(900)
        first, second = [token for table, token in between.inserts if table == "usage_raw"][:2]
        assert first == second
    loading.check_exact(900)


def test_killed_after_the_insert_before_the_next_intent(loading: Rig) -> None:
    loading.send(rows(1, 500))
    with proxy(loading.clickhouse.url) as between:
        loader = loading.start(between.url)

        def insert_then_kill(forward: Forward) -> None:
            forward()
            loader.kill()

        between.at_insert("usage_raw", insert_then_kill)
        assert between.tripped.wait(60)
        assert loading.loaded() == 500
        loading.send(rows(501, 900))
        loading.start(between.url)
        loading.wait_loaded(900)
        tokens = [token for table, token in between.inserts if table == "usage_raw"]
        assert tokens.count(tokens[0]) == 2
    loading.check_exact(900)


@pytest.mark.parametrize("milliseconds", [5, 40, 120])
def test_killed_in_the_middle_of_an_insert(loading: Rig, milliseconds: int) -> None:
    loading.send(rows(1, 5_000), size=5_000)
    with proxy(loading.clickhouse.url) as between:
        loader = loading.start(between.url)

        def kill_meanwhile(forward: Forward) -> None:
            timer = threading.Timer(milliseconds / 1000, loader.kill)
            timer.start()
            forward()
            timer.join()

        between.at_insert("usage_raw", kill_meanwhile)
        assert between.tripped.wait(60)
        loading.start(between.url)
        loading.wait_loaded(5_000)
    loading.wait(loading.quiet, "the inserts")
    loading.check_exact(5_000)


def test_a_lost_answer_is_asked_for_again(loading: Rig) -> None:
    loading.send(rows(1, 500))
    with proxy(loading.clickhouse.url) as between:

        def insert_in_silence(forward: Forward) -> None:
            forward()

        def fail(_: Forward) -> Answer:
            return Answer(
                500, [("X-ClickHouse-Exception-Code", "241")], b"Code: 241. (MEMORY_LIMIT)"
            )

        between.at_insert("usage_raw", insert_in_silence)
        loader = loading.start(between.url)
        loading.wait_loaded(500)
        between.at_insert("usage_raw", fail)
        loading.send(rows(501, 700))
        loading.wait_loaded(700)
        assert loader.said("MEMORY_LIMIT")
        tokens = [token for table, token in between.inserts if table == "usage_raw"]
        assert len(tokens) - len(set(tokens)) == 2  # both were asked for again, under their tokens
    loading.check_exact(700)


def test_a_token_that_outlived_its_rows_is_no_proof(loading: Rig) -> None:
    """ClickHouse dies inside an insert with its token written down and its rows not: views.py."""
    loading.send(rows(1, 500))
    with proxy(loading.clickhouse.url) as between:

        def insert_and_lose(forward: Forward) -> None:
            forward()
            for table in ("usage_raw", "positions", *ROLLUPS):
                loading.client.command(
                    f"ALTER TABLE {table} DELETE WHERE 1", settings={"mutations_sync": 1}
                )

        between.at_insert("usage_raw", insert_and_lose)
        loading.start(between.url)
        loading.wait_loaded(500)
        loading.send(rows(501, 600))
        loading.wait_loaded(600)
    loading.check_exact(600)


def test_a_view_that_throws_once_is_filled_by_the_retry(loading: Rig) -> None:
    loader = loading.start()
    loading.wait(lambda: loader.ready, "the loader")
    for statement in (
        "CREATE TABLE fuse (seq UInt64) ENGINE = MergeTree ORDER BY seq",
        "CREATE TABLE fused (seq UInt64) ENGINE = MergeTree ORDER BY seq"
        " SETTINGS non_replicated_deduplication_window = 100",
        "CREATE MATERIALIZED VIEW fused_view TO fused AS"
        " SELECT seq FROM usage_raw WHERE throwIf(seq IN (SELECT seq FROM fuse)) = 0",
        "INSERT INTO fuse VALUES (250)",
    ):
        loading.client.command(statement)
    loading.send(rows(1, 500))
    loading.wait(lambda: loader.said("trying again"), "the view's error")
    loading.client.command("TRUNCATE TABLE fuse")
    loading.wait_loaded(500)
    loading.send(rows(501, 600))
    loading.wait_loaded(600)
    loading.wait(lambda: loading.client.command("SELECT count() FROM fused") == 600, "the view")
    loading.check_exact(600)


def test_a_zombie_is_fenced(loading: Rig) -> None:
    loading.send(rows(1, 300, 0) + rows(1, 300, 1))
    zombie = loading.start()
    loading.wait_loaded(600)
    zombie.signal(signal.SIGSTOP)
    loading.send(rows(301, 600, 0) + rows(301, 600, 1))
    loading.start()  # gets the partitions when the zombie's session has run out
    loading.wait_loaded(1_200)
    loading.send(rows(601, 800, 0))
    zombie.signal(signal.SIGCONT)
    loading.send(rows(601, 800, 1))
    loading.wait_loaded(1_600)
    time.sleep(1)
    loading.check_exact(1_600)


def test_rebalances(loading: Rig) -> None:
    def send(first: int, last: int) -> None:
        loading.send(rows(first, last, 0) + rows(first, last, 1), size=100)

    first = loading.start()
    send(1, 1_000)
    second = loading.start()
    send(1_001, 2_000)
    loading.wait(lambda: second.ready, "the second loader")
    send(2_001, 3_000)
    loading.wait_loaded(6_000)
    assert first.stop() == 0
    send(3_001, 4_000)
    loading.wait_loaded(8_000)
    assert second.stop() == 0
    loading.check_exact(8_000)


def test_repeats_are_dropped_and_a_gap_stops_its_partition_only(loading: Rig) -> None:
    loading.send([*rows(1, 100), *rows(50, 100), *rows(101, 200)])
    loader = loading.start()
    loading.wait_loaded(200)
    loading.send(rows(211, 220))
    loading.wait(lambda: loader.said("10 rows are missing"), "the alarm")
    loading.send(rows(1, 100, 1))
    loading.wait_loaded(300)
    assert loader.process.poll() is None
    loading.check_exact(300)


def test_clickhouse_away_for_a_while(
    loading: Rig, clickhouse_server: object, tmp_path: Path
) -> None:
    server: ClickHouseServer = clickhouse_server()  # type: ignore[operator]
    server.client().command(f"CREATE DATABASE {loading.database}")
    with rig(loading.kafka, server, loading.database, tmp_path) as away:
        away.send(rows(1, 500))
        loader = away.start()
        away.wait_loaded(500)
        server.kill()
        away.send(rows(501, 1_000))
        time.sleep(3)
        assert loader.said("trying again")
        server.start()
        away.wait_loaded(1_000)
        away.check_exact(1_000)
        assert loader.stop() == 0


def test_a_migrator_at_work_is_waited_for(loading: Rig) -> None:
    loader = loading.start()
    loading.wait(lambda: loader.ready, "the loader")
    with migrating._lock(loading.client, 5):
        loading.send(rows(1, 500))
        loading.wait(lambda: loader.said("loaders pause"), "the pause")
        assert loading.loaded() == 0
    loading.wait_loaded(500)
    loading.check_exact(500)


def test_dead_letters_byte_for_byte(loading: Rig) -> None:
    values = [None, b"", bytes(range(256)), b"\n\r\t\\'\"`{}", b"\xff\xfe\x00", b"'); DROP"]
    letters = [
        dead(seq, value, key=value, headers=(("ce_id", value), ("", b"\x00"), ("ü'", None)))
        for seq, value in enumerate(values, 1)
    ]
    loading.send(letters, USAGE_DEAD)
    loading.start()
    loading.wait_loaded(len(values), USAGE_DEAD)
    found = loading.client.query(
        "SELECT hex(record_key), hex(record_value), record_key IS NULL,"
        " arrayMap(h -> (h.name, hex(h.value), h.value IS NULL), record_headers)"
        " FROM dead_letters ORDER BY seq"
    ).result_rows
    for value, (key, body, absent, headers) in zip(values, found, strict=True):
        data = None if value is None else value.hex().upper()
        assert (key, body, bool(absent)) == (data, data, value is None)
        assert [tuple(header) for header in headers] == [
            ("ce_id", data, value is None),
            ("", "00", False),
            ("ü'", None, True),
        ]


def test_late_events_are_kept_as_they_came(loading: Rig) -> None:
    """They are read again when they are re-admitted: the text is the event, not what it means."""
    event = '{ "workspace_id":"ws-ü\\u00e9\\n\\"",\n\t"metadata" :{"a":[1, 2.50,1e3]},"b":"" }'
    row = late(7)
    text = row.model_dump_json(exclude={"event"})[:-1] + f',"event":{event}}}'
    loading.send([late(seq) for seq in range(1, 7)], USAGE_LATE)
    loading.producer.begin_transaction()
    loading.producer.produce(USAGE_LATE, text.encode(), b"key", 0)
    loading.producer.commit_transaction(30)
    loading.start()
    loading.wait_loaded(7, USAGE_LATE)
    found = next(iter(loading.client.query("SELECT * FROM late ORDER BY seq DESC").named_results()))
    assert found["event"] == event
    assert found["workspace_id"] == json.loads(event)["workspace_id"]
    for name in ("seq", "partition", "topic", "offset", "event_id", "source", "priced_seq"):
        assert found[name] == getattr(row, name), name
    for name in ("arrival", "time"):
        assert to_ms(found[name].replace(tzinfo=UTC)) == getattr(row, f"{name}_ms"), name


def test_injection_strings_are_data(loading: Rig) -> None:
    evil = "'; DROP TABLE usage_raw; -- \\' {x:String} \"}\u2028] FORMAT TSV"
    event = priced(1).event.model_copy(
        update={"workspace_id": evil, "user_id": evil, "tags": {evil: evil}, "task_id": evil}
    )
    loading.send([priced(1, event_id=evil, source=evil, event=event)])
    loading.start()
    loading.wait_loaded(1)
    found = loading.client.query(
        "SELECT workspace_id, user_id, task_id, event_id, source, tags FROM usage_raw"
    ).result_rows
    assert found == [(evil, evil, evil, evil, evil, {evil: evil})]
    loading.check_exact(1)


def test_columns_hold_what_the_record_says(loading: Rig) -> None:
    big = 10**24 + 1
    loading.send([priced(1, cost_pico=str(big), charge_pico=f"-{big}")])
    loading.start()
    loading.wait_loaded(1)
    found = next(iter(loading.client.query("SELECT * FROM usage_raw").named_results()))
    event = priced(1).event
    assert found["cost"] == Decimal(big).scaleb(-12)
    assert found["charge"] == -found["cost"]
    assert found["leaves"][0]["cost_pico"] == int(priced(1).leaves[0].cost_pico)
    assert event.usage is not None
    assert found["input_tokens"] == event.usage.input_tokens
    assert found["metadata"] == '{"seq":1}'
    assert (found["model"], found["operation"], found["status"]) == (event.model, "chat", "ok")
    assert (found["trackable_type"], found["trackable_id"]) == ("doc", "1")
    assert (found["started_at"], found["reported_cost"], found["origin_period"]) == (None, None, "")
    assert to_ms(found["counted"].replace(tzinfo=UTC)) == priced(1).counted_ms
    assert to_ms(found["arrival"].replace(tzinfo=UTC)) == priced(1).arrival_ms


def test_clickhouse_that_lost_its_data_is_noticed(loading: Rig) -> None:
    loading.send(rows(1, 100))
    first = loading.start()
    loading.wait_loaded(100)
    assert first.stop() == 0
    for table in ("usage_raw", "positions"):
        loading.client.command(f"TRUNCATE TABLE {table}")
    second = loading.start()
    loading.wait(lambda: second.said("Behind"), "the alarm")
    assert loading.client.command("SELECT count() FROM usage_raw") == 0

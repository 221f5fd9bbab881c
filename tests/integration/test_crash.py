"""100,000 events; worker and sink killed -9 three times each, in the middle of what they do; exact.

In the middle means: a paused worker whose output partition holds records that are not committed
and do not become so, and an insert that has left the sink and was not answered.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from tests.integration.clickhouse_proxy import Forward, Proxy, proxy
from tests.servers import shared
from tests.servers.base import ServerUnavailableError
from tests.servers.clickhouse import ClickHouseServer
from tests.servers.kafka import KafkaServer, own_kafka
from tests.support.exact import check_exact
from tests.support.oracle import Oracle, cost_of
from tests.support.records import Call
from tests.support.rig import Rig
from tests.support.waiting import until
from tests.support.workers import Worker

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.clickhouse,
    pytest.mark.storm,
    pytest.mark.xdist_group("engine"),
]

EVENTS = 100_000
WORKSPACES = 90
ROUNDS = 3
LATEST = OffsetSpec.latest()  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaServer]:
    try:
        server = own_kafka()
        server.start()
    except ServerUnavailableError as error:
        pytest.skip(f"no kafka: {error}")
    shared.note_used("kafka", server)
    if server.kind == "tansu":
        server.dispose()
        pytest.skip("the embedded broker has a crash test of its own")
    yield server
    server.dispose()


def calls() -> list[Call]:
    now = time.time_ns() // 1_000_000
    return [
        Call(
            f"e{i}",
            now - i % 30_000,
            f"ws-{i % WORKSPACES}",
            model=("gpt-4o", "gpt-4o-mini", "unheard-of")[i % 7 % 3],
            input_tokens=1_000 + i % 5_000,
            output_tokens=i % 900,
            cache_read=i % 700,
        )
        for i in range(EVENTS)
    ]


def test_killed_three_times_each_and_exact(
    broker: KafkaServer, clickhouse: ClickHouseServer, clickhouse_database: str, tmp_path: Path
) -> None:
    rig = Rig(broker.bootstrap_servers, tmp_path)
    sent = calls()
    part = EVENTS // (ROUNDS + 1)
    with proxy(clickhouse.url) as between:
        try:
            worker = rig.worker().wait_ready()
            sink = rig.sink(between.url, clickhouse_database).wait_ready()
            for number in range(ROUNDS):
                held = Held(between, HOW[number])
                sending = threading.Thread(
                    target=rig.send, args=(sent[number * part : (number + 1) * part],)
                )
                sending.start()
                pause_in_transaction(rig, worker)
                worker.kill()
                worker = rig.worker()
                assert held.in_flight.wait(60)
                check_intent_came_first(rig, held.token)
                sink.kill()
                held.released.set()
                sink = rig.sink(between.url, clickhouse_database)
                sending.join()
            rig.send(sent[ROUNDS * part :])
            rig.wait_settled(120)
            check_exact(rig, sent)
            check_tables(clickhouse, clickhouse_database, sent)
            assert worker.running()
            assert sink.running()
        finally:
            rig.close()


def pause_in_transaction(rig: Rig, worker: Worker) -> None:
    """SIGSTOP the worker at a moment when a transaction of its own is open, with rows in it."""
    admin = AdminClient({"bootstrap.servers": rig.bootstrap, "log_level": 3})
    deadline = time.monotonic() + 30
    while True:
        worker.pause()
        # a commit that was asked for before the pause has come through by the second look
        open_ = uncommitted(admin, rig.partitions)
        if open_:
            time.sleep(0.5)
            open_ &= uncommitted(admin, rig.partitions)
        if open_:
            return
        worker.resume()
        assert time.monotonic() < deadline, "no transaction was open at any pause"
        time.sleep(0.02)


def uncommitted(admin: AdminClient, partitions: int) -> set[tuple[int, int]]:
    """(partition, first offset) of open transactions in `usage.priced`."""
    ends = []
    for level in (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED):
        asked = {TopicPartition("usage.priced", p): LATEST for p in range(partitions)}
        found = admin.list_offsets(asked, isolation_level=level, request_timeout=10)
        ends.append({tp.partition: future.result().offset for tp, future in found.items()})
    return {(p, stable) for p, stable in ends[0].items() if stable < ends[1][p]}


class Held:
    """The next insert of rows, held where the round says: `in_flight` until `released`."""

    def __init__(self, between: Proxy, how: Callable[[Forward, Held], None]) -> None:
        self.in_flight = threading.Event()
        self.released = threading.Event()
        self._between = between

        def hook(forward: Forward) -> None:
            how(forward, self)

        between.at_insert("usage_raw", hook)

    @property
    def token(self) -> str:
        return [token for table, token in self._between.inserts if table == "usage_raw"][-1]

    def hold(self) -> None:
        self.in_flight.set()
        assert self.released.wait(60)


def before_it_arrives(_: Forward, held: Held) -> None:
    """ClickHouse never hears of it."""
    held.hold()


def after_it_is_in(forward: Forward, held: Held) -> None:
    """ClickHouse has it, the sink is never told."""
    forward()
    held.hold()


def while_it_runs(forward: Forward, held: Held) -> None:
    """ClickHouse is at it when the sink dies."""
    running = threading.Thread(target=forward)
    running.start()
    held.hold()
    running.join()


HOW = (before_it_arrives, after_it_is_in, while_it_runs)


def check_intent_came_first(rig: Rig, token: str) -> None:
    """What is in flight was announced in `sink.positions`, by a committed record."""
    topic, partition, epoch, start, end = token.split(":")
    intents = [
        json.loads(message.value() or b"")
        for message in rig.read("sink.positions")
        if (message.key(), message.partition()) == (topic.encode(), int(partition))
    ]
    last = intents[-1]
    assert (last["epoch"], str(last["from"]), str(last["to"])) == (epoch, start, end)
    assert not last.get("done")


def check_tables(clickhouse: ClickHouseServer, database: str, sent: list[Call]) -> None:
    """Raw rows and rollups, to the pico-dollar."""
    client = clickhouse.client(database)
    try:
        until(lambda: number(client, "SELECT count() FROM usage_raw") >= EVENTS, 90)
        # the last insert's views end after its rows are seen
        until(lambda: number(client, "SELECT sum(requests) FROM usage_total") >= EVENTS, 20)
        once = "SELECT count(), uniqExact(workspace_id, event_id) FROM usage_raw"
        assert client.query(once).result_rows == [(EVENTS, EVENTS)]
        oracle = Oracle()
        latest = max(call.time_ms for call in sent)
        for call in sent:
            oracle.take(call, latest)
        expected = {}
        for name in oracle.ledgers:
            sums = oracle.total(name)
            money = Decimal(sums.cost) / 10**12
            tokens = sums.input_tokens, sums.output_tokens
            expected[name] = (sums.requests, *tokens, money, money, sums.unpriced)
        raw = (
            "count(), sum(input_tokens), sum(output_tokens), sum(cost), sum(charge),"
            " countIf(cost_quality = 'unpriced')"
        )
        rolled = (
            "sum(requests), sum(input_tokens), sum(output_tokens), sum(cost), sum(charge),"
            " sum(unpriced)"
        )
        assert grouped(client, "usage_raw", raw) == expected
        for rollup in ("usage_quarter", "usage_day", "usage_user_day", "usage_total"):
            assert grouped(client, rollup, rolled) == expected, rollup
        hours = client.query("SELECT sum(requests), sum(cost) FROM usage_hour").result_rows
        whole = sum(cost_of(call) or 0 for call in sent)
        assert hours == [(EVENTS, Decimal(whole) / 10**12)]
    finally:
        client.close()


def grouped(client: Any, table: str, columns: str) -> dict[str, tuple[Any, ...]]:
    query = f"SELECT workspace_id, {columns} FROM {table} GROUP BY workspace_id"
    return {row[0]: tuple(row[1:]) for row in client.query(query).result_rows}


def number(client: Any, query: str) -> int:
    return int(client.command(query))

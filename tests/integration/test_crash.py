"""100,000 events; worker and sink killed -9 three times each, in the middle of what they do; exact.

In the middle means: a paused worker whose output partition holds records that are not committed
and do not become so, and an insert that has left the sink and was not answered.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from spendstream.schemas.records import AlertKind
from tests.integration.clickhouse_proxy import Proxy, proxy
from tests.servers.clickhouse import ClickHouseServer
from tests.servers.kafka import KafkaServer
from tests.support.clickhouse_proxy import Forward
from tests.support.exact import (
    check_alerts,
    check_exact,
    check_overage,
    plan_versions,
    without_limits,
)
from tests.support.oracle import USD, LimitFact, Oracle, PlanFact
from tests.support.records import Call, calls_of_now
from tests.support.rig import Rig
from tests.support.tables import check_alerts_and_overage, check_tables
from tests.support.transactions import OpenTransactions
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
RATES = tuple(LimitFact(f"rate-{n}", "requests", "minute", n) for n in (100, 400, 700))
PLANS = [
    PlanFact(1, None, credit=2 * USD, overage=True),
    PlanFact(2, "ws-1", 0, USD, RATES, overage=True),
    PlanFact(3, "ws-2", 0, USD),
]
"""All run through their credit, and all but one into overage; and one is ever faster."""


def test_killed_three_times_each_and_exact(
    apache_broker: KafkaServer,
    clickhouse: ClickHouseServer,
    clickhouse_database: str,
    tmp_path: Path,
) -> None:
    rig = Rig(apache_broker.bootstrap_servers, tmp_path)
    plan_versions(rig, PLANS)
    sent: list[Call] = []
    part = EVENTS // (ROUNDS + 1)
    with proxy(clickhouse.url) as between:
        try:
            worker = rig.worker().wait_ready()
            sink = rig.sink(between.url, clickhouse_database).wait_ready()
            for number in range(ROUNDS):
                held = Held(between, HOW[number])
                calls = calls_of_now(number * part, part, WORKSPACES)
                sending = threading.Thread(target=rig.send, args=(calls,))
                sent += calls
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
            calls = calls_of_now(ROUNDS * part, part, WORKSPACES)
            rig.send(calls)
            sent += calls
            rig.wait_settled(120)
            rows = check_exact(rig, sent, PLANS)
            check_alerts(rows, sent, PLANS)
            assert {row["kind"] for row in rows["usage.alerts"]} == {*get_args(AlertKind)}
            oracle = Oracle(without_limits(PLANS))
            latest = max(call.time_ms for call in sent)
            for call in sent:
                oracle.take(call, latest)
            check_overage(rows, oracle)
            client = clickhouse.client(clickhouse_database)
            check_tables(client, oracle)
            check_alerts_and_overage(client, rows)
            client.close()
            assert worker.running()
            assert sink.running()
        finally:
            rig.close()


def pause_in_transaction(rig: Rig, worker: Worker) -> None:
    """SIGSTOP the worker at a moment when a transaction of its own is open, with rows in it."""
    transactions = OpenTransactions(rig.bootstrap, "usage.priced", rig.partitions)
    deadline = time.monotonic() + 30
    while True:
        worker.pause()
        if transactions.last():
            return
        worker.resume()
        assert time.monotonic() < deadline, "no transaction was open at any pause"
        time.sleep(0.02)


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

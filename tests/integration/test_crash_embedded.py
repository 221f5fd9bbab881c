"""The embedded stack: 100,000 events; worker and sink killed -9 three times each; exact.

In the middle means: a paused worker whose output holds records that are not committed and do not
become so, and a paused sink whose last intent has no rows in ClickHouse.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client

from spendstream.schemas.topics import EMBEDDED_PARTITIONS
from tests.support.exact import counted
from tests.support.oracle import Oracle
from tests.support.records import calls_of_now
from tests.support.rig import Rig
from tests.support.tables import check_tables
from tests.support.transactions import OpenTransactions
from tests.support.waiting import until

pytestmark = [pytest.mark.storm, pytest.mark.xdist_group("embedded")]

EVENTS = 100_000
WORKSPACES = 60
ROUNDS = 3
PLANS = """
plans:
  default:
    credit: "2"
    overage: true
  ws-1:
    credit: "1"
    overage: true
    limits:
      - {name: rate, measure: requests, window: minute, amount: 100, action: warn}
"""
"""All run through their credit into overage; one is too fast in every round."""


class Stack:
    """`spendstream up` with a home of its own."""

    def __init__(self, home: Path) -> None:
        self._home = home
        told = json.loads(self.command("up", "--detach", "--json"))
        self.rig = Rig(told["bootstrap_servers"], home, EMBEDDED_PARTITIONS, new_topics=False)
        url = told["clickhouse_url"].rsplit(":", 1)
        self.client: Client = clickhouse_connect.get_client(
            host="127.0.0.1",
            port=int(url[1]),
            database="spendstream",
            compress=False,
            autogenerate_session_id=False,
        )

    def command(self, *arguments: str) -> str:
        done = subprocess.run(
            [str(Path(sys.executable).with_name("spendstream")), *arguments],
            env=os.environ | {"SPENDSTREAM_HOME": str(self._home)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def pid(self, name: str) -> int:
        """0 while it is not running."""
        processes = json.loads((self._home / "run" / "processes.json").read_text())
        return int(processes.get(name, [0])[0])

    def kill_when(self, name: str, in_the_middle: Callable[[], bool]) -> None:
        """Pause the process again and again until it is seen in the middle, then kill -9."""
        pid = self.pid(name)
        deadline = time.monotonic() + 60
        while True:
            os.kill(pid, signal.SIGSTOP)
            if in_the_middle():
                break
            os.kill(pid, signal.SIGCONT)
            assert time.monotonic() < deadline, f"{name} was never seen in the middle"
            time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)
        until(lambda: self.pid(name) not in (0, pid), 60)

    # --- what is seen ---

    def insert_is_open(self) -> bool:
        query = "SELECT partition, max(seq) FROM usage_raw GROUP BY partition"
        stored = {int(row[0]): int(row[1]) for row in self.client.query(query).result_rows}
        intents: dict[int, dict[str, Any]] = {}
        for message in self.rig.read("sink.positions", last=100):
            if message.key() == b"usage.priced":
                intents[message.partition() or 0] = json.loads(message.value() or b"")
        return any(
            not intent.get("done") and stored.get(partition, 0) < intent["seq"]
            for partition, intent in intents.items()
        )


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path / "home")
    yield stack
    stack.client.close()
    stack.command("down")


def test_killed_three_times_each_and_exact(stack: Stack, tmp_path: Path) -> None:
    plans = tmp_path / "plans.yaml"
    plans.write_text(PLANS)
    stack.command("plans", "set", str(plans))
    sent = calls_of_now(0, EVENTS, WORKSPACES)
    part = EVENTS // (ROUNDS + 1)
    transactions = OpenTransactions(stack.rig.bootstrap, "usage.priced", EMBEDDED_PARTITIONS)
    for number in range(ROUNDS):
        stack.rig.wait_taken(number * part)  # a worker that is killed has something to recover
        stack.rig.send(sent[number * part : (number + 1) * part])
        stack.kill_when("worker", transactions.last)
        stack.kill_when("sink", stack.insert_is_open)
    stack.rig.send(sent[ROUNDS * part :])
    outcomes = stack.rig.wait_settled(120)
    ended = {name: count for name, count in outcomes["usage.events"].items() if count}
    assert ended == {"read": EVENTS, "priced": EVENTS}
    oracle = Oracle()
    latest = max(call.time_ms for call in sent)
    for call in sent:
        oracle.take(call, latest)
    state = stack.rig.state()
    for name in oracle.ledgers:
        assert counted(state[name]["total"]) == vars(oracle.total(name)), name
    # what was written twice was written the same
    copies: dict[tuple[int, int], set[bytes]] = defaultdict(set)
    for message in stack.rig.read("usage.priced"):
        row = json.loads(message.value() or b"")
        copies[row["partition"], row["seq"]].add(message.value() or b"")
    assert len(copies) == EVENTS
    assert {len(versions) for versions in copies.values()} == {1}
    check_tables(stack.client, oracle)
    # credit, thresholds and overage, too
    assert json.loads(stack.command("verify", "--json"))["differences"] == []
    for kind, workspaces in (
        ("overage_started", WORKSPACES),
        ("limit_violation", 1),
    ):
        query = "SELECT uniqExact(workspace_id) FROM alerts WHERE kind = {kind:String}"
        alerted = stack.client.query(query, parameters={"kind": kind}).result_rows
        assert alerted == [(workspaces,)], kind

"""Events that came to the wrong partition, and the books of several partitions together."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spendstream.schemas.partition import partition_of
from spendstream.schemas.topics import (
    USAGE_DEAD,
    USAGE_EVENTS,
    USAGE_LATE,
    USAGE_PRICED,
    WORKSPACE_COMMANDS,
)
from tests.support.core import Driver
from tests.support.malformed import kinds
from tests.support.oracle import DAY, HOUR, Oracle, Sums
from tests.support.records import NOON, Call, Record

PARTITIONS = 3


class Cluster:
    """Partitions that forward to each other, without a broker between them."""

    def __init__(self) -> None:
        self.partitions = [Driver(partition=p, partitions=PARTITIONS) for p in range(PARTITIONS)]
        self._offsets = [0] * PARTITIONS
        self._commands = [0] * PARTITIONS

    def send(self, partition: int, record: Record) -> None:
        record = record._replace(partition=partition, offset=self._offsets[partition])
        self._offsets[partition] += 1
        self.partitions[partition].take([record])
        self.partitions[partition].finish()

    def deliver(self, at_ms: int) -> None:
        """All that was forwarded arrives."""
        for driver in self.partitions:
            for home, key, value in driver.forwarded:
                offset = self._commands[home]
                self._commands[home] += 1
                command = Record(WORKSPACE_COMMANDS, home, offset, at_ms, key, value, [])
                self.partitions[home].take([command], WORKSPACE_COMMANDS)
                self.partitions[home].finish()
            driver.forwarded.clear()


def test_forwarded_with_its_origin_and_counted_once_at_home() -> None:
    call = Call("e1", NOON - 100, "ws-1", more={"user_id": "u"})
    home = partition_of("ws-1", PARTITIONS)
    away = (home + 1) % PARTITIONS
    cluster = Cluster()
    headers = [*call.headers(), ("x", None), ("é", b"\xff")]
    record = call.record(0, NOON)._replace(key=b"\xfe wrong", headers=headers)
    cluster.send(away, record)
    assert cluster.partitions[away].state.checkpoint.outcomes[USAGE_EVENTS]["forwarded"] == 1
    assert not cluster.partitions[away].state.workspaces
    cluster.deliver(NOON + 5_000)
    (row,) = cluster.partitions[home].decoded(USAGE_PRICED)
    assert (row["topic"], row["partition"], row["offset"]) == (WORKSPACE_COMMANDS, home, 0)
    # judged by its first arrival, not by the command's
    assert (row["arrival_ms"], row["counted_ms"]) == (NOON, NOON - 100)
    assert row["event"] == call.data()


def test_the_same_event_by_both_ways_is_counted_once() -> None:
    home = partition_of("ws-1", PARTITIONS)
    record = Call("e1", NOON).record(0, NOON)
    cluster = Cluster()
    for partition in range(PARTITIONS):
        cluster.send(partition, record)
    cluster.deliver(NOON + 10)
    outcomes = cluster.partitions[home].state.checkpoint.outcomes
    assert outcomes[USAGE_EVENTS]["priced"] == 1
    assert outcomes[WORKSPACE_COMMANDS]["duplicate"] == 2


def test_a_late_event_is_late_at_home_with_the_offset_it_came_by() -> None:
    home = partition_of("ws-1", PARTITIONS)
    cluster = Cluster()
    cluster.send((home + 1) % PARTITIONS, Call("e1", NOON - 2 * DAY).record(0, NOON))
    cluster.deliver(NOON + 10)
    (row,) = cluster.partitions[home].decoded(USAGE_LATE)
    assert (row["topic"], row["partition"], row["offset"]) == (WORKSPACE_COMMANDS, home, 0)


def test_malformed_records_stay_where_they_came() -> None:
    cluster = Cluster()
    bad = kinds(Call("e1", NOON))[0]
    for partition in range(PARTITIONS):
        cluster.send(partition, Record(USAGE_EVENTS, 0, 0, NOON, bad.key, bad.value, bad.headers))
    assert [len(driver.rows[USAGE_DEAD]) for driver in cluster.partitions] == [1, 1, 1]


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"kind":"other"}',
        b'{"kind":' + b"[" * 100_000,
        b'{"x":' + b"[" * 100_000,
        b"[" * 100_000,
        b'{"kind":"forwarded","topic":"t","partition":0,"offset":0,"arrival_ms":0,'
        b'"key_base64":"?","value_base64":null,"headers":[]}',
        b'{"kind":"forwarded","topic":"t","partition":0,"offset":0,"arrival_ms":-1,'
        b'"key_base64":null,"value_base64":null,"headers":[]}',
        b'{"kind":"forwarded","topic":"t","partition":0,"offset":0,"arrival_ms":0,'
        b'"key_base64":null,"value_base64":null,"headers":[],"more":1}',
    ],
)
def test_a_command_that_is_none_is_dead(value: bytes | None) -> None:
    driver = Driver()
    driver.take([Record(WORKSPACE_COMMANDS, 0, 3, NOON, b"k", value, [])], WORKSPACE_COMMANDS)
    driver.finish()
    (letter,) = driver.decoded(USAGE_DEAD)
    assert (letter["topic"], letter["offset"], letter["reason"]) == (
        WORKSPACE_COMMANDS,
        3,
        "invalid_command",
    )
    assert (
        driver.state.checkpoint.outcomes[WORKSPACE_COMMANDS] | {"read": 1, "dead": 1}
        == (driver.state.checkpoint.outcomes[WORKSPACE_COMMANDS])
    )


ARRIVALS = st.lists(
    st.tuples(
        st.integers(0, 60_000),  # gap
        st.integers(0, PARTITIONS - 1),  # where it is sent
        st.integers(0, 6),  # workspace
        st.integers(0, 12),  # id
        st.sampled_from((0, 0, 0, 2 * HOUR, 30 * HOUR, 40 * DAY, -2 * HOUR)),  # age
        st.sampled_from((False, False, False, True)),  # malformed
        st.booleans(),  # deliver what was forwarded
    ),
    max_size=40,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ARRIVALS)
def test_conservation_and_the_same_counters_wherever_events_come_in(
    arrivals: list[tuple[int, int, int, int, int, bool, bool]],
) -> None:
    cluster, oracle, now = Cluster(), Oracle(), NOON
    for gap, partition, workspace, name, age, malformed, deliver in arrivals:
        now += gap
        call = Call(f"e{name}", now - age, f"ws-{workspace}")
        record = call.record(0, now)
        if malformed:
            record = record._replace(value=(record.value or b"")[:-1])
            oracle.refuse(now)
        else:
            oracle.take(call, now)
        cluster.send(partition, record)
        if deliver:
            cluster.deliver(now)
    cluster.deliver(now)

    forwarded = taken = 0
    total = dict.fromkeys(("priced", "duplicate", "late", "dead"), 0)
    for driver in cluster.partitions:
        for counts in driver.state.checkpoint.outcomes.values():
            assert counts["read"] == sum(n for name, n in counts.items() if name != "read")
            total = {name: n + counts[name] for name, n in total.items()}
        outcomes = driver.state.checkpoint.outcomes
        forwarded += outcomes[USAGE_EVENTS]["forwarded"]
        taken += outcomes[WORKSPACE_COMMANDS]["read"]
        assert outcomes[WORKSPACE_COMMANDS]["forwarded"] == 0
        for topic, rows in driver.rows.items():
            assert driver.state.checkpoint.seq[topic] == len(rows)
    assert forwarded == taken
    assert total == {name: oracle.outcomes[name] for name in total}
    counted = {
        name: Sums(**{field: getattr(ws.total, field) for field in asdict(Sums())})
        for driver in cluster.partitions
        for name, ws in driver.state.workspaces.items()
    }
    assert counted == {name: oracle.total(name) for name in oracle.ledgers}


def test_forwarded_bytes_are_those_that_came() -> None:
    call = Call("e1", NOON, "ws-1")
    away = (partition_of("ws-1", PARTITIONS) + 1) % PARTITIONS
    driver = Driver(partition=away, partitions=PARTITIONS)
    spaced = json.dumps(call.data(), indent=1).encode()
    driver.run([call.record()._replace(value=spaced, key=None, partition=away, offset=41)])
    ((home, key, value),) = driver.forwarded
    command = json.loads(value)
    assert (home, key) == (partition_of("ws-1", PARTITIONS), b"ws-1")
    assert (command["partition"], command["offset"], command["key_base64"]) == (away, 41, None)

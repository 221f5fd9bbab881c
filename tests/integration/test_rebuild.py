"""A fresh broker filled from ClickHouse: the same figures, `seq` runs on, nothing counted twice."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from confluent_kafka import Producer

from spendstream.api.jobs import control_prices
from spendstream.api.jobs import rebuild as rebuilding
from spendstream.api.jobs.control import read_versions
from spendstream.api.jobs.rebuild import NOTHING, RebuildFailed, rebuild
from spendstream.api.jobs.verify import verify
from spendstream.api.log import read_to_end
from spendstream.api.restore import read_stored_states
from spendstream.api.state import (
    read_mirrored_state,
    read_worker_state,
    read_workspace_states,
)
from spendstream.deploy.topics_admin import create
from spendstream.schemas import Plan
from spendstream.schemas.partition import partition_of
from spendstream.schemas.topics import (
    USAGE_ALERTS,
    USAGE_EVENTS,
    USAGE_OVERAGE,
    WORKSPACE_COMMANDS,
)
from spendstream.streams.core.finish import finish
from spendstream.streams.core.ids import digest
from spendstream.streams.core.state import PartitionState
from spendstream.streams.losses import TOPICS
from spendstream.streams.reading import LogReader, topic_ids
from spendstream.streams.recovery import recover
from tests.integration.stored import (
    CHARGED,
    NOON,
    PARTITIONS,
    PRICES,
    Figures,
    Sent,
    filled,
    refused,
    some_events,
)
from tests.servers.clickhouse import ClickHouseServer
from tests.servers.kafka import KafkaServer, TansuKafka

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.clickhouse,
    pytest.mark.xdist_group("rebuild"),
]

EVENTS = some_events(400, step_ms=4_320_000)  # 20 days, over the end of a month
DATABASE = f"rebuild_test_{os.getpid()}"  # xdist workers share the server


@pytest.fixture
def figures(clickhouse: ClickHouseServer) -> Iterator[Figures]:
    with filled(clickhouse, DATABASE) as figures:
        figures.set_plans(
            {
                None: Plan(credit_pico=5 * 10**10, overage=True),
                "ws-1": Plan(credit_pico=10**12),
                "ws-2": Plan(credit_pico=0, overage=True),
                **CHARGED,
            }
        )
        figures.add_prices(PRICES)
        yield figures


@pytest.fixture
def fresh() -> Iterator[str]:
    """The embedded broker: empty, and fresh within a moment."""
    broker = TansuKafka()
    broker.start()
    create(broker.bootstrap_servers, PARTITIONS)
    yield broker.bootstrap_servers
    broker.dispose()


def recovered(bootstrap: str) -> list[PartitionState]:
    """Each partition as a worker recovers it."""
    reader = LogReader(bootstrap)
    try:
        epochs = topic_ids(bootstrap, TOPICS)
        return [recover(reader, p, PARTITIONS, epochs).state for p in range(PARTITIONS)]
    finally:
        reader.close()


def same(state: PartitionState, truth: PartitionState) -> None:
    assert state.checkpoint.seq == truth.checkpoint.seq
    assert state.checkpoint.time_ms <= truth.checkpoint.time_ms
    assert state.workspaces.keys() == truth.workspaces.keys()
    for name, ws in state.workspaces.items():
        right = truth.workspaces[name]
        assert ws.total == right.total
        assert ws.months.keys() == right.months.keys()
        for month, found in ws.months.items():
            wanted = right.months[month]
            for attribute in ("counted", "booked", "crossed", "overage_emitted", "final"):
                assert getattr(found, attribute) == getattr(wanted, attribute), (name, month)


@pytest.mark.parametrize("mirrored", [400, 250, 0], ids=["all", "some", "none"])
def test_the_same_figures_come_back(
    figures: Figures, fresh: str, clickhouse: ClickHouseServer, mirrored: int
) -> None:
    """Whatever of the rows is above the last mirrored checkpoint."""
    bad = [(0, refused(NOON, b"{")), (1, refused(NOON, b"["))]
    late = Sent("late", NOON - 10 * 86_400_000, NOON, EVENTS[0].event)
    if mirrored:
        figures.load([late, *EVENTS[:mirrored]], bad)
        figures.load(EVENTS[mirrored:], mirrored=False)
    else:
        figures.load([late, *EVENTS], bad, mirrored=False)
    assert verify(figures.client)["ok"] or mirrored < 400

    done = rebuild(fresh, clickhouse.url, DATABASE)
    assert done.partitions == PARTITIONS
    assert done.rows == 400 - mirrored
    assert done.plans == len(read_versions(fresh)) == 5
    assert done.prices == len(control_prices.read_versions(fresh)) == 2
    for state in recovered(fresh):
        same(state, figures.states[state.checkpoint.partition])
        assert state.checkpoint.upto == (0, 0)
    found = verify(figures.client, fresh)
    assert found["differences"] == []
    assert found["events"] == 400
    public = read_workspace_states(fresh)
    assert public.keys() == {f"ws-{n}" for n in range(5)}
    if mirrored == 400:
        stored = read_stored_states(figures.client, "ws-1")["ws-1"]
        assert stored.model_copy(update={"offset": 0}) == public["ws-1"]


def test_ids_within_the_horizon_are_remembered(
    figures: Figures, fresh: str, clickhouse: ClickHouseServer
) -> None:
    figures.load(EVENTS)
    done = rebuild(fresh, clickhouse.url, DATABASE)
    indexes = [state.ids for state in recovered(fresh)]
    last = [digest(sent.event.workspace_id, sent.id) for sent in EVENTS[-15:]]
    live = [
        [ids.seen(*one) for one in zip(last, ids.look_up(last), strict=True)] for ids in indexes
    ]
    assert all(any(of_one) for of_one in zip(*live, strict=True))
    assert sum(map(len, indexes)) <= done.ids < 100


@pytest.mark.parametrize("taken", [True, False, None], ids=["taken", "stored", "lost"])
@pytest.mark.parametrize("forwarded", [True, False], ids=["forwarded", "forgotten"])
def test_events_forwarded_are_as_many_as_were_taken(
    figures: Figures, fresh: str, clickhouse: ClickHouseServer, forwarded: bool, taken: bool | None
) -> None:
    """Each side of the way between two partitions may be mirrored without the other."""
    figures.load(EVENTS[:200])
    home = partition_of("ws-1", PARTITIONS)
    sent = [s for s in EVENTS[200:] if partition_of(s.event.workspace_id, PARTITIONS) == home][:10]
    last = sent[-1]
    late = Sent("late", last.time_ms - 5 * 86_400_000, last.arrival_ms, last.event)
    figures.misroute([*sent, late], home, forwarded=forwarded, taken=taken)
    rebuild(fresh, clickhouse.url, DATABASE)
    found = verify(figures.client, fresh)
    assert found["differences"] == []
    there = 0 if taken is None else 11
    assert found["events"] == 200 + max(0, there - 1)
    outcomes = [state.checkpoint.outcomes for state in recovered(fresh)]
    assert sum(by_topic[USAGE_EVENTS]["forwarded"] for by_topic in outcomes) == there
    assert sum(by_topic[WORKSPACE_COMMANDS]["late"] for by_topic in outcomes) == min(1, there)


@pytest.mark.parametrize("mirrored", [0, 2, 3, 6], ids=["none", "two", "three", "all"])
def test_late_rows_are_resolved_as_far_as_they_were(
    figures: Figures, fresh: str, clickhouse: ClickHouseServer, mirrored: int
) -> None:
    """Whatever of the resolver's work is above the last mirrored checkpoint."""
    figures.load(EVENTS[:200])
    now = EVENTS[199].arrival_ms
    home = partition_of("ws-1", PARTITIONS)
    first = next(s for s in EVENTS if partition_of(s.event.workspace_id, PARTITIONS) == home)
    # the second is a repeat, the fourth a copy of the third; of the last two nobody has heard yet
    ids = [first.id, "a", first.id, "b", "b", first.id, "c", "d"]
    times = {name: first.time_ms + number for number, name in enumerate(dict.fromkeys(ids))}
    figures.load([Sent(name, times[name], now, first.event) for name in ids])
    rows = figures.client.query(
        "SELECT seq, topic, offset, toUnixTimestamp64Milli(arrival), "
        "toUnixTimestamp64Milli(time), event_id, source, event, workspace_id FROM late "
        "WHERE partition = {home:UInt32} ORDER BY seq",
        parameters={"home": home},
    ).result_rows
    assert [row[5] for row in rows] == ids
    names = ("late_seq", "topic", "offset", "arrival_ms", "time_ms", "event_id", "source")
    commands = [
        json.dumps(
            {
                "kind": "duplicate",
                "late_seq": row[0],
                "checked_seq": 10**6,
                "workspace_id": row[8],
                "event_id": row[5],
            }
            if row[5] == first.id
            else {
                "kind": "readmit",
                "checked_seq": 10**6,
                **dict(zip(names, row, strict=False)),
                "event": json.loads(row[7]),
            }
        ).encode()
        for row in rows[:6]
    ]
    for number, command in enumerate(commands):
        figures.resolve(home, [command], now + number, mirrored=number < mirrored)
    rebuild(fresh, clickhouse.url, DATABASE)
    assert verify(figures.client, fresh)["differences"] == []
    state = recovered(fresh)[home]
    # up to the last that has left a row; and what was mirrored is known
    assert state.checkpoint.late_resolved == max(4, mirrored)
    assert state.checkpoint.late_pending == len(ids) - max(4, mirrored)
    counts = state.checkpoint.outcomes[WORKSPACE_COMMANDS]
    assert (counts["priced"], counts["duplicate"]) == (2, max(4, mirrored) - 2)
    assert state.checkpoint.taken_over == 0
    same(state, figures.states[home])
    both = [digest(first.event.workspace_id, name) for name in ("a", "b")]
    assert all(map(state.ids.seen, both, state.ids.look_up(both)))


def test_outputs_that_were_not_stored_are_sent_again(
    figures: Figures, fresh: str, clickhouse: ClickHouseServer
) -> None:
    """A sink that died between its topics: priced rows are in, alerts and overage are not."""
    figures.load(EVENTS[:200])
    stored_alerts = count(figures.client, "alerts")
    figures.load(EVENTS[200:], mirrored=False)
    truth = {s.checkpoint.partition: dict(s.checkpoint.seq) for s in figures.states.values()}
    cut = read_worker_seq(figures)
    for table, topic in (("alerts", USAGE_ALERTS), ("overage", USAGE_OVERAGE)):
        for partition, seq in cut.items():
            figures.client.command(
                f"ALTER TABLE {table} DELETE WHERE partition = {partition} AND seq > {seq[topic]}",
                settings={"mutations_sync": 2},
            )
    assert count(figures.client, "alerts") == stored_alerts
    rebuild(fresh, clickhouse.url, DATABASE)
    sent = list(read_to_end(fresh, USAGE_ALERTS))
    states = recovered(fresh)
    for state in states:
        partition = state.checkpoint.partition
        assert state.checkpoint.seq[USAGE_ALERTS] == truth[partition][USAGE_ALERTS]
        again = [message for message in sent if message.partition() == partition]
        assert len(again) == truth[partition][USAGE_ALERTS] - cut[partition][USAGE_ALERTS]
        # what was not stored of the overage waits to be sent by the worker
        assert state.checkpoint.seq[USAGE_OVERAGE] == cut[partition][USAGE_OVERAGE]
        for name, ws in state.workspaces.items():
            for month in ws.months.values():
                if month.overage_emitted != beyond(figures, name, month.booked):
                    assert month.overage_since_ms is not None or not month.final
    assert sent


def beyond(figures: Figures, workspace: str, booked: int) -> int:
    plan = figures.plans.in_force(workspace, NOON).plan
    return max(0, booked - plan.credit_pico) if plan.overage else 0


def count(client: Client, table: str) -> int:
    return int(client.query(f"SELECT count() FROM {table}").result_rows[0][0])


def read_worker_seq(figures: Figures) -> dict[int, dict[str, int]]:
    checkpoints = read_mirrored_state(figures.client).checkpoints
    return {partition: dict(c.seq) for partition, c in checkpoints.items()}


def test_a_crash_on_the_way_is_repaired_by_running_again(
    figures: Figures, fresh: str, clickhouse: ClickHouseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures.load(EVENTS[:390])
    last = [s for s in EVENTS[390:] if partition_of(s.event.workspace_id, PARTITIONS) == 1]
    figures.misroute(last, 1, forwarded=True, taken=True)  # from the partition that is written
    original = finish
    calls: list[Any] = []

    def dies(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(rebuilding, "finish", dies)
    with pytest.raises(KeyboardInterrupt):
        rebuild(fresh, clickhouse.url, DATABASE)
    rebuild(fresh, clickhouse.url, DATABASE)
    assert len(calls) == PARTITIONS + 1
    assert verify(figures.client, fresh)["differences"] == []


def test_a_second_run_is_refused(
    figures: Figures, fresh: str, clickhouse: ClickHouseServer
) -> None:
    figures.load(EVENTS)
    rebuild(fresh, clickhouse.url, DATABASE)
    with pytest.raises(RebuildFailed, match="not fresh"):
        rebuild(fresh, clickhouse.url, DATABASE)


def test_a_broker_with_events_is_refused(
    figures: Figures, fresh: str, clickhouse: ClickHouseServer
) -> None:
    figures.load(EVENTS)
    producer = Producer({"bootstrap.servers": fresh})
    producer.produce(USAGE_EVENTS, b"{}", b"ws-1")
    producer.flush(10)
    with pytest.raises(RebuildFailed, match=r"usage\.events holds records already"):
        rebuild(fresh, clickhouse.url, DATABASE)


def test_a_hole_in_the_stored_rows_is_refused(
    figures: Figures, fresh: str, clickhouse: ClickHouseServer
) -> None:
    figures.load(EVENTS, mirrored=False)
    figures.client.command(
        "ALTER TABLE usage_raw DELETE WHERE event_id = 'e-200'", settings={"mutations_sync": 2}
    )
    with pytest.raises(RebuildFailed, match="usage_raw has a hole"):
        rebuild(fresh, clickhouse.url, DATABASE)


def test_rows_below_the_checkpoint_that_are_gone_are_refused(
    figures: Figures, fresh: str, clickhouse: ClickHouseServer
) -> None:
    figures.load(EVENTS)
    figures.client.command("TRUNCATE TABLE alerts")
    with pytest.raises(RebuildFailed, match=r"usage\.alerts, but only 0 are stored"):
        rebuild(fresh, clickhouse.url, DATABASE)


def test_another_number_of_partitions_is_refused(
    figures: Figures, clickhouse: ClickHouseServer
) -> None:
    figures.load(EVENTS)
    broker = TansuKafka()
    broker.start()
    try:
        create(broker.bootstrap_servers, PARTITIONS + 1)
        with pytest.raises(RebuildFailed, match="another number of partitions"):
            rebuild(broker.bootstrap_servers, clickhouse.url, DATABASE)
    finally:
        broker.dispose()


def test_nothing_stored_is_nothing_to_do(
    figures: Figures, fresh: str, clickhouse: ClickHouseServer
) -> None:
    figures.client.command("TRUNCATE TABLE mirror_control")
    assert rebuild(fresh, clickhouse.url, DATABASE) == NOTHING
    assert read_worker_state(fresh).checkpoints == {}


def test_apache_kafka_can_be_filled_too(
    figures: Figures, clickhouse: ClickHouseServer, broker: KafkaServer
) -> None:
    """Markers of transactions take offsets there."""
    figures.load(EVENTS[:300])
    figures.load(EVENTS[300:], mirrored=False)
    create(broker.bootstrap_servers, PARTITIONS)
    rebuild(broker.bootstrap_servers, clickhouse.url, DATABASE)
    for state in recovered(broker.bootstrap_servers):
        same(state, figures.states[state.checkpoint.partition])
    assert verify(figures.client, broker.bootstrap_servers)["differences"] == []
    with pytest.raises(RebuildFailed, match="not fresh"):
        rebuild(broker.bootstrap_servers, clickhouse.url, DATABASE)

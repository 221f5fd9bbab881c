"""Rights that Kafka takes away: the log says which and what to do, `/healthz` too, nothing is
skipped, and once they are given back all goes on by itself and is exact."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin._acl import AclOperation
from confluent_kafka.admin._resource import ResourceType

from spendstream.deploy.partition_view import checked_count
from spendstream.producers import Drop, UsageEmitter
from spendstream.schemas import UsageEvent
from tests.servers.clickhouse import ClickHouseServer
from tests.servers.kafka import KafkaServer
from tests.support.exact import check_exact
from tests.support.records import calls_of_now
from tests.support.rig import PARTITIONS, Rig
from tests.support.rights import Rights
from tests.support.waiting import until
from tests.support.watched import Watched

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("rights")]

TOPIC, GROUP, ID = ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID
CLUSTER = ResourceType.BROKER
READ, WRITE = AclOperation.READ, AclOperation.WRITE


@pytest.fixture
def rig(guarded_broker: KafkaServer, tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(guarded_broker.bootstrap_servers, tmp_path)
    yield rig
    rig.close()


@pytest.fixture
def rights(rig: Rig) -> Iterator[Rights]:
    rights = Rights(rig.bootstrap)
    yield rights
    rights.give_back()


@pytest.mark.parametrize(
    ("kind", "name", "right", "said"),
    [
        (TOPIC, "usage.priced", WRITE, "WRITE on usage.priced is missing: grant it to"),
        (TOPIC, "usage.events", READ, "READ on usage.events is missing: grant it to"),
        (GROUP, "{group}", READ, "READ on the consumer group {group} is missing: grant it to"),
        (ID, "{group}-0", WRITE, "grant this process's user WRITE on the transactional id"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_a_worker_that_loses_a_right(
    rig: Rig, rights: Rights, kind: ResourceType, name: str, right: AclOperation, said: str
) -> None:
    watched = Watched(rig, "worker", "http://127.0.0.1:9", "none")
    group = f"{rig.group}-worker"
    name, said = name.format(group=group), said.format(group=group)
    sent = calls_of_now(0, 300)
    rig.send(sent)
    watched.worker.wait_ready()
    rig.wait_settled()
    rights.take(kind, name, right)
    more = calls_of_now(300, 300)
    rig.send(more)
    until(lambda: said in str(watched.health()[1]), 60, lambda: watched.worker.log[-4000:])
    status, told = watched.health()
    assert status == 503
    assert any(said in reason for reason in told["reasons"]), told
    assert said in watched.worker.log
    assert checked_count(rig.bootstrap) == PARTITIONS  # whoever only looks needs none of them

    rights.give_back()
    rig.wait_settled()
    check_exact(rig, sent + more)
    until(lambda: watched.health()[0] == 200, 40, lambda: str(watched.health()))


@pytest.mark.clickhouse
@pytest.mark.parametrize(
    ("kind", "name", "right", "said"),
    [
        (TOPIC, "usage.priced", READ, "READ on usage.priced is missing: grant it to"),
        (GROUP, "{group}", READ, "READ on the consumer group {group} is missing: grant it to"),
        (TOPIC, "sink.positions", WRITE, "cannot write to sink.positions"),
        (ID, "sink-{group}-0", WRITE, "grant this process's user WRITE on the transactional id"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_a_sink_that_loses_a_right(
    rig: Rig,
    rights: Rights,
    clickhouse: ClickHouseServer,
    clickhouse_database: str,
    kind: ResourceType,
    name: str,
    right: AclOperation,
    said: str,
) -> None:
    rig.worker()
    watched = Watched(rig, "sink", clickhouse.url, clickhouse_database)
    group = f"{rig.group}-sink"
    name, said = name.format(group=group), said.format(group=group)
    client = clickhouse.client(clickhouse_database)

    def loaded() -> tuple[int, int]:
        rows = client.query("SELECT count(), uniqExact(partition, seq) FROM usage_raw")
        count, distinct = rows.result_rows[0]
        return count, distinct

    rig.send(calls_of_now(0, 300))
    watched.worker.wait_ready()
    until(lambda: loaded() == (300, 300), 60, lambda: watched.worker.log[-4000:])
    rights.take(kind, name, right)
    rig.send(calls_of_now(300, 300))
    until(lambda: said in str(watched.health()[1]), 60, lambda: watched.worker.log[-4000:])
    assert watched.health()[0] == 503
    assert said in watched.worker.log

    rights.give_back()
    until(lambda: loaded() == (600, 600), 60, lambda: watched.worker.log[-4000:])
    until(lambda: watched.health()[0] == 200, 40, lambda: str(watched.health()))


@pytest.mark.parametrize("spooled", [False, True], ids=["without a spool", "with a spool"])
@pytest.mark.parametrize("when", ["while it runs", "before it starts"])
def test_an_emitter_that_may_not_write(
    rig: Rig, rights: Rights, tmp_path: Path, caplog: pytest.LogCaptureFixture, when: str,
    spooled: bool,
) -> None:  # fmt: skip
    if when == "before it starts":  # it may write to nothing: no client is taken
        rights.take(CLUSTER, "kafka-cluster", AclOperation.IDEMPOTENT_WRITE)
        rights.take(TOPIC, "*", WRITE)
    event = UsageEvent(provider="openai", request_model="gpt-4o", workspace_id="ws-1")
    emitted = 0

    def emit() -> bool:
        nonlocal emitted
        emitted += 1
        return emitter.emit(event, id=str(emitted))

    with UsageEmitter(rig.bootstrap, spool=tmp_path / "spool" if spooled else "") as emitter:
        if when == "while it runs":
            assert all(emit() for _ in range(50))
            assert emitter.flush(30) == 0
            rights.take(TOPIC, "usage.events", WRITE)
        before = emitter.stats.delivered
        for _ in range(50):
            emit()
        until(lambda: "grant this process's user" in caplog.text, 30)
        assert "usage.events: " in caplog.text
        if spooled:
            assert (emitter.stats.queued, emitter.stats.lost) == (50, 0)
        else:
            until(lambda: emitter.stats.dropped == {Drop.FAILED: 50}, 30)

        rights.give_back()
        until(lambda: emit() and emitter.flush(5) == 0 and emitter.stats.delivered > before, 60)
        assert emitter.flush(60) == 0
        stats = emitter.stats
    assert (stats.queued, stats.spooled) == (0, 0)
    headers = [dict(message.headers() or []) for message in rig.read("usage.events")]
    arrived = Counter(int(header["ce_id"] or b"") for header in headers)
    assert arrived.total() == len(arrived) == stats.delivered == emitted - stats.lost
    assert sum(int(header.get("ce_dropped") or b"0") for header in headers) == stats.lost
    assert (stats.lost == 0) == spooled
    assert caplog.text.count("which wait in the spool") == spooled
    assert "does not know its client" not in caplog.text

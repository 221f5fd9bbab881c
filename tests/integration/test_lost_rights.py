"""Rights that Kafka takes away: the log says which and what to do, `/healthz` too, nothing is
skipped, and once they are given back all goes on by itself and is exact."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin._acl import AclOperation
from confluent_kafka.admin._resource import ResourceType

from spendstream.deploy.partition_view import checked_count
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

"""ClickHouse has no room for an insert: the sink says so, waits, and nothing is missing after."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import MakeClickHouse
from tests.servers.clickhouse import ChdbClickHouse
from tests.servers.kafka import KafkaServer
from tests.support.records import calls_of_now
from tests.support.rig import Rig
from tests.support.waiting import until
from tests.support.watched import Watched

pytestmark = [pytest.mark.kafka, pytest.mark.clickhouse, pytest.mark.xdist_group("engine")]


@pytest.fixture
def rig(apache_broker: KafkaServer, tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(apache_broker.bootstrap_servers, tmp_path)
    yield rig
    rig.close()


def test_the_sink_waits_for_room(rig: Rig, clickhouse_server: MakeClickHouse) -> None:
    server = clickhouse_server()
    if not isinstance(server, ChdbClickHouse):
        pytest.skip("only a process of ours can be kept from writing files")
    client = server.client()
    client.command("CREATE DATABASE full")
    rig.worker()
    watched = Watched(rig, "sink", server.url, "full")

    def loaded() -> tuple[int, int]:
        rows = client.query("SELECT count(), uniqExact(partition, seq) FROM full.usage_raw")
        count, distinct = rows.result_rows[0]
        return count, distinct

    rig.send(calls_of_now(0, 300))
    watched.worker.wait_ready()
    until(lambda: loaded() == (300, 300), 60, lambda: watched.worker.log[-4000:])
    # The system lets the process write no file beyond so many bytes: a full disk would want a
    # mount, hence privileges. What fails is the file of an insert's rows, before the engine has
    # them. It could not be tested further in: chDB 26.9 does not notice when its own writes fail.
    _, most = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (1_000, most))
    rig.send(calls_of_now(300, 300))
    said = "free space on it; the sink goes on by itself"
    until(lambda: said in watched.worker.log, 60, lambda: watched.worker.log[-4000:])

    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (most, most))
    until(lambda: loaded() == (600, 600), 60, lambda: watched.worker.log[-4000:])
    until(lambda: watched.health()[0] == 200, 60, lambda: str(watched.health()))

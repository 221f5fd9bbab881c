"""ClickHouse has no room for an insert: the sink says so, waits, and nothing is missing after."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import shared
from tests.servers.clickhouse import ChdbClickHouse
from tests.servers.kafka import KafkaServer
from tests.support.records import calls_of_now
from tests.support.rig import Rig
from tests.support.small_disk import NoDiskError, SmallDisk, small_disk
from tests.support.waiting import until
from tests.support.watched import Watched

pytestmark = [pytest.mark.kafka, pytest.mark.clickhouse, pytest.mark.xdist_group("engine")]


@pytest.fixture
def rig(apache_broker: KafkaServer, tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(apache_broker.bootstrap_servers, tmp_path)
    yield rig
    rig.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    path = tmp_path / "disk"
    path.mkdir()
    try:
        with small_disk(path, 256 * 2**20) as disk:
            yield disk
    except NoDiskError as error:
        pytest.skip(str(error))


def test_the_sink_waits_for_room(rig: Rig, disk: SmallDisk) -> None:
    with ChdbClickHouse(disk.path / "clickhouse") as server:
        shared.note_used("clickhouse", server)
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
        disk.fill()
        rig.send(calls_of_now(300, 300))
        said = "Its disk is full: free space on it; the sink goes on by itself"
        until(lambda: said in watched.worker.log, 60, lambda: watched.worker.log[-4000:])
        disk.clear()
        until(lambda: loaded() == (600, 600), 60, lambda: watched.worker.log[-4000:])
        until(lambda: watched.health()[0] == 200, 60, lambda: str(watched.health()))
        client.close()

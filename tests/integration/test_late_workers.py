"""Late events through real workers and sinks: each id is counted once, whatever is killed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from spendstream.api.settled import wait_settled
from spendstream.schemas.topics import DAY_MS
from tests.servers.clickhouse import ClickHouseServer
from tests.servers.kafka import KafkaServer
from tests.support.records import Call
from tests.support.rig import Rig
from tests.support.waiting import until

pytestmark = [pytest.mark.kafka, pytest.mark.clickhouse, pytest.mark.xdist_group("loader")]


def calls(first: int, last: int, age_ms: int = 0) -> list[Call]:
    """Calls that ended so long ago; their ids do not depend on it."""
    now = time.time_ns() // 1_000_000
    return [Call(f"call-{n}", now - age_ms, f"ws-{n % 7}") for n in range(first, last + 1)]


def test_worker_and_sink_killed_and_each_id_is_counted_once(
    apache_broker: KafkaServer,
    clickhouse: ClickHouseServer,
    clickhouse_database: str,
    tmp_path: Path,
) -> None:
    rig = Rig(apache_broker.bootstrap_servers, tmp_path)
    client = clickhouse.client(clickhouse_database)
    try:
        worker = rig.worker().wait_ready()
        sink = rig.sink(clickhouse.url, clickhouse_database).wait_ready()
        rig.send(calls(1, 600))
        # a third was counted as fresh events; of all, two copies come at once
        rig.send([*calls(1, 1_800, 2 * DAY_MS), *calls(1, 1_800, 3 * DAY_MS)])
        until(lambda: resolved(rig) > 0, 60)
        sink.kill()
        sink = rig.sink(clickhouse.url, clickhouse_database)
        before = resolved(rig)
        until(lambda: resolved(rig) > before or not pending(rig), 60)
        worker.kill()
        worker = rig.worker()
        wait_settled(rig.bootstrap, client, 120)
        assert not pending(rig)
        rig.send(calls(1, 1_800, 4 * DAY_MS))
        wait_settled(rig.bootstrap, client, 120)
        assert not pending(rig)
        check_once(rig, 1_800)
        stored = client.query(
            "SELECT count(), uniqExact(event_id), countIf(topic = 'workspace.commands')"
            " FROM usage_raw"
        ).result_rows
        assert stored == [(1_800, 1_800, 1_200)]
        assert rig.rows("usage.dead") == []
        assert worker.running()
        assert sink.running()
    finally:
        client.close()
        rig.close()


def check_once(rig: Rig, ids: int) -> None:
    priced: Sequence[str] = [row["event_id"] for row in rig.rows("usage.priced")]
    assert sorted(priced) == sorted(f"call-{n}" for n in range(1, ids + 1))


def resolved(rig: Rig) -> int:
    return sum(int(c["late_resolved"]) for c in rig.checkpoints().values())


def pending(rig: Rig) -> int:
    found = rig.checkpoints().values()
    return sum(int(c["seq"]["usage.late"]) - int(c["late_resolved"]) for c in found)

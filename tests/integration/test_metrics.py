"""Worker and sink tell over HTTP what they have done, to the event, and whether they are well."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spendstream.schemas.reasons import Reason
from spendstream.schemas.topics import SEQUENCED
from tests.servers.clickhouse import ClickHouseServer
from tests.servers.kafka import KafkaServer
from tests.support.records import Call, Headers
from tests.support.rig import PARTITIONS, Rig
from tests.support.waiting import until
from tests.support.watched import Watched

pytestmark = [pytest.mark.kafka, pytest.mark.clickhouse, pytest.mark.xdist_group("engine")]


@pytest.fixture
def rig(apache_broker: KafkaServer, tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(apache_broker.bootstrap_servers, tmp_path)
    yield rig
    rig.close()


def test_figures_are_exact(
    rig: Rig, clickhouse: ClickHouseServer, clickhouse_database: str
) -> None:
    worker = Watched(rig, "worker", clickhouse.url, clickhouse_database)
    sink = Watched(rig, "sink", clickhouse.url, clickhouse_database)
    for process in (worker, sink):
        status, told = process.first_health()
        assert (status, told["healthy"]) == (503, False)
        assert told["reasons"]
    for process in (worker, sink):
        process.worker.wait_ready()
        until(lambda p=process: p.health()[0] == 200, 10, lambda p=process: str(p.health()))  # type: ignore[misc]
        assert process.health()[1] == {
            "healthy": True,
            "reasons": [],
            "assigned": PARTITIONS,
            "running": PARTITIONS,
        }

    now_ms = time.time_ns() // 1_000_000
    good = [Call(f"good-{i}", now_ms, f"ws-{i % 9}") for i in range(200)]
    strange = [Call(f"strange-{i}", now_ms, "ws-1", model="nobody-knows-it") for i in range(7)]
    old = [Call(f"old-{i}", now_ms - 40 * 86_400_000, "ws-2") for i in range(5)]
    late = [Call(f"late-{i}", now_ms - 2 * 86_400_000, "ws-3") for i in range(3)]
    broken: list[tuple[bytes, bytes, Headers]] = [
        (b"ws-4", b"{", Call(f"broken-{i}", now_ms).headers()) for i in range(11)
    ]
    rig.send([*good, *strange, *old, *late])
    rig.send_raw(broken)
    rig.wait_taken(226)
    rig.send(good[:50])
    rig.wait_taken(276)

    events, commands = "usage.events", "workspace.commands"
    expected = {
        ("worker_outcomes_total", "priced", events): 207,
        ("worker_outcomes_total", "duplicate", events): 50,
        ("worker_outcomes_total", "dead", events): 16,
        ("worker_outcomes_total", "late", events): 3,
        ("worker_outcomes_total", "priced", commands): 3,  # the late ones, which nobody knew
        ("worker_dead_total", "too_old"): 5,
        ("worker_dead_total", "invalid_json"): 11,
    }

    def worker_tells() -> dict[tuple[str, ...], float]:
        names = ("worker_outcomes_total", "worker_dead_total")
        return {key: n for key, n in worker.figures().items() if key[0] in names and n}

    until(lambda: worker_tells() == expected, 60, lambda: str(worker_tells()))
    rows = {"usage.priced": 210, "usage.dead": 16, "usage.late": 3}

    def sink_has() -> dict[str, float]:
        figures = sink.figures()
        return {topic: figures.get(("sink_rows_total", topic), 0) for topic in rows}

    until(lambda: sink_has() == rows, 60, lambda: str(sink_has()))
    figures = worker.figures()
    assert figures["worker_unpriced_total",] == 7
    assert {topic: figures["worker_rows_total", topic] for topic in rows} == rows
    assert figures["worker_recoveries_total",] == PARTITIONS
    assert figures["worker_fenced_total",] == 0
    assert figures["worker_partitions_assigned",] == PARTITIONS
    batches = figures["worker_batches_total",]
    assert batches == figures["worker_transaction_seconds_count",]
    assert figures["worker_batch_events_sum",] == figures["worker_events_total",] == 279
    for p in map(str, range(PARTITIONS)):
        assert 0 <= figures["worker_checkpoint_age_seconds", p] < 60

    def at_the_end() -> bool:
        told = {**worker.figures(), **sink.figures()}
        lags = [v for k, v in told.items() if k[0].endswith(("lag_events", "_behind_seconds"))]
        return len(lags) >= 2 * PARTITIONS and not any(lags)

    until(at_the_end, 30)
    sink_figures = sink.figures()
    # there before the first, which is then a rise
    assert {k[1] for k in sink_figures if k[0] == "sink_gaps_total"} == set(SEQUENCED)
    assert {k[1] for k in figures if k[0] == "worker_dead_total"} == set(Reason)
    assert not any(key[0].endswith("_created") for key in {**figures, **sink_figures})
    assert not any(
        value
        for key, value in sink_figures.items()
        if key[0] in ("sink_repeats_total", "sink_gaps_total", "sink_intents_replayed_total")
    )
    assert not any("ws-" in label for key in {**figures, **sink_figures} for label in key[1:])
    assert (worker.health()[0], sink.health()[0]) == (200, 200)


def test_a_halted_worker_is_not_well_and_says_why(
    rig: Rig, clickhouse: ClickHouseServer, clickhouse_database: str
) -> None:
    rig.send([Call(f"a-{i}", time.time_ns() // 1_000_000, f"ws-{i}") for i in range(60)])
    first = Watched(rig, "worker", clickhouse.url, clickhouse_database)
    rig.wait_settled()
    assert first.worker.stop() == 0
    rig.make_anew("usage.events")

    again = Watched(rig, "worker", clickhouse.url, clickhouse_database)

    def halted() -> list[str]:
        status, told = again.health()
        return [r for r in told.get("reasons", ()) if status == 503 and "must look" in r]

    until(lambda: len(halted()) == PARTITIONS, 60, lambda: str(again.health()))
    assert all("usage.events" in reason and "created again" in reason for reason in halted())
    figures = again.figures()
    assert figures["worker_partitions_assigned",] == PARTITIONS
    assert figures["worker_partitions",] == 0
    assert figures["worker_halted_total", "EpochChanged"] >= PARTITIONS

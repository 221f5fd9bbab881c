"""The short storm: worker, sink, broker and ClickHouse die in the middle of what they do; exact.

`make storm` is the long one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers import shared
from tests.servers.clickhouse import ChdbClickHouse
from tests.servers.kafka import KafkaServer
from tests.storm.rage import rage
from tests.storm.report import report
from tests.storm.traffic import Traffic

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.clickhouse,
    pytest.mark.storm,
    pytest.mark.timeout(600),
]

EVENTS = 40_000
KINDS = (
    "worker killed",
    "worker zombie",
    "prices set and all workers killed",
    "sink killed",
    "ClickHouse and sink killed",
    "ClickHouse errs after the insert",
    "connection cut after the insert",
    "aborted records show",
    "emitter killed",
)


def test_nothing_is_lost_or_doubled(
    kafka_server: Callable[[], KafkaServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APP_DATADIR", str(tmp_path / "faust"))
    broker = kafka_server()
    if broker.kind == "tansu":
        pytest.skip("the embedded broker has not all of Apache Kafka's transactions")
    with ChdbClickHouse() as clickhouse:
        shared.note_used("clickhouse", clickhouse)
        traffic = Traffic(20, EVENTS, late=30)
        outcome = rage(traffic, len(KINDS), tmp_path, broker, clickhouse, KINDS, patient=False)
    said = report(outcome)
    assert outcome.exact, said
    assert len(outcome.landed) >= 6, said
    assert outcome.differences.checked["priced rows"] >= EVENTS
    assert outcome.differences.checked["raw rows"] >= EVENTS
    assert outcome.differences.checked["price versions"] >= EVENTS
    assert outcome.differences.facts["price versions in rows"] in (2, 3), said

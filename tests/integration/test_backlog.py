"""A backlog of days with repeats in it, and workers killed on their way through it.

Arrivals are the records' own time stamps here, as if the broker had set them then: the topic keeps
its producer's.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from spendstream.schemas.topics import DAY_MS, HOUR_MS, USAGE_EVENTS
from tests.integration.test_crash import pause_in_transaction
from tests.integration.test_topics import alter
from tests.servers.kafka import KafkaServer
from tests.support.records import Call
from tests.support.rig import Rig

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("engine")]

EACH = 8_000


@pytest.fixture
def rig(apache_broker: KafkaServer, tmp_path: Path) -> Iterator[Rig]:
    made = Rig(apache_broker.bootstrap_servers, tmp_path)
    admin = AdminClient({"bootstrap.servers": made.bootstrap, "log_level": 3})
    alter(admin, USAGE_EVENTS, "message.timestamp.type", "CreateTime")
    yield made
    made.close()


def test_ids_are_remembered_by_the_time_of_the_backlog(rig: Rig) -> None:
    start = time.time_ns() // 1_000_000 - 4 * DAY_MS
    first = calls("first", start)
    later = calls("later", start + 40 * HOUR_MS)
    arrive(rig, first, 0)
    arrive(rig, first, 20 * HOUR_MS)  # repeats, which their ids tell
    arrive(rig, first, 30 * HOUR_MS)  # older than ids are remembered
    arrive(rig, later, 0)
    arrive(rig, later, 20 * HOUR_MS)
    for _ in range(2):  # the wall clock is days ahead of what is recovered
        worker = rig.worker()
        pause_in_transaction(rig, worker)
        worker.kill()
    worker = rig.worker()
    outcomes = rig.wait_settled(120)["usage.events"]
    assert outcomes == {
        "read": 5 * EACH, "priced": 2 * EACH, "duplicate": 2 * EACH, "late": EACH,
        "dead": 0, "forwarded": 0, "repeated": 0,
    }  # fmt: skip
    counted = sorted(row["event_id"] for row in rig.rows("usage.priced"))
    assert counted == sorted(call.id for call in [*first, *later])
    assert {row["event_id"] for row in rig.rows("usage.late")} == {call.id for call in first}


def calls(name: str, start: int) -> list[Call]:
    """Calls of an hour."""
    return [Call(f"{name}-{n}", start + n * HOUR_MS // EACH, f"ws-{n % 20}") for n in range(EACH)]


def arrive(rig: Rig, copies: Sequence[Call], later_ms: int) -> None:
    """So long after the calls' end."""
    producer = rig.producer()
    for call in copies:
        producer.produce(
            USAGE_EVENTS, call.value(), call.workspace_id.encode(), headers=list(call.headers()),
            timestamp=call.time_ms + later_ms,
        )  # fmt: skip
    assert producer.flush(60) == 0

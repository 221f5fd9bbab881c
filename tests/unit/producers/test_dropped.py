"""What was dropped is said by a later event that arrives, once."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from spendstream.producers import UsageEmitter, emitter
from spendstream.producers.cloudevent import headers
from spendstream.schemas import UsageEvent
from spendstream.streams.core.envelope import envelope
from tests.unit.producers.kafka_client import Broker

EVENT = UsageEvent(provider="openai", request_model="gpt-4o", workspace_id="ws-1")


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    broker = Broker(limit=3)
    monkeypatch.setattr(emitter, "Producer", broker.client)
    return broker


def reported(broker: Broker) -> list[int]:
    return [int(queued.headers.get("ce_dropped", b"0")) for queued in broker.arrived]


def test_the_next_event_says_how_many_were_dropped(broker: Broker) -> None:
    with UsageEmitter("nowhere:1") as usage:
        assert [usage.emit(EVENT) for _ in range(5)] == [True] * 3 + [False] * 2
        assert not usage.emit("no event")  # type: ignore[arg-type]
        broker.finish()
        usage.emit(EVENT)
        usage.emit(EVENT)
        broker.finish()
        assert reported(broker) == [0, 0, 0, 3, 0]
        assert usage._counters.unconfirmed == 0


def test_a_report_that_does_not_arrive_is_made_again(broker: Broker) -> None:
    with UsageEmitter("nowhere:1") as usage:
        for _ in range(4):
            usage.emit(EVENT)
        broker.finish()
        usage.emit(EVENT)
        broker.finish(KafkaError._MSG_TIMED_OUT)
        usage.emit(EVENT)
        usage.emit(EVENT)
        broker.finish()
        assert reported(broker) == [0, 0, 0, 2, 0]  # the full queue's, and that of the report


def test_an_event_that_is_refused_at_once_keeps_no_report(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with UsageEmitter("nowhere:1") as usage:
        for _ in range(6):
            usage.emit(EVENT)
        broker.finish()
        usage.emit(EVENT)
        broker.finish()
        assert reported(broker) == [0, 0, 0, 3]


def test_the_worker_reads_an_event_with_a_report() -> None:
    attributes = headers(b"id-1", b"svc", 1_795_341_600_123, dropped=2**40)
    assert attributes[-1] == ("ce_dropped", b"2147483647")
    encoded = [(k, v if isinstance(v, bytes) else None) for k, v in attributes]
    assert envelope(encoded, b"{}") == ("id-1", "svc", 1_795_341_600_123, b"{}")

"""One call by hand, as it arrives on Kafka."""

from __future__ import annotations

import json
import uuid
from decimal import Decimal

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from spendstream.producers import UsageEmitter, record, track, use
from spendstream.producers.extract import usage_from
from spendstream.schemas import Usage
from tests.servers.kafka import KafkaServer

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]


def test_recorded_calls_arrive_with_what_is_tracked(kafka: KafkaServer) -> None:
    topic = f"record-{uuid.uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result()
    with UsageEmitter(kafka.bootstrap_servers, topic=topic, source="test") as emitter:
        use(emitter)
        try:
            with track(workspace_id="ws", request_type="grading"):
                assert record(
                    provider="openai", model="gpt-4o", input_tokens=900, output_tokens=120,
                    cost=Decimal("0.0123"), id="one", user_id="u",
                )  # fmt: skip
                payload = {"id": "r", "usage": {"prompt_tokens": 1, "completion_tokens": 2,
                                                "total_tokens": 9}}  # fmt: skip
                assert record(provider="openai", model="m",
                              usage=usage_from(payload, provider="openai"))  # fmt: skip
                assert record(provider="openai", model="m")
        finally:
            use(None)
        assert emitter.flush(60) == 0
    reader = Consumer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "group.id": topic,
            "enable.auto.commit": False,
        }
    )
    reader.assign([TopicPartition(topic, 0, 0)])
    found: list[tuple[object, object]] = []
    while len(found) < 3:
        message = reader.poll(60)
        assert message is not None
        assert message.error() is None
        found.append((dict(message.headers() or [])["ce_id"], json.loads(message.value() or b"")))
    reader.close()
    asked = {"provider": "openai", "workspace_id": "ws", "request_type": "grading"}
    assert found[0] == (
        b"one",
        {
            **asked,
            "response_model": "gpt-4o",
            "usage": {"input_tokens": 900, "output_tokens": 120},
            "user_id": "u",
            "reported_cost_pico": "12300000000",
        },
    )
    assert found[1][1] == {
        **asked,
        "response_model": "m",
        "response_id": "r",
        "usage": {"input_tokens": 1, "output_tokens": 2},
        "usage_quality": "conflicting",
        "provider_usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 9},
    }
    assert found[2][1] == {**asked, "response_model": "m"}


def test_without_an_emitter_or_a_workspace_it_says_so(kafka: KafkaServer) -> None:
    with pytest.raises(RuntimeError, match="no emitter: call use"):
        record(provider="openai", model="m")
    with (
        UsageEmitter(kafka.bootstrap_servers, source="test") as emitter,
        pytest.raises(ValueError, match="workspace_id: say who is charged"),
    ):
        record(provider="openai", model="m", emitter=emitter)


def test_usage_that_is_said_twice_is_refused(kafka: KafkaServer) -> None:
    said = Usage(input_tokens=1, output_tokens=1)
    with (
        UsageEmitter(kafka.bootstrap_servers, source="test") as emitter,
        pytest.raises(ValueError, match="usage: say it, or the two totals"),
    ):
        record(provider="openai", model="m", input_tokens=5, usage=said, emitter=emitter)

"""The test servers themselves: what the other tests stand on."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from spendstream.deploy.embedded.broker import BrokerError, refuse_taken
from tests.servers.clickhouse import ClickHouseServer
from tests.servers.kafka import KafkaServer, TansuKafka


def create_topic(bootstrap_servers: str, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    for created in admin.create_topics([NewTopic(topic, 1)]).values():
        created.result(30)


def produce(bootstrap_servers: str, topic: str, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    producer.produce(topic, value)
    assert producer.flush(30) == 0


def consume(bootstrap_servers: str, topic: str, count: int) -> list[bytes | None]:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": uuid.uuid4().hex,
            "auto.offset.reset": "earliest",
            # Tansu holds a first join back for half of this; less than 6 s Apache refuses
            "session.timeout.ms": 6000,
            "log_level": 0,
        }
    )
    consumer.subscribe([topic])
    messages = consumer.consume(count, 30)
    consumer.close()
    return [message.value() for message in messages]


@pytest.mark.kafka
def test_shared_kafka_answers(kafka: KafkaServer) -> None:
    topic = f"shared-{uuid.uuid4().hex}"
    create_topic(kafka.bootstrap_servers, topic)
    produce(kafka.bootstrap_servers, topic, b"1")
    assert consume(kafka.bootstrap_servers, topic, 1) == [b"1"]


@pytest.mark.kafka
def test_own_kafka_keeps_its_log_through_kill(kafka_server: Callable[[], KafkaServer]) -> None:
    server = kafka_server()
    if server.kind == "tansu":
        pytest.skip("Tansu keeps nothing")
    address = server.bootstrap_servers
    create_topic(address, "kept")
    produce(address, "kept", b"before")
    server.kill()
    server.start()
    assert server.bootstrap_servers == address
    produce(address, "kept", b"after")
    assert consume(address, "kept", 2) == [b"before", b"after"]


@pytest.mark.clickhouse
def test_shared_clickhouse_answers(clickhouse: ClickHouseServer, clickhouse_database: str) -> None:
    client = clickhouse.client(clickhouse_database)
    client.command("CREATE TABLE t (a Int8) ENGINE = Memory")
    assert client.command("SELECT count() FROM t") == 0
    client.close()


def test_embedded_broker_starts_and_says_what_is_wrong() -> None:
    with TansuKafka() as broker:
        create_topic(broker.bootstrap_servers, "t")
        produce(broker.bootstrap_servers, "t", b"1")
        assert consume(broker.bootstrap_servers, "t", 1) == [b"1"]
        with pytest.raises(BrokerError, match=f"port {broker.port} cannot be used"):
            refuse_taken(broker.port)

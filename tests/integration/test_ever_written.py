"""Whether anything was ever written to a log, on a real broker: transactions leave markers, too."""

from __future__ import annotations

import time
import uuid

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from spendstream.streams.reading import LogReader, ever_written, watermarks
from tests.servers.kafka import KafkaServer

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]


def make(admin: AdminClient, topic: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            admin.create_topics([NewTopic(topic, 1, 1)])[topic].result()
            return
        except KafkaException:  # the old one is still being deleted
            assert time.monotonic() < deadline
            time.sleep(0.1)


def producer(kafka: KafkaServer, name: str) -> Producer:
    made = Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": name})
    made.init_transactions(60)
    return made


def test_the_end_of_an_older_transaction_is_no_record(kafka: KafkaServer) -> None:
    if kafka.kind == "tansu":
        pytest.skip("the embedded broker writes no markers")
    topic = f"written-{uuid.uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    reader = LogReader(kafka.bootstrap_servers)
    try:
        make(admin, topic)
        assert not ever_written(reader, topic, 0)
        dies = producer(kafka, topic)
        dies.begin_transaction()
        dies.produce(topic, b"x", partition=0)
        dies.flush(60)
        assert ever_written(reader, topic, 0)  # though it is never committed
        admin.delete_topics([topic])[topic].result()
        make(admin, topic)
        successor = producer(kafka, topic)  # ends the open transaction
        deadline = time.monotonic() + 60
        while watermarks(reader, topic, 0).high == 0:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert not ever_written(reader, topic, 0)
        successor.begin_transaction()
        successor.produce(topic, b"x", partition=0)
        successor.commit_transaction(60)
        assert ever_written(reader, topic, 0)
    finally:
        reader.close()
        admin.delete_topics([topic])

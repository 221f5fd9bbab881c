"""Topics as operators and retention leave them: deleted, made anew, emptied."""

from __future__ import annotations

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from spendstream.deploy import topics_admin
from spendstream.schemas.topics import BY_NAME
from tests.support.waiting import until


def remove(bootstrap: str, *names: str) -> None:
    """Delete topics and wait until they are gone."""
    admin = _admin(bootstrap)
    for future in admin.delete_topics(list(names)).values() if names else ():
        future.result()
    until(lambda: not set(names) & set(admin.list_topics(timeout=10).topics), 30)


def make_anew(bootstrap: str, partitions: int, *names: str) -> None:
    """Topics of ours, all where none is named: empty, and with another id than before."""
    there = set(_admin(bootstrap).list_topics(timeout=10).topics)
    # those that are named are there, even if they were made only now and do not show yet
    remove(bootstrap, *(names or there & set(BY_NAME)))
    topics_admin.create(bootstrap, partitions, 1)


def delete_records(bootstrap: str, topic: str, upto: int = -1) -> None:
    """What retention does, at once: all records of each partition, or those below an offset."""
    admin = _admin(bootstrap)
    partitions = admin.list_topics(topic, timeout=10).topics[topic].partitions
    ends = [TopicPartition(topic, partition, upto) for partition in partitions]
    for future in admin.delete_records(ends).values():
        future.result()


def _admin(bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap, "log_level": 3})

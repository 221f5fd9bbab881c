"""May the worker use the topics as it needs them? What is wrong is said with what to do about it.

Looked at before each recovery: a broker that makes topics by itself would make a missing one with
one partition and its own settings, and rows would go there; and where a right is missing, Kafka
says of a failed transaction neither which topic it is about nor which right.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclOperation
from confluent_kafka.admin._topic import TopicDescription

from spendstream.schemas.kafka_advice import with_advice
from spendstream.schemas.topics import TOPICS, Topic
from spendstream.streams.errors import Recoverable, TopicsWrong

_TIMEOUT_S: Final = 10.0
_US: Final = "streams"
_USED: Final = {topic.name: topic for topic in TOPICS if _US in topic.writers + topic.readers}


def check_topics(bootstrap_servers: str, partitions: int, *, rights: bool = True) -> None:
    """See that all topics are there, with as many partitions as `usage.events` had at the start,
    and that the worker's user may read and write them.

    Args:
        rights: look at them, too. Those of whoever only looks at partitions are not the worker's.

    Raises:
        TopicsWrong: all that is wrong, and what to do.
        Recoverable: no broker.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 3})
    # asked for in this way, no broker makes a topic that is missing
    asked = admin.describe_topics(
        TopicCollection(list(_USED)),
        include_authorized_operations=rights,
        request_timeout=_TIMEOUT_S,
    )
    wrong: list[str] = []
    for name, answer in asked.items():
        try:
            found = answer.result()
        except KafkaException as error:
            user = "the worker's user" if rights else "whoever calls this"
            wrong.append(_unseen(name, error.args[0], bootstrap_servers, user))
        else:
            wrong += _mismatches(_USED[name], found, partitions)
    if wrong:
        raise TopicsWrong("; ".join(wrong))


def _unseen(name: str, error: KafkaError, bootstrap_servers: str, user: str) -> str:
    if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
        return f"{name} is missing: `spendstream topics create`"
    if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
        return f"DESCRIBE on {name} is missing: grant it to {user}"
    said = with_advice(error.name(), error.str())
    raise Recoverable(f"{bootstrap_servers} does not describe {name}: {said}")


def _mismatches(topic: Topic, found: TopicDescription, partitions: int) -> Iterator[str]:
    expected = topic.partitions or partitions
    if len(found.partitions) != expected:
        yield (
            f"{topic.name} has {len(found.partitions)} partitions instead of {expected}: if it was"
            " made by mistake, delete it and make it anew by `spendstream topics create`;"
            " partitions that were added cannot be taken away"
        )
    granted = found.authorized_operations
    if granted is None:
        return  # they were not asked for, or the embedded broker knows none
    for right, needed in (
        (AclOperation.READ, _US in topic.readers),
        (AclOperation.WRITE, _US in topic.writers),
    ):
        if needed and right not in granted:
            yield f"{right.name} on {topic.name} is missing: grant it to the worker's user"

"""Create and check the topics of `schemas.topics` on a broker.

Partitions are fixed at creation: adding some later would send a workspace's events to another
partition than its state, so a different count is always a mismatch, never repaired here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.cimpl import NewTopic

from spendstream.schemas.topics import BY_NAME, DEFAULT_PARTITIONS, TOPICS

TIMEOUT_S: Final = 15.0


class TopicsError(RuntimeError):
    """The broker cannot be reached, or refuses; in plain words, all at once."""


@dataclass(frozen=True, slots=True)
class TopicFound:
    """A topic as the broker has it; `partitions` 0: it is missing."""

    name: str
    partitions: int
    replication: int
    config: dict[str, str]


def create(
    bootstrap_servers: str, partitions: int = DEFAULT_PARTITIONS, replication: int = 1
) -> list[str]:
    """Create what is missing; the names of what was created. Raises TopicsError.

    Topics that exist are left as they are: `check` says what is wrong with them.
    """
    admin = _admin(bootstrap_servers)
    existing = _list(admin, bootstrap_servers)
    wanted = [
        NewTopic(
            topic.name,
            num_partitions=topic.partitions or partitions,
            replication_factor=replication,
            config=topic.config(),
        )
        for topic in TOPICS
        if topic.name not in existing
    ]
    if not wanted:
        return []
    created: list[str] = []
    errors: list[str] = []
    for name, future in admin.create_topics(wanted, operation_timeout=TIMEOUT_S).items():
        try:
            future.result(TIMEOUT_S)
            created.append(name)
        except KafkaException as error:
            # another `topics create` at the same time is no mistake
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                errors.append(f"{name}: {error.args[0].str()}")
    if errors:
        raise TopicsError("topics could not be created:\n" + "\n".join(errors))
    return created


def describe(bootstrap_servers: str) -> list[TopicFound]:
    """Our topics as the broker has them, in the table's order. Raises TopicsError."""
    admin = _admin(bootstrap_servers)
    existing = _list(admin, bootstrap_servers)
    configs = _configs(admin, [name for name in BY_NAME if name in existing])
    return [
        TopicFound(topic.name, *existing.get(topic.name, (0, 0)), configs.get(topic.name, {}))
        for topic in TOPICS
    ]


def check(bootstrap_servers: str, partitions: int | None = None) -> list[str]:
    """Every mismatch with the table, one sentence each; empty where all is right.

    Args:
        partitions: the common count that is expected; None takes that of `usage.events`.

    Raises:
        TopicsError: the broker cannot be reached.
    """
    found = describe(bootstrap_servers)
    common = partitions or next((f.partitions for f in found if f.name == TOPICS[0].name), 0)
    mismatches: list[str] = []
    for topic, is_there in zip(TOPICS, found, strict=True):
        if not is_there.partitions:
            mismatches.append(f"{topic.name} is missing: `spendstream topics create`")
            continue
        expected = topic.partitions or common
        if common and is_there.partitions != expected:
            mismatches.append(
                f"{topic.name} has {is_there.partitions} partitions instead of {expected}: "
                "partitions are fixed at creation, and equal numbers belong together"
            )
        mismatches += [
            f"{topic.name}: {setting} is {is_there.config[setting]}, should be {value}"
            for setting, value in topic.config().items()
            if is_there.config.get(setting, value) != value
        ]
    return mismatches


def _admin(bootstrap_servers: str) -> AdminClient:
    # the log of a client that is told to reach a dead broker says less than our own sentence
    return AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})


def _list(admin: AdminClient, bootstrap_servers: str) -> dict[str, tuple[int, int]]:
    """Partitions and replication factor by name of topic."""
    try:
        topics = admin.list_topics(timeout=TIMEOUT_S).topics
    except KafkaException as error:
        raise TopicsError(
            f"no Kafka broker answers at {bootstrap_servers}: {error.args[0].str()}"
        ) from None
    return {
        name: (len(topic.partitions), len(next(iter(topic.partitions.values())).replicas))
        for name, topic in topics.items()
        if topic.partitions
    }


def _configs(admin: AdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in names]
    found: dict[str, dict[str, str]] = {}
    for resource, future in admin.describe_configs(resources, request_timeout=TIMEOUT_S).items():
        try:
            entries = future.result(TIMEOUT_S)
        except KafkaException as error:
            raise TopicsError(f"{resource.name}: {error.args[0].str()}") from None
        found[resource.name] = {
            name: str(entry.value) for name, entry in entries.items() if entry.value is not None
        }
    return found

"""What an offset means: which topic it belongs to, and whether that still has it.

Epochs are topics' ids: a recreated topic has another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from confluent_kafka import KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from spendstream.sinks.clickhouse.config import LoaderConfig
from spendstream.sinks.clickhouse.errors import ConfigError, Retry

_TIMEOUT_S = 10.0
_NO_ID = "AAAAAAAAAAAAAAAAAAAAAA"
"""The zero UUID: what a broker without topic ids answers."""


def epochs(config: LoaderConfig, topics: Sequence[str]) -> dict[str, str]:
    """The epoch of each topic: its id, else the configuration's `start_id`.

    Raises:
        Retry: the broker does not answer, or a topic does not exist (yet).
        ConfigError: the broker has no topic ids, and no start id is configured.
    """
    admin = AdminClient(config.client_settings())
    found = {}
    for topic, future in admin.describe_topics(
        TopicCollection(list(topics)), request_timeout=_TIMEOUT_S
    ).items():
        try:
            topic_id = str(future.result().topic_id)
        except KafkaException as error:
            raise Retry(f"cannot describe {topic}: {error.args[0]}") from None
        if topic_id in ("", "None", _NO_ID):
            topic_id = config.start_id
        if not topic_id:
            raise ConfigError("this broker has no topic ids: start_id is required")
        found[topic] = topic_id
    return found


class Bounds(NamedTuple):
    """The first offset that a log still has, and the next to be written."""

    begin: int
    end: int


def bounds(config: LoaderConfig, topics: Sequence[str], partition: int) -> dict[str, Bounds]:
    """Of each topic. Raises Retry."""
    admin = AdminClient(config.client_settings())
    places = [TopicPartition(topic, partition) for topic in topics]
    found = []
    try:
        for spec in (OffsetSpec.earliest(), OffsetSpec.latest()):  # type: ignore[no-untyped-call]
            asked = admin.list_offsets(dict.fromkeys(places, spec), request_timeout=_TIMEOUT_S)
            found.append({place.topic: int(asked[place].result().offset) for place in places})
    except KafkaException as error:
        raise Retry(f"cannot tell where topics begin and end: {error.args[0]}") from None
    begins, ends = found
    return {topic: Bounds(begins[topic], ends[topic]) for topic in topics}

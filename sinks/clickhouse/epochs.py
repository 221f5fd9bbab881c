"""What an offset means: which topic it belongs to, and whether that still has it.

Epochs are topics' ids: a recreated topic has another one.
"""

from __future__ import annotations

from collections.abc import Sequence

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


def beginnings(config: LoaderConfig, topics: Sequence[str], partition: int) -> dict[str, int]:
    """The first offset that each topic still has. Raises Retry."""
    admin = AdminClient(config.client_settings())
    earliest = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
    asked = {TopicPartition(topic, partition): earliest for topic in topics}
    try:
        return {
            place.topic: int(future.result().offset)
            for place, future in admin.list_offsets(asked, request_timeout=_TIMEOUT_S).items()
        }
    except KafkaException as error:
        raise Retry(f"cannot tell where topics begin: {error.args[0]}") from None

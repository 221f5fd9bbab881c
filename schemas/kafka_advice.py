"""What an operator can do where Kafka refuses: a sentence for each error that only they can mend.

By librdkafka's names of Kafka's protocol errors, and its own. Worker and sink add it to what they
say of those, so that no log ends with a code. (Of aiokafka's, which are others, `streams.refusals`
speaks.)
"""

from __future__ import annotations

from typing import Final

_MISSING: Final = (
    "the topic or a partition of it is missing: `spendstream topics check` says which"
    " and `spendstream topics create` makes it"
)
_ADVICE: Final = {
    "MSG_SIZE_TOO_LARGE": "the topic's max.message.bytes is too small: `spendstream topics check`"
    " says which it should be",
    "TOPIC_AUTHORIZATION_FAILED": "a right on a topic is missing: grant this process's user what it"
    " reads and writes (READ, WRITE, and DESCRIBE with either)",
    "GROUP_AUTHORIZATION_FAILED": "grant this process's user READ on the consumer group",
    "TRANSACTIONAL_ID_AUTHORIZATION_FAILED": "grant this process's user WRITE on the transactional"
    " id, or on all that begin with the group's name",
    "CLUSTER_AUTHORIZATION_FAILED": "grant this process's user WRITE on the topics that it writes"
    " to; before Kafka 2.8 also IDEMPOTENT_WRITE on the cluster",
    "UNKNOWN_TOPIC_OR_PART": _MISSING,
    "_UNKNOWN_PARTITION": _MISSING,  # librdkafka's own word, of a topic that it cannot see
    "KAFKA_STORAGE_ERROR": "a disk of the broker is full or broken: its own log says which",
    "NOT_ENOUGH_REPLICAS": "too few replicas of the topic are in sync: brokers are down or full",
}


def with_advice(name: str, said: str) -> str:
    """What Kafka said, and what to do about the error of that name where an operator must."""
    advice = _ADVICE.get(name)
    return f"{said} ({name}): {advice}" if advice else f"{said} ({name})"

"""What Kafka's client says became of an event, as far as it matters what to do next."""

from __future__ import annotations

from typing import Final

from confluent_kafka import KafkaError, KafkaException

# the broker lost its log: Kafka's client then refuses to go on, since it cannot tell what arrived
FORGOTTEN: Final = frozenset(
    {
        KafkaError._FATAL,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
        KafkaError.UNKNOWN_PRODUCER_ID,
    }
)
# nothing that this user has may be written, so that the next client would be refused as well
DENIED: Final = frozenset({KafkaError.CLUSTER_AUTHORIZATION_FAILED})
PURGED: Final = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT})
# the event's own fault: sending it again would end the same way
HOPELESS: Final = frozenset(
    {
        KafkaError.INVALID_MSG,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.INVALID_RECORD,
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError._BAD_MSG,
        KafkaError._INVALID_ARG,
    }
)


def code(error: KafkaException) -> int:
    return int(error.args[0].code())

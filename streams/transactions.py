"""A partition's transactional producer: a batch is one transaction, or a named error.

`transactional.id` is made of group and partition, so whoever is assigned the partition fences
whoever had it before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from spendstream.schemas.kafka_advice import with_advice
from spendstream.streams.core.outputs import Row
from spendstream.streams.errors import Fenced, PartitionError, Recoverable

TRANSACTION_TIMEOUT_MS: Final = 10_000
_INIT_TIMEOUT_S: Final = 30.0
_COMMIT_TIMEOUT_S: Final = 15.0

_FENCED: Final = {
    KafkaError._FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_ID_MAPPING,
}
_AFTERMATH: Final = {KafkaError._STATE, KafkaError._FATAL}


class PartitionProducer:
    """Produces one partition's batches. All methods raise PartitionError and nothing else."""

    def __init__(self, bootstrap_servers: str, group: str, partition: int) -> None:
        self._partition = partition
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "transactional.id": f"{group}-{partition}",
                "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
                "message.timeout.ms": TRANSACTION_TIMEOUT_MS,
                "partitioner": "murmur2_random",
                "compression.type": "lz4",
                "linger.ms": 5,
                "batch.size": 1_000_000,
                "message.max.bytes": 4 * 1_048_576,
                "queue.buffering.max.messages": 1_000_000,
                "queue.buffering.max.kbytes": 1_048_576,
                "log_level": 3,
            }
        )
        try:
            self._producer.init_transactions(_INIT_TIMEOUT_S)
        except KafkaException as error:
            raise _named(error) from error

    def begin(self) -> None:
        try:
            self._producer.begin_transaction()
        except KafkaException as error:
            raise _named(error) from error

    def send(self, topic: str, rows: Iterable[Row]) -> None:
        """Queue rows for this partition of a topic."""
        produce = self._producer.produce
        partition = self._partition
        try:
            for key, value in rows:
                produce(topic, value, key, partition)
        except (KafkaException, BufferError) as error:
            raise self._why(error) from error

    def send_to(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes,
        on_offset: Callable[[int], None] | None = None,
    ) -> None:
        """Queue one record for any partition; `on_offset` is told where it went, before commit."""

        def delivered(error: KafkaError | None, message: Message) -> None:
            offset = message.offset()
            if error is None and on_offset is not None and offset is not None:
                on_offset(offset)

        try:
            self._producer.produce(topic, value, key, partition, on_delivery=delivered)
        except (KafkaException, BufferError) as error:
            raise self._why(error) from error

    def commit(self) -> None:
        """Commit the open transaction; after an error nothing of it may be believed."""
        try:
            self._producer.commit_transaction(_COMMIT_TIMEOUT_S)
        except KafkaException as error:
            raise _named(error) from error

    def close(self) -> None:
        """Abort what is open, as far as the broker lets us, and forget what is queued."""
        self._producer.purge()
        # nothing open, fenced, or no broker: then the next owner's initialisation aborts it
        with suppress(KafkaException):
            self._producer.abort_transaction(2.0)

    def _why(self, error: KafkaException | BufferError) -> PartitionError:
        """Why nothing can be queued: once a transaction has failed, `produce` only says that it
        cannot, and `commit_transaction`, which cannot succeed any more, what has happened: a
        message that was refused, a right that is missing, or that this producer is fenced."""
        cause = error.args[0] if error.args else None
        if isinstance(cause, KafkaError) and cause.code() in _AFTERMATH:
            try:
                self._producer.commit_transaction(_COMMIT_TIMEOUT_S)
            except KafkaException as told:
                return _named(told)
        return _named(error)


def _named(error: KafkaException | BufferError) -> PartitionError:
    cause = error.args[0] if error.args else None
    if not isinstance(cause, KafkaError):
        return Recoverable(str(error))
    said = with_advice(cause.name(), cause.str())
    return Fenced(said) if cause.code() in _FENCED else Recoverable(said)

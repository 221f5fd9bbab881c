"""`sink.positions`: where the intents of one partition number are kept.

One transactional producer for each partition number, whatever topics it serves. Opening it fences
whoever wrote there before: a zombie's next intent fails, and without an intent it inserts nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from spendstream.schemas.kafka_advice import with_advice
from spendstream.schemas.topics import SINK_POSITIONS
from spendstream.sinks.clickhouse import intents
from spendstream.sinks.clickhouse.config import LoaderConfig
from spendstream.sinks.clickhouse.errors import Lost, Retry, Unfinished
from spendstream.sinks.clickhouse.intents import Intent

TRANSACTION_TIMEOUT_S: Final = 10
_COMMIT_ATTEMPTS: Final = 3
_FENCED: Final = (
    KafkaError._FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_ID_MAPPING,
)


class Positions:
    """The intents of one partition number. Used by one thread at a time."""

    def __init__(self, config: LoaderConfig, partition: int) -> None:
        self._config = config
        self._partition = partition
        self._producer: Producer | None = None

    def open(self) -> dict[str, Intent]:
        """Fence earlier writers and return the last intent of each topic.

        Raises Retry; calling again is then right.
        """
        milliseconds = TRANSACTION_TIMEOUT_S * 1000
        producer = Producer(
            {
                **self._config.client_settings(),
                "transactional.id": f"sink-{self._config.group}-{self._partition}",
                "transaction.timeout.ms": milliseconds,
                "message.timeout.ms": milliseconds,
                "linger.ms": 0,
            }
        )
        try:
            producer.init_transactions(TRANSACTION_TIMEOUT_S)
        except KafkaException as error:
            raise Retry(f"cannot take over {self}: {_told(error)}") from None
        self._producer = producer
        return self.read()

    def write(self, entries: Mapping[str, Intent]) -> None:
        """Commit the entries, by topic, in one transaction.

        Raises:
            Lost: another process has taken the partition over.
            Retry: nothing was committed, or it is not known; writing the same again is right.
        """
        assert self._producer is not None, "open first"
        try:
            self._producer.begin_transaction()
            for topic, intent in entries.items():
                self._producer.produce(
                    SINK_POSITIONS,
                    intents.encode(intent),
                    topic.encode(),
                    partition=self._partition,
                )
            self._commit(self._producer)
        except KafkaException as error:
            self._give_up(self._producer, error)

    def _commit(self, producer: Producer) -> None:
        for attempt in range(1, _COMMIT_ATTEMPTS + 1):
            try:
                producer.commit_transaction(TRANSACTION_TIMEOUT_S)
                return
            except KafkaException as error:
                if not error.args[0].retriable() or attempt == _COMMIT_ATTEMPTS:
                    raise

    def _give_up(self, producer: Producer, error: KafkaException) -> None:
        """Leave the transaction so that another can begin, or say that none can."""
        if error.args[0].code() in _FENCED:
            raise Lost(f"another process has taken {self} over: {_told(error)}")
        failed = f"cannot write to {self}: {_told(error)}"
        if error.args[0].fatal():
            raise Lost(failed)
        try:
            producer.abort_transaction(TRANSACTION_TIMEOUT_S)
        except KafkaException as broken:
            # neither committed nor aborted: only a new assignment may open a new producer
            raise Lost(f"{failed}; nor can the transaction be ended: {_told(broken)}") from None
        raise Retry(failed)

    def read(self) -> dict[str, Intent]:
        """The last intent of each topic; fences nobody. Raises Retry, Unfinished among them.

        The read must come to the high watermark: the end that a committed reader sees can lie
        before it, where somebody's transaction still hangs and may hide newer intents.
        """
        found: dict[str, Intent] = {}
        with committed(self._config, str(self)) as consumer:
            high = self._log_end()
            consumer.assign([TopicPartition(SINK_POSITIONS, self._partition, OFFSET_BEGINNING)])
            while True:
                messages = consumer.consume(1000, timeout=0.05)
                for message in messages:
                    offset, error = message.offset(), message.error()
                    if error is None:
                        key, value = message.key(), message.value()
                        assert key is not None  # only `write` writes here
                        assert value is not None
                        found[key.decode()] = intents.decode(value)
                    elif error.code() != KafkaError._PARTITION_EOF:
                        raise Retry(f"cannot read {self}: {error}")
                    elif offset is not None and offset >= high:
                        return found
                    else:
                        raise Unfinished(
                            f"{self}: committed records end at {offset}, the log at {high}:"
                            " somebody's transaction is open"
                        )

    def _log_end(self) -> int:
        """The high watermark, which a consumer of committed records does not tell: to it the first
        open transaction is the end (librdkafka 2.16)."""
        where = TopicPartition(SINK_POSITIONS, self._partition)
        admin = AdminClient(self._config.client_settings())  # once it is gone, nobody answers
        ends = admin.list_offsets(
            {where: OffsetSpec.latest()},  # type: ignore[no-untyped-call]
            isolation_level=IsolationLevel.READ_UNCOMMITTED,
            request_timeout=TRANSACTION_TIMEOUT_S,
        )
        return int(ends[where].result().offset)

    def __str__(self) -> str:
        return f"{SINK_POSITIONS}[{self._partition}]"


@contextmanager
def committed(config: LoaderConfig, what: str) -> Iterator[Consumer]:
    """A reader of committed records, for `assign`. Raises Retry, which says of `what`."""
    consumer = Consumer(
        {
            **config.client_settings(),
            "group.id": f"{config.group}-positions",  # librdkafka wants one; not joined
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "fetch.wait.max.ms": 50,
        }
    )
    try:
        yield consumer
    except KafkaException as error:
        raise Retry(f"cannot read {what}: {error.args[0]}") from None
    finally:
        consumer.close()


def _told(error: KafkaException) -> str:
    return with_advice(error.args[0].name(), error.args[0].str())

"""Commands on their way into `workspace.commands`: in order, without a gap, acknowledged.

The producer is idempotent, so that the broker takes no record of a partition before the one that
was sent before it; and where one cannot be delivered, those behind it are not delivered either.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from spendstream.schemas.kafka_advice import with_advice
from spendstream.schemas.topics import LARGE_MESSAGE_BYTES, WORKSPACE_COMMANDS
from spendstream.sinks.clickhouse.config import LoaderConfig

DELIVERY_SECONDS: Final = 15.0


class Undelivered(Exception):
    """Not all was acknowledged, or it is not known: send it again."""


class Outbox:
    """Used by one thread."""

    def __init__(self, config: LoaderConfig) -> None:
        self._settings = {
            "linger.ms": 5,
            "compression.type": "lz4",
            **config.client_settings(),
            "enable.idempotence": True,
            # One that is refused ends the producer, and none is given up for its age before those
            # behind it: `send` gives up all of them, or the worker would see a gap.
            "enable.gapless.guarantee": True,
            "message.timeout.ms": 0,
            "message.max.bytes": LARGE_MESSAGE_BYTES,
            "log_level": 3,  # it warns at every start that the guarantee is a young one
        }
        self._producer: Producer | None = None

    def send(self, partition: int, records: Sequence[tuple[bytes, bytes]]) -> None:
        """Deliver the records, (key, value), to the partition; returns once all are acknowledged.

        Raises Undelivered. Some of them may have been delivered then, the first ones.
        """
        failed: list[KafkaError] = []

        def delivered(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                failed.append(error)

        try:
            if self._producer is None:
                self._producer = Producer(self._settings)
            for key, value in records:
                self._producer.produce(
                    WORKSPACE_COMMANDS, value, key, partition, on_delivery=delivered
                )
            left = self._producer.flush(DELIVERY_SECONDS)
        except (KafkaException, BufferError) as error:
            self.close()
            raise Undelivered(f"{WORKSPACE_COMMANDS}[{partition}]: {error}") from None
        if failed or left:
            self.close()
            why = "the broker does not answer"
            if failed:
                why = with_advice(failed[0].name(), failed[0].str())
            raise Undelivered(f"{WORKSPACE_COMMANDS}[{partition}]: {why}")

    def close(self) -> None:
        """Give up what is not delivered. A new producer takes its place at the next `send`."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()

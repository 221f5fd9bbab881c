"""Record batches whose headers' names are any bytes.

Kafka's own clients write them, and those of Python do not: confluent-kafka writes `str(name)` and
ends the process at a string that is not UTF-8. So aiokafka's builder is handed strings that are
written as the bytes that they were made of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from tests.support.records import Headers

MAX_BATCH_BYTES = 1 << 20


def are_text(headers: Headers) -> bool:
    """Whether all names are UTF-8."""
    return not any("\udc80" <= c <= "\udcff" for name, _ in headers for c in name)


def in_bytes(headers: Headers) -> list[tuple[bytes, bytes | None]]:
    """Headers as they lie in a record."""
    return [(name.encode(errors="surrogateescape"), value) for name, value in headers]


class _Name(str):
    def encode(self, *_: Any) -> bytes:
        return super().encode(errors="surrogateescape")


class Builder(_DefaultRecordBatchBuilderPy):  # type: ignore[misc]
    """Builds a record batch; offsets are relative to the batch's."""

    def __init__(self, codec: int = 0, producer: int = -1) -> None:
        super().__init__(2, codec, int(producer >= 0), producer, 0, 0, MAX_BATCH_BYTES)

    def append(
        self,
        offset: int,
        timestamp: int | None,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
    ) -> Any:
        named = [(_Name(name), data) for name, data in headers]
        metadata = super().append(offset, timestamp, key, value, named)
        assert metadata is not None, "the batch is full"
        return metadata


def send_in_one_batch(
    bootstrap: str,
    partition: int,
    records: Sequence[tuple[bytes | None, bytes | None, Headers]],
) -> None:
    """To `usage.events`, in one record batch."""
    asyncio.run(_send(bootstrap, partition, records))


async def _send(
    bootstrap: str,
    partition: int,
    records: Iterable[tuple[bytes | None, bytes | None, Headers]],
) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        batch = producer.create_batch()
        batch._builder = Builder()
        for key, value, headers in records:
            batch.append(timestamp=None, key=key, value=value, headers=list(headers))
        delivered = await producer.send_batch(batch, "usage.events", partition=partition)
        await asyncio.wait_for(delivered, 30)

"""What the core reads of a Kafka record."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from spendstream.streams.core.envelope import Headers


class InputRecord(Protocol):
    """aiokafka's record has this shape. `timestamp` in milliseconds is the record's arrival."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Headers: ...


class Origin(NamedTuple):
    """The record that an event first came in by, put together again."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


def arrived(record: InputRecord, at_ms: int) -> Origin:
    """The record with another arrival."""
    return Origin(
        record.topic,
        record.partition,
        record.offset,
        at_ms,
        record.key,
        record.value,
        record.headers,
    )

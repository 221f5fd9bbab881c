"""What reading to an end waits for: as little as there is to wait for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError

from spendstream.streams import reading
from spendstream.streams.errors import HangingTransaction
from spendstream.streams.reading import LogReader, Watermarks, read_to_end


class Record:
    def __init__(self, offset: int, error: KafkaError | None = None) -> None:
        self._offset, self._error = offset, error

    def offset(self) -> int:
        return self._offset

    def error(self) -> KafkaError | None:
        return self._error


class Committed:
    """As librdkafka's: whoever asks for more than is there waits until the timeout has passed."""

    def __init__(self, count: int) -> None:
        end = Record(count, KafkaError(KafkaError._PARTITION_EOF))
        self._left = [*map(Record, range(count)), end]
        self.waited_s = 0.0
        self.calls = 0

    def assign(self, partitions: Sequence[object]) -> None:
        pass

    def unassign(self) -> None:
        pass

    def consume(self, num_messages: int, timeout: float) -> list[Record]:
        self.calls += 1
        found, self._left = self._left[:num_messages], self._left[num_messages:]
        if len(found) < num_messages:
            self.waited_s += timeout
        return found


class Reader:
    def __init__(self, count: int) -> None:
        self.committed = Committed(count)


@pytest.mark.parametrize("count", [1, 3, 30_000])
def test_nothing_is_waited_for_once_the_end_is_there(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(reading, "watermarks", lambda *_: Watermarks(0, count))
    reader = Reader(count)
    read = list(cast(Any, read_to_end(cast(LogReader, reader), "t", 0, 0)))
    assert [record.offset() for record in read] == list(range(count))
    assert reader.committed.waited_s == 0
    assert reader.committed.calls <= 2 + count // 1_000


def test_an_end_that_a_transaction_hides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "watermarks", lambda *_: Watermarks(0, 5))
    with pytest.raises(HangingTransaction):
        list(read_to_end(cast(LogReader, Reader(3)), "t", 0, 0))

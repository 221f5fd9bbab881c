"""A Kafka client of the tests' own: a bounded queue whose events arrive, expire or are refused as
the test says."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from confluent_kafka import KafkaError


class Report(NamedTuple):
    """As much of a delivery report as the emitter looks at."""

    content: bytes
    of: bytes

    def value(self) -> bytes:
        return self.content

    def key(self) -> bytes:
        return self.of


class Queued(NamedTuple):
    id: str
    headers: dict[str, bytes]
    report: Report
    on_delivery: Callable[[KafkaError | None, Any], None]


class Broker:
    """What its clients sent. Callbacks come in the thread of whoever lets events arrive."""

    def __init__(self, limit: int = 100_000) -> None:
        self.limit = limit
        self.away = True
        self.arrived: list[Queued] = []
        self.queue: deque[Queued] = deque()
        self._lock = threading.Lock()

    def client(self, _: dict[str, Any]) -> Client:
        return Client(self)

    def finish(self, error: int | None = None, count: int = 1_000_000) -> int:
        """Events arrive, or fail. Returns how many that were."""
        done = 0
        while done < count:
            with self._lock:
                if not self.queue:
                    break
                queued = self.queue.popleft()
                if error is None:
                    self.arrived.append(queued)
            queued.on_delivery(None if error is None else KafkaError(error), queued.report)
            done += 1
        return done

    def ids(self) -> list[str]:
        return [queued.id for queued in self.arrived]


class Client:
    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def produce(
        self, topic: str, value: bytes, key: bytes, *, headers: Any, on_delivery: Any
    ) -> None:
        if len(self._broker.queue) >= self._broker.limit:
            raise BufferError
        attributes = dict(headers)
        self._broker.queue.append(
            Queued(attributes["ce_id"].decode(), attributes, Report(value, key), on_delivery)
        )

    def poll(self, timeout: float) -> int:
        threading.Event().wait(0.01)
        return 0 if self._broker.away else self._broker.finish()

    def flush(self, timeout: float) -> int:
        if not self._broker.away:
            self._broker.finish()
        return len(self._broker.queue)

    def purge(self) -> None:
        self._broker.finish(KafkaError._PURGE_QUEUE)

    def __len__(self) -> int:
        return len(self._broker.queue)

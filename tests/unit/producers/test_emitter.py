"""The emitter over a Kafka client of the test's own: which thread does what."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from spendstream.producers import Drop, UsageEmitter, emitter
from spendstream.producers.outgoing import Outgoing
from spendstream.schemas import UsageEvent
from tests.support.waiting import until
from tests.unit.producers.kafka_client import Report

REPORT: Any = Report(b"{}", b"ws-1")
EVENT = UsageEvent(provider="openai", request_model="gpt-4o", workspace_id="ws-1")


class Client:
    """Like confluent-kafka's: a fatal error is raised by each `produce`, and by one `poll`."""

    made: list[Client]

    def __init__(self, _: dict[str, Any]) -> None:
        self.made_by = threading.get_ident()
        self.purged_by: int | None = None
        self.fatal = threading.Event()
        self.told = False
        self.taken: list[bytes] = []
        self.reports: list[Callable[[], None]] = []
        self.made.append(self)

    def produce(
        self, topic: str, value: bytes, key: bytes, *, headers: Any, on_delivery: Any
    ) -> None:
        if self.fatal.is_set():
            raise KafkaException(KafkaError(KafkaError._FATAL))
        self.taken.append(value)

    def poll(self, timeout: float) -> int:
        if self.fatal.wait(0.01) and not self.told:
            self.told = True
            raise KafkaException(KafkaError(KafkaError._FATAL))
        return 0

    def flush(self, timeout: float) -> int:
        return 0

    def purge(self) -> None:
        self.purged_by = threading.get_ident()

    def __len__(self) -> int:
        return 0


class Unspeakable(Exception):
    """Its message cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Client]]:
    Client.made = []
    monkeypatch.setattr(emitter, "Producer", Client)
    yield Client.made
    for client in Client.made:
        client.fatal.clear()


def test_a_client_that_cannot_go_on_is_replaced_by_another_thread(
    clients: list[Client], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "spendstream.producers")
    with UsageEmitter("nowhere:1") as usage:
        clients[0].fatal.set()
        assert usage.emit(EVENT)
        until(lambda: len(clients) == 2 and len(clients[1].taken) == 1, 5)
        until(lambda: clients[0].purged_by is not None, 5)
        here = threading.get_ident()
        assert here not in (clients[1].made_by, clients[0].purged_by)
        assert "MainThread" not in {record.threadName for record in caplog.records}
        assert usage.stats.lost == 0


def test_a_slow_log_handler_holds_up_nobody(clients: list[Client]) -> None:
    class Slow(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            released.wait(10)

    released = threading.Event()
    handler = Slow()
    logger = logging.getLogger("spendstream.producers")
    logger.addHandler(handler)
    try:
        with UsageEmitter("nowhere:1") as usage:
            clients[0].fatal.set()
            begun = time.monotonic()
            for _ in range(100):
                assert usage.emit(EVENT)
            assert time.monotonic() - begun < 1
            released.set()
            assert usage.flush() == 0
            until(lambda: sum(len(client.taken) for client in clients) == 100, 5)
    finally:
        released.set()
        logger.removeHandler(handler)


def test_what_waits_for_a_successor_is_bounded_counted_and_given_up_at_the_end(
    clients: list[Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emitter, "_MAX_ASIDE", 10)
    usage = UsageEmitter("nowhere:1")
    monkeypatch.setattr(usage, "_retire", lambda _: None)
    clients[0].fatal.set()
    assert [usage.emit(EVENT) for _ in range(12)] == [True] * 10 + [False] * 2
    assert usage.stats.queued == 10
    assert usage.stats.dropped == {Drop.QUEUE_FULL: 2}
    assert usage.close() == 10
    assert usage.stats.queued == 0
    assert usage.stats.dropped == {Drop.QUEUE_FULL: 2, Drop.ABANDONED: 10}


@pytest.mark.usefixtures("clients")
def test_an_event_that_every_broker_forgets_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Doomed(Client):
        def __init__(self, config: dict[str, Any]) -> None:
            super().__init__(config)
            self.fatal.set()

    monkeypatch.setattr(emitter, "Producer", Doomed)
    with UsageEmitter("nowhere:1") as usage:
        assert usage.emit(EVENT)
        until(lambda: usage.stats.dropped == {Drop.FAILED: 1}, 10)
    assert usage.stats.queued == 0


def test_where_the_broker_takes_no_client_the_next_is_not_made_at_once(
    clients: list[Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(client: Client, _: float) -> int:
        if not client.told:
            client.told = True
            raise KafkaException(KafkaError(KafkaError.CLUSTER_AUTHORIZATION_FAILED))
        return 0

    monkeypatch.setattr(Client, "poll", refused)
    monkeypatch.setattr(emitter, "_DENIED_S", 0.3)
    with UsageEmitter("nowhere:1"):
        until(lambda: clients[0].told, 5)
        time.sleep(0.2)
        assert len(clients) == 1
        until(lambda: len(clients) == 2, 5)


def test_an_error_without_words_is_counted_and_not_raised(
    clients: list[Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise Unspeakable

    with UsageEmitter("nowhere:1") as usage:
        monkeypatch.setattr(clients[0], "produce", refuse)
        assert not usage.emit(EVENT)
        monkeypatch.setattr("spendstream.producers.cloudevent.encode", refuse)
        assert not usage.emit(EVENT)
        assert usage.stats.dropped == {Drop.FAILED: 1, Drop.INVALID: 1}


def test_what_was_sent_more_often_than_it_is_done_or_queued_was_retried(
    clients: list[Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    def sent(client: str, messages: int) -> int:
        usage._on_stats(json.dumps({"name": client, "txmsgs": messages, "brokers": {}}))
        return usage.stats.retried

    def deliver(count: int) -> None:
        for _ in range(count):
            usage._on_delivery(Outgoing(b"id", b"svc", 0), None, REPORT)

    with UsageEmitter("nowhere:1") as usage:
        assert sent("rdkafka#producer-1", 0) == 0
        deliver(5)
        assert sent("rdkafka#producer-1", 5) == 0
        monkeypatch.setattr(Client, "__len__", lambda _: 3)
        assert sent("rdkafka#producer-1", 8) == 0  # on their way
        assert sent("rdkafka#producer-1", 14) == 6  # twice each, on top
        assert sent("rdkafka#producer-2", 3) == 9  # it was replaced, and they go once more
        monkeypatch.setattr(Client, "__len__", lambda _: 0)
        deliver(3)
        assert sent("rdkafka#producer-2", 3) == 9
        expired = KafkaError(KafkaError._MSG_TIMED_OUT)
        usage._on_delivery(Outgoing(b"id", b"svc", 0), expired, REPORT)
        assert sent("rdkafka#producer-2", 4) == 9
        assert (usage.stats.delivered, usage.stats.lost) == (8, 1)


def test_what_is_set_aside_while_the_emitter_is_closed_is_not_called_queued(
    clients: list[Client],
) -> None:
    usage = UsageEmitter("nowhere:1", spool="")
    usage._producer = None  # after a fork
    until(lambda: not usage._serving, 10)
    usage._starting.acquire()  # another thread makes the child's

    class Overtaken(deque[Any]):
        def append(self, entry: Any) -> None:
            usage._starting.release()
            usage.close(0)
            super().append(entry)

    usage._aside = Overtaken()
    assert usage.emit(EVENT) is False
    assert usage.stats.dropped == {Drop.CLOSED: 1}
    assert usage.stats.queued == 0

"""`UsageEmitter`: from a service's LLM call to `usage.events`, never in the way of the call.

    emitter = UsageEmitter("localhost:9092")
    emitter.emit(UsageEvent(provider="openai", request_model="gpt-4o", workspace_id="ws-1", …))

`emit()` encodes the event, puts it into the bounded queue of confluent-kafka's idempotent producer
and returns within microseconds. Delivery, retries and their callbacks happen in librdkafka's
threads and in one daemon thread of ours, which also replaces a producer that cannot go on and
writes the log. What cannot be delivered is counted and logged (`stats`), never raised.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import json
import os
import sys
import threading
import time
import weakref
from collections import deque
from functools import partial
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from spendstream.producers import cloudevent, settings
from spendstream.producers.stats import Counters, Drop, EmitterStats, log
from spendstream.schemas.event import UsageEvent
from spendstream.schemas.topics import USAGE_EVENTS

_POLL_S: Final = 0.5
# the broker lost its log: Kafka's client then refuses to go on, since it cannot tell what arrived
_FORGOTTEN: Final = frozenset(
    {
        KafkaError._FATAL,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
        KafkaError.UNKNOWN_PRODUCER_ID,
    }
)
_MAX_FORGOTTEN: Final = 20  # a broker that forgets as often will go on doing so
_STUCK_EPOCHS: Final = 10
_MAX_ASIDE: Final = 100_000  # events of the moment that it takes to replace a producer
_PURGED: Final = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT})


class _Message(NamedTuple):
    """An event on its way; `forgotten` is how many brokers have lost it."""

    value: bytes
    key: bytes
    event_id: bytes
    time_ms: int
    forgotten: int


class UsageEmitter:
    """Publishes usage events. One per process is enough; every method may be called by any thread,
    from a coroutine, and after a fork (the child gets a producer of its own with its first event;
    what the parent had queued stays the parent's). It lives until it is closed.

    Turned off by `enabled=False` or SPENDSTREAM_DISABLED=1 (true, yes, on): `emit()` then does
    nothing.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        *,
        source: str | None = None,
        enabled: bool = True,
        topic: str = USAGE_EVENTS,
        exit_timeout: float = 5.0,
        **kafka: Any,
    ) -> None:
        """
        Args:
            source: who emits, `ce_source`; default OTEL_SERVICE_NAME, else the host's name.
            exit_timeout: seconds that the flush at interpreter exit may take.
            kafka: librdkafka's settings, `linger_ms=20` or `**{"linger.ms": 20}`.

        Raises:
            ValueError: a setting or the source is unusable. Raised here, at start, and only here.
        """
        self._topic = topic
        self._source = cloudevent.checked_id(source or settings.default_source(), "source")
        self._exit_timeout = exit_timeout
        self._enabled = enabled and not settings.disabled()
        self._config = settings.for_kafka(bootstrap_servers, kafka)
        self._closed = False
        self._forked = False
        self._producer: Producer | None = None
        self._begin()
        if self._enabled:
            self._start()
            _alive.add(self)
            atexit.register(self._close_at_exit)

    def emit(self, event: UsageEvent, *, id: str | None = None, time_ms: int | None = None) -> bool:
        """Queue one event. True: queued; False: disabled or dropped, and counted. Never raises.

        Never waits for a broker, a log handler or another thread's work. The first call after a
        fork makes the child's producer, which takes some milliseconds.

        Args:
            id: idempotent request id, unique in the workspace; default 128 random bits.
            time_ms: end of the call, milliseconds since 1970 UTC; default now.
        """
        if not self._enabled:
            return False
        try:
            if not isinstance(event, UsageEvent):
                raise TypeError(f"event must be a UsageEvent, not {type(event).__name__}")
            event_id = cloudevent.checked_id(cloudevent.new_id() if id is None else id, "id")
            time_ms = cloudevent.checked_time(time_ms)
            value = cloudevent.encode(event)
            key = event.workspace_id.encode()
        except Exception as error:  # a caller's objects may raise anything when they are looked at
            self._counters.dropped(Drop.INVALID, type(error).__name__, _told(error))
            return False
        return self._queue(value, key, event_id, time_ms)

    @property
    def enabled(self) -> bool:
        return self._enabled

    @property
    def stats(self) -> EmitterStats:
        # one that is being replaced still holds what its successor is to get
        held = 0 if self._closed else sum(map(len, tuple(self._serving)))
        return self._counters.snapshot(held + len(self._aside))

    def flush(self, timeout: float = 5.0) -> int:
        """Wait until the queue is empty, at most `timeout` seconds. Returns what is still in it."""
        deadline = time.monotonic() + timeout
        left = 0
        while (producer := self._producer) is not None:
            left = self._flush(producer, max(0.0, deadline - time.monotonic()))
            if self._aside:
                self._retire(producer)
            # a producer that was replaced meanwhile handed its events to its successor
            if self._producer is producer or time.monotonic() >= deadline:
                break
        return left + len(self._aside)

    def close(self, timeout: float = 5.0) -> int:
        """Flush, then give up what is left. Returns how many events that was."""
        left = self.flush(timeout)
        with self._starting:
            producer, self._closed = self._producer, True
            self._producer = None
        if producer is not None and left:
            producer.purge()
            self._flush(producer, 1.0)
        while self._aside:
            with contextlib.suppress(IndexError):  # another thread takes them, too
                self._aside.pop()
                self._counters.dropped(Drop.ABANDONED)
        self._counters.report(at_once=True)
        atexit.unregister(self._close_at_exit)
        _alive.discard(self)
        return left

    def __enter__(self) -> UsageEmitter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self) -> None:
        """What a process may not share with the one it was forked from."""
        self._starting = threading.Lock()
        self._counters = Counters()
        self._aside: deque[_Message] = deque()
        self._serving: list[Producer] = []
        self._standing: tuple[str, int] = ("", 0)
        self._epochs = 0

    def _queue(
        self, value: bytes, key: bytes, event_id: bytes, time_ms: int, forgotten: int = 0
    ) -> bool:
        """Hand a message to the producer (see `_Message`). The caller's thread may be here."""
        if forgotten > _MAX_FORGOTTEN:
            self._counters.dropped(Drop.FAILED, "forgotten", f"by {forgotten} brokers in turn")
            return False
        try:
            producer = self._producer or self._restart()
            if producer is None:
                self._counters.dropped(Drop.CLOSED)
                return False
            try:
                producer.produce(
                    self._topic,
                    value,
                    key,
                    headers=cloudevent.headers(event_id, self._source, time_ms),
                    # a delivery report comes without the headers
                    on_delivery=partial(self._on_delivery, event_id, time_ms, forgotten),
                )
            except KafkaException as error:
                if error.args[0].code() != KafkaError._FATAL:
                    raise
                self._set_aside(producer, _Message(value, key, event_id, time_ms, forgotten + 1))
        except BufferError:
            self._counters.dropped(Drop.QUEUE_FULL)
            return False
        except Exception as error:  # whatever Kafka's client makes of it, the caller is not told
            self._counters.dropped(Drop.FAILED, type(error).__name__, _told(error))
            return False
        return True

    def _set_aside(self, producer: Producer, message: _Message) -> None:
        """Keep what `producer` can take no more for its successor. Raises BufferError.

        Another thread makes that one: it takes milliseconds, and this may be the caller's.
        """
        if len(self._aside) >= _MAX_ASIDE:
            raise BufferError
        self._aside.append(message)
        if self._producer is not producer:  # the other thread was faster
            self._take_back()

    def _take_back(self) -> None:
        """Hand over what was set aside, once each: what is set aside again has to wait."""
        for _ in range(len(self._aside)):
            try:
                message = self._aside.popleft()
            except IndexError:  # another thread takes them, too
                return
            self._queue(*message)

    def _start(self) -> Producer:
        try:
            producer = Producer(
                {
                    **self._config,
                    "stats_cb": self._on_stats,
                    "logger": log,
                }
            )
        except (KafkaException, TypeError, ValueError) as error:
            raise ValueError(f"Kafka's client refuses the settings: {error}") from None
        self._serving.append(producer)
        self._producer = producer
        threading.Thread(
            target=self._serve, args=(producer,), name="spendstream-emitter", daemon=True
        ).start()
        return producer

    def _serve(self, producer: Producer) -> None:
        """Delivery callbacks, statistics and the drop log, until closed or replaced, and empty."""
        while self._producer is producer or len(producer):
            self._poll(producer)
            if self._aside:
                self._retire(producer)
            self._counters.report()
        self._serving.remove(producer)

    def _poll(self, producer: Producer) -> None:
        try:
            producer.poll(_POLL_S)
        except KafkaException:  # raised for fatal errors only, once each
            self._retire(producer)

    def _flush(self, producer: Producer, timeout: float) -> int:
        try:
            return int(producer.flush(timeout))
        except KafkaException:  # raised for fatal errors only, once each
            self._retire(producer)
            return int(producer.flush(1.0))  # hands its events over

    def _restart(self) -> Producer | None:
        """The producer after a fork or a fatal error; None after close()."""
        with self._starting:
            if self._closed:
                return None
            if self._producer is None:
                self._start()
                if self._forked and "multiprocessing" in sys.modules:
                    _close_with_worker(self)
            return self._producer

    def _retire(self, producer: Producer) -> None:
        """Replace a producer that cannot go on: its broker forgot it, with all it had sent.

        What it held comes back as delivery reports, and goes into its successor's queue. Never
        called in the caller's thread, except by `flush()` and `close()`: it waits and logs.
        """
        with self._starting:
            if self._producer is not producer:
                return
            try:
                self._start()
            except ValueError:  # no thread or file is to be had: tried again with the next event
                return
        log.warning("the broker does not know its client any more; a new one goes on")
        producer.purge()
        self._take_back()

    def _on_delivery(
        self,
        event_id: bytes,
        time_ms: int,
        forgotten: int,
        error: KafkaError | None,
        message: Message,
    ) -> None:
        if error is None:
            self._counters.delivered()
            return
        code = error.code()
        if code in _FORGOTTEN or (code in _PURGED and not self._closed):
            self._send_again(message, event_id, time_ms, forgotten + 1)
        elif code == KafkaError._MSG_TIMED_OUT:
            self._counters.dropped(Drop.EXPIRED)
        elif code in _PURGED:
            self._counters.dropped(Drop.ABANDONED)
        else:
            self._counters.dropped(Drop.FAILED, error.name(), error.str())

    def _send_again(self, message: Message, event_id: bytes, time_ms: int, forgotten: int) -> None:
        """Harmless where it had arrived: the worker drops a second event with the same id."""
        value, key = message.value(), message.key()
        if isinstance(value, bytes) and isinstance(key, bytes):  # as emit() made them
            self._queue(value, key, event_id, time_ms, forgotten)

    def _on_stats(self, text: str) -> None:
        statistics = json.loads(text)
        # the queue first: what is delivered meanwhile is then counted twice, never not at all
        queued = self.stats.queued
        self._counters.transmitted(statistics["name"], statistics.get("txmsgs", 0), queued)
        # A broker that came back empty refuses the client's id; librdkafka then raises its epoch
        # for ever, many times a second, instead of asking for a new id.
        epochs = statistics.get("eos", {}).get("producer_epoch", 0)
        standing = (statistics["name"], self.stats.delivered)
        if self._standing == standing and epochs >= self._epochs + _STUCK_EPOCHS:
            producer = self._producer
            if producer is not None:
                self._retire(producer)
        self._standing, self._epochs = standing, epochs

    def _forget_parent(self) -> None:
        """In a forked child: librdkafka's threads do not exist here, so its handle is dead."""
        for producer in self._serving:
            # destroying it would wait for those threads
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(producer))
        self._producer = None
        self._forked = True
        self._begin()

    def _close_at_exit(self) -> None:
        self.close(self._exit_timeout)


def _told(error: Exception) -> str:
    """Its message. A foreign class may raise here, too."""
    try:
        return str(error)
    except Exception:  # whatever it is, the caller of emit() is not told
        return "(it has no message)"


def _close_with_worker(emitter: UsageEmitter) -> None:
    """multiprocessing ends its children with os._exit(), past atexit; it has finalizers instead."""
    from multiprocessing.util import Finalize

    Finalize(emitter, emitter._close_at_exit, exitpriority=100)


def _forget_parents() -> None:
    for emitter in list(_alive):
        emitter._forget_parent()


# one hook for all emitters: hooks cannot be taken back
_alive: weakref.WeakSet[UsageEmitter] = weakref.WeakSet()
os.register_at_fork(after_in_child=_forget_parents)

"""`UsageEmitter`: from a service's LLM call to `usage.events`, never in the way of the call.

    emitter = UsageEmitter("localhost:9092")
    emitter.emit(UsageEvent(provider="openai", request_model="gpt-4o", workspace_id="ws-1", …))

`emit()` encodes the event, puts it into the bounded queue of confluent-kafka's idempotent producer
and returns: 7 µs. Delivery, retries and their callbacks happen in librdkafka's threads and in one
daemon thread of ours. What cannot be delivered is counted and logged (`stats`), never raised.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import socket
import sys
import threading
import weakref
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from spendstream.producers import cloudevent
from spendstream.producers.stats import Counters, Drop, EmitterStats, log
from spendstream.schemas.event import UsageEvent
from spendstream.schemas.topics import USAGE_EVENTS

DISABLED_VARIABLE: Final = "SPENDSTREAM_DISABLED"
_POLL_S: Final = 0.5

_FIXED: Final[dict[str, Any]] = {
    # a repeat would be dropped by its id, but reordering within a workspace would not be noticed
    "enable.idempotence": True,
    "acks": "all",
    # librdkafka's own default is CRC32: the worker would have to forward every event
    "partitioner": "murmur2_random",
}
_DEFAULTS: Final[dict[str, Any]] = {
    "compression.type": "lz4",
    "linger.ms": 5,
    "queue.buffering.max.messages": 100_000,
    "queue.buffering.max.kbytes": 65_536,
    # five minutes of broker outage are bridged, as long as the queue holds
    "message.timeout.ms": 300_000,
    "statistics.interval.ms": 5_000,
}


class UsageEmitter:
    """Publishes usage events. One per process is enough; every method may be called by any thread,
    from a coroutine, and after a fork (the child gets a producer of its own with its first event;
    what the parent had queued stays the parent's). It lives until it is closed.

    Turned off by `enabled=False` or SPENDSTREAM_DISABLED=1: `emit()` then does nothing.
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
        self._source = cloudevent.checked_id(source or _default_source(), "source")
        self._exit_timeout = exit_timeout
        self._enabled = enabled and os.environ.get(DISABLED_VARIABLE, "") not in ("1", "true")
        self._config = _config(bootstrap_servers, kafka)
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
            headers = cloudevent.headers(event_id, self._source, cloudevent.checked_time(time_ms))
            value = cloudevent.encode(event)
            key = event.workspace_id.encode()
        except Exception as error:
            self._counters.dropped(Drop.INVALID, type(error).__name__, str(error))
            return False
        try:
            producer = self._producer or self._restart()
            if producer is None:
                self._counters.dropped(Drop.CLOSED)
                return False
            producer.produce(self._topic, value, key, headers=headers)
        except BufferError:
            self._counters.dropped(Drop.QUEUE_FULL)
            return False
        except Exception as error:
            self._counters.dropped(Drop.FAILED, type(error).__name__, str(error))
            return False
        return True

    @property
    def enabled(self) -> bool:
        return self._enabled

    @property
    def stats(self) -> EmitterStats:
        producer = self._producer
        return self._counters.snapshot(len(producer) if producer is not None else 0)

    def flush(self, timeout: float = 5.0) -> int:
        """Wait until the queue is empty, at most `timeout` seconds. Returns what is still in it."""
        producer = self._producer
        return int(producer.flush(timeout)) if producer is not None else 0

    def close(self, timeout: float = 5.0) -> int:
        """Flush, then give up what is left. Returns how many events that was."""
        with self._starting:
            producer, self._closed = self._producer, True
            self._producer = None
        if producer is None:
            return 0
        left = int(producer.flush(timeout))
        if left:
            producer.purge()
            producer.flush(1.0)
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

    def _start(self) -> Producer:
        callbacks = {"on_delivery": self._on_delivery, "error_cb": self._on_error}
        try:
            producer = Producer(
                {**self._config, **callbacks, "stats_cb": self._on_stats, "logger": log}
            )
        except (KafkaException, TypeError, ValueError) as error:
            raise ValueError(f"Kafka's client refuses the settings: {error}") from None
        self._producer = producer
        threading.Thread(
            target=self._serve, args=(producer,), name="spendstream-emitter", daemon=True
        ).start()
        return producer

    def _serve(self, producer: Producer) -> None:
        """Delivery callbacks, statistics and the drop log, until closed or replaced, and empty."""
        while self._producer is producer or len(producer):
            producer.poll(_POLL_S)
            self._counters.report()

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

    def _on_delivery(self, error: KafkaError | None, _: Message) -> None:
        if error is None:
            self._counters.delivered()
            return
        code = error.code()
        if code == KafkaError._MSG_TIMED_OUT:
            why = Drop.EXPIRED
        elif code in (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT):
            why = Drop.ABANDONED
        else:
            why = Drop.FAILED
        self._counters.dropped(why, error.name(), error.str())

    def _on_error(self, error: KafkaError) -> None:
        # anything else heals by itself, and librdkafka logs it
        if error.fatal():
            log.error("Kafka's client cannot go on and is replaced: %s", error.str())
            with self._starting:
                dead, self._producer = self._producer, None
            if dead is not None:
                # what it held comes back as delivery reports, which its thread goes on serving
                dead.purge()

    def _on_stats(self, text: str) -> None:
        brokers = json.loads(text).get("brokers", {})
        self._counters.retried = sum(broker.get("txretries", 0) for broker in brokers.values())

    def _forget_parent(self) -> None:
        """In a forked child: librdkafka's threads do not exist here, so its handle is dead."""
        if self._producer is not None:
            # destroying it would wait for those threads
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._producer))
            self._producer = None
        self._forked = True
        self._begin()

    def _close_at_exit(self) -> None:
        self.close(self._exit_timeout)


def _config(bootstrap_servers: str, kafka: dict[str, Any]) -> dict[str, Any]:
    given = {k if k == "log_level" else k.replace("_", "."): v for k, v in kafka.items()}
    if clash := sorted(given.keys() & _FIXED.keys()):
        raise ValueError(f"exactness depends on these settings, they are fixed: {', '.join(clash)}")
    return {**_DEFAULTS, **given, **_FIXED, "bootstrap.servers": bootstrap_servers}


def _default_source() -> str:
    return os.environ.get("OTEL_SERVICE_NAME") or socket.gethostname() or "unknown"


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

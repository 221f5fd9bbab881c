"""`UsageEmitter`: from a service's LLM call to `usage.events`, never in the way of the call.

    emitter = UsageEmitter("localhost:9092")
    emitter.emit(UsageEvent(provider="openai", request_model="gpt-4o", workspace_id="ws-1", …))

`emit()` encodes the event, puts it into the bounded queue of confluent-kafka's idempotent producer
and returns within microseconds. Delivery, retries and their callbacks happen in librdkafka's
threads and in one daemon thread of ours, which also replaces a producer that cannot go on and
writes the log. What cannot be delivered is counted and logged (`stats`), never raised, and the next
event that is delivered says how many there were (`ce_dropped`). With `spool=DIRECTORY` what Kafka
has not acknowledged is on disk, too, and survives the service (`spool.py`).
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
from collections import deque
from functools import partial
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from spendstream.producers import cloudevent, forks, kafka_errors, settings
from spendstream.producers.client_log import ClientLog
from spendstream.producers.outgoing import Outgoing
from spendstream.producers.spool import Spool
from spendstream.producers.stats import Counters, Drop, EmitterStats, log
from spendstream.schemas.event import UsageEvent
from spendstream.schemas.kafka_advice import with_advice
from spendstream.schemas.topics import USAGE_EVENTS

_POLL_S: Final = 0.5
_MAX_FORGOTTEN: Final = 20  # a broker that forgets as often will go on doing so
_STUCK_EPOCHS: Final = 10
_DENIED_S: Final = 5.0  # until the next client is tried where the broker takes none
_MAX_ASIDE: Final = 100_000  # events of the moment that it takes to replace a producer
_HELD_S: Final = 0.01
_SETTLE_S: Final = 2.0  # for the spool, beyond the time to flush: a disk that hangs ends no process


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
        spool: str | os.PathLike[str] | None = None,
        spool_bytes: int = settings.SPOOL_BYTES,
        **kafka: Any,
    ) -> None:
        """
        Args:
            source: who emits, `ce_source`; default OTEL_SERVICE_NAME, else the host's name.
            exit_timeout: seconds that the flush at interpreter exit may take.
            spool: directory for events that Kafka has not acknowledged; may be shared with other
                processes, each has a file of its own in it. Default: SPENDSTREAM_SPOOL, else none.
            spool_bytes: how large a process's file may become.
            kafka: librdkafka's settings, `linger_ms=20` or `**{"linger.ms": 20}`.

        Raises:
            ValueError: a setting or the source is unusable. Raised here, at start, and only here.
        """
        self._topic = topic
        self._source = cloudevent.checked_id(source or settings.default_source(), "source")
        self._exit_timeout = exit_timeout
        self._enabled = enabled and not settings.disabled()
        self._config = settings.for_kafka(bootstrap_servers, kafka)
        self._spool_directory = settings.spool(spool)
        self._spool_bytes = settings.spool_bytes(spool_bytes)
        self._spool: Spool | None = None
        self._closed = False
        self._forked = False
        self._producer: Producer | None = None
        self._single: Producer | None = None  # the same, where it sends no two events in one batch
        self._begin()
        if self._enabled:
            self._start()
            forks.watch(self)
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
            message = Outgoing(event_id, self._source, time_ms)
        except Exception as error:  # a caller's objects may raise anything when they are looked at
            self._counters.dropped(Drop.INVALID, type(error).__name__, _told(error))
            return False
        return self._queue(message, value, key)

    def drop(self, why: Drop, kind: str, text: str) -> None:
        """Count an event that could not even be made; the first of each `kind` is logged with its
        `text`. Never waits, never raises."""
        self._counters.dropped(why, kind, text)

    @property
    def enabled(self) -> bool:
        return self._enabled

    @property
    def stats(self) -> EmitterStats:
        spool = self._spool
        spooled = spool.rows if spool is not None else 0
        if self._closed:
            return self._counters.snapshot(len(self._aside) + spooled, spooled)
        held = spool.held if spool is not None else 0
        # one that is being replaced still holds what its successor is to get
        queued = sum(map(len, tuple(self._serving))) + len(self._aside) + held
        return self._counters.snapshot(queued, spooled)

    def flush(self, timeout: float = 5.0) -> int:
        """Wait until everything is delivered, at most `timeout` seconds. Returns what is not.

        With a spool that is on disk then.
        """
        deadline = time.monotonic() + timeout
        while True:
            left = self._flush_queue(deadline)
            spool = self._spool
            if spool is None:
                return left
            if not (held := spool.held) or time.monotonic() >= deadline:
                spool.settle(_SETTLE_S)
                return left + held
            time.sleep(_HELD_S)  # the spool's thread sends what waits on disk

    def _flush_queue(self, deadline: float) -> int:
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
        """Flush, then give up what is left. Returns how many events that was.

        What is in a spool is not given up: the next process that uses the directory sends it.
        """
        left = self.flush(timeout)
        with self._starting:
            producer, self._closed = self._producer, True
            self._producer = None
        if producer is not None and left:
            producer.purge()
            self._flush(producer, 1.0)
        while self._aside:
            with contextlib.suppress(IndexError):  # another thread takes them, too
                self._abandon(self._aside.pop()[0])
        if (spool := self._spool) is not None:
            spool.close(_SETTLE_S)
            left = self._counters.abandoned
        self._counters.report(at_once=True)
        self._client_log.report()
        atexit.unregister(self._close_at_exit)
        forks.forget(self)
        return left

    def __enter__(self) -> UsageEmitter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self) -> None:
        """What a process may not share with the one it was forked from."""
        self._starting = threading.Lock()
        self._counters = Counters()
        self._client_log = ClientLog()
        self._aside: deque[tuple[Outgoing, bytes, bytes]] = deque()
        self._serving: list[Producer] = []
        self._denied: tuple[str, str] | None = None  # why the broker takes no client: kind, text
        self._standing: tuple[str, int] = ("", 0)
        self._epochs = 0

    def _queue(self, message: Outgoing, value: bytes, key: bytes) -> bool:
        """Hand an event to Kafka's client, or to the spool alone where that takes no more. The
        caller's thread may be here."""
        if message.forgotten > _MAX_FORGOTTEN:
            return self._give_up(
                message, value, key, Drop.FAILED, "forgotten", f"by {message.forgotten} brokers"
            )
        try:
            if not self._produce(message, value, key):
                if message.kept:  # emitted before the end, and back from a client that is no more
                    self._abandon(message)
                else:
                    self._drop(message, Drop.CLOSED)
                return False
        except BufferError:
            if (spool := self._spool) is not None and spool.hold(message, value, key):
                return True
            self._drop(message, Drop.QUEUE_FULL if spool is None else Drop.SPOOL_FULL)
            return False
        except Exception as error:  # whatever Kafka's client makes of it, the caller is not told
            return self._refused(message, value, key, error)
        if message.dropped:  # set aside while another thread closed the emitter, and taken back
            return False
        if (spool := self._spool) is not None and not message.kept:
            spool.keep(message, value, key)
        return True

    def _produce(self, message: Outgoing, value: bytes, key: bytes) -> bool:
        """False: closed. Raises BufferError where the queue is full, and what Kafka's client does
        where it refuses the event."""
        producer = self._producer
        if producer is None:  # one whose queue is empty is false, too
            producer = self._restart()
        if producer is None:
            if self._closed:
                return False
            self._set_aside(None, message, value, key)
            return True
        message.reports = self._counters.to_report()
        message.alone = producer is self._single
        try:
            producer.produce(
                self._topic,
                value,
                key,
                headers=cloudevent.headers(
                    message.event_id, message.source, message.time_ms, message.reports
                ),
                # a delivery report comes without the headers
                on_delivery=partial(self._on_delivery, message),
            )
        except Exception as error:  # judged below, and raised on but for a client that is broken
            self._counters.not_reported(message.reports)
            if (
                not isinstance(error, KafkaException)
                or kafka_errors.code(error) != KafkaError._FATAL
            ):
                raise
            message.forgotten += 1
            self._set_aside(producer, message, value, key)
        return True

    def _send_spooled(self, message: Outgoing, value: bytes, key: bytes) -> bool:
        """What waited in the spool. False: no more for now."""
        try:
            return self._produce(message, value, key)
        except BufferError:
            return False
        except Exception as error:  # counted by what it is; the spool's thread must go on
            self._refused(message, value, key, error)
            return True

    def _room(self) -> int:
        """How much of what waits in the spool Kafka's client should be given: half of its queue, so
        that new events go at once."""
        producer = self._producer
        # 0 is no limit to librdkafka
        queue = int(self._config["queue.buffering.max.messages"]) or _MAX_ASIDE
        return (queue + 1) // 2 - len(producer) if producer is not None else 0

    def _refused(self, message: Outgoing, value: bytes, key: bytes, error: Exception) -> bool:
        if (
            isinstance(error, KafkaException)
            and kafka_errors.code(error) not in kafka_errors.HOPELESS
        ):
            return self._give_up(message, value, key, Drop.FAILED, *self._advice(error.args[0]))
        self._drop(message, Drop.FAILED, type(error).__name__, _told(error))
        return False

    def _advice(self, error: KafkaError) -> tuple[str, str]:
        """The error's name, and what an operator is told of it."""
        name = error.name()
        return name, f"{self._topic}: {with_advice(name, error.str())}"

    def _give_up(
        self, message: Outgoing, value: bytes, key: bytes, why: Drop, kind: str = "", text: str = ""
    ) -> bool:
        """For now, where there is a spool to send it again later, which is True; else for ever."""
        if self._closed and message.row is not None:
            return True  # it stays on disk
        if (spool := self._spool) is not None and not self._closed:
            spool.failed(kind, text)
            message.forgotten = 0
            if spool.hold(message, value, key):
                return True
        self._drop(message, why, kind, text)
        return False

    def _drop(self, message: Outgoing, why: Drop, kind: str = "", text: str = "") -> None:
        self._counters.dropped(why, kind, text)
        message.done = message.dropped = True
        if message.kept and (spool := self._spool) is not None:
            spool.done(message)

    def _abandon(self, message: Outgoing) -> None:
        """At the end. What is on disk stays there."""
        if message.row is None:
            self._drop(message, Drop.ABANDONED)

    def _set_aside(
        self, producer: Producer | None, message: Outgoing, value: bytes, key: bytes
    ) -> None:
        """Keep what `producer` can take no more for its successor. Raises BufferError.

        Another thread makes that one: it takes milliseconds, and this may be the caller's. After a
        fork there is none yet.
        """
        if len(self._aside) >= _MAX_ASIDE:
            raise BufferError
        self._aside.append((message, value, key))
        if self._producer is not producer or self._closed:  # the other thread was faster
            self._take_back()

    def _take_back(self) -> None:
        """Hand over what was set aside, once each: what is set aside again has to wait."""
        for _ in range(len(self._aside)):
            try:
                message, value, key = self._aside.popleft()
            except IndexError:  # another thread takes them, too
                return
            self._queue(message, value, key)

    def _start(self) -> Producer:
        try:
            producer = Producer(
                {
                    **self._config,
                    "stats_cb": self._on_stats,
                    "logger": self._client_log,
                }
            )
        except (KafkaException, TypeError, ValueError) as error:
            raise ValueError(f"Kafka's client refuses the settings: {error}") from None
        self._serving.append(producer)
        if int(self._config.get("batch.num.messages", 0)) == 1:
            self._single = producer
        self._producer = producer
        if self._spool is None and self._spool_directory is not None:
            self._spool = Spool(
                self._spool_directory,
                self._spool_bytes,
                self._counters,
                self._send_spooled,
                self._room,
            )
            self._spool.start()
        self._take_back()  # before its thread sees that something is aside, and retires it
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
        except KafkaException as error:  # raised for fatal errors only, once each
            self._note_fatal(error)
            if self._denied:
                time.sleep(_DENIED_S)  # in the thread of this producer, which takes no more
            self._retire(producer)

    def _flush(self, producer: Producer, timeout: float) -> int:
        try:
            return int(producer.flush(timeout))
        except KafkaException as error:  # raised for fatal errors only, once each
            self._note_fatal(error)
            self._retire(producer)
            return int(producer.flush(1.0))  # hands its events over

    def _note_fatal(self, error: KafkaException) -> None:
        denied = kafka_errors.code(error) in kafka_errors.DENIED
        self._denied = self._advice(error.args[0]) if denied else None

    def _restart(self) -> Producer | None:
        """The producer after a fork; None after close(), and while it is being made: by another
        thread, or by this one, where a signal handler emits."""
        if self._closed or not self._starting.acquire(blocking=False):
            return None
        try:
            if self._producer is None and not self._closed:
                self._start()
                if self._forked and "multiprocessing" in sys.modules:
                    _close_with_worker(self)
            return self._producer
        finally:
            self._starting.release()

    def _retire(self, producer: Producer, why: str = "") -> None:
        """Replace a producer that cannot go on: mostly its broker forgot it, with all it had sent.

        What it held comes back as delivery reports, and goes into its successor's queue; where the
        broker takes no client, it is refused. Never called in the caller's thread, except by
        `flush()` and `close()`: it waits and logs.
        """
        with self._starting:
            if self._producer is not producer:
                return
            try:
                self._start()
            except ValueError:  # no thread or file is to be had: tried again with the next event
                return
        if why or not self._denied:  # what is refused is logged as that
            why = why or "the broker does not know its client any more"
            log.warning("%s; a new client goes on", why)
        producer.purge()

    def _send_singly(self) -> None:
        """The broker takes no batches of this size, which says nothing of the events in them."""
        self._config["batch.num.messages"] = 1
        producer = self._producer
        if producer is not None and producer is not self._single:
            self._retire(
                producer,
                "a batch is larger than the broker takes; events are sent one by one, slowly, until"
                f" max.message.bytes of {self._topic} is raised and the service started again",
            )

    def _on_delivery(self, message: Outgoing, error: KafkaError | None, report: Message) -> None:
        if error is None:
            self._denied = None
            self._counters.delivered(message.reports)
            # before the look at `kept`: this may come before emit() hands it to the spool, which
            # then sees that it need not be written
            message.done = True
            if message.kept and (spool := self._spool) is not None:
                spool.done(message)
            return
        self._counters.not_reported(message.reports)
        value, key = report.value(), report.key()
        if not isinstance(value, bytes) or not isinstance(key, bytes):  # never: emit() made them
            value = key = b""
        code = error.code()
        purged = code in kafka_errors.PURGED and not self._closed
        if purged and (denied := self._denied):
            self._give_up(message, value, key, Drop.FAILED, *denied)
        elif purged or code in kafka_errors.FORGOTTEN:
            # harmless where it had arrived: the worker drops a second event with the same id
            message.forgotten += 1
            self._queue(message, value, key)
        elif code in kafka_errors.PURGED:
            self._abandon(message)
        elif code == KafkaError.MSG_SIZE_TOO_LARGE and not message.alone:
            self._send_singly()
            self._queue(message, value, key)
        elif code in kafka_errors.HOPELESS:
            self._drop(message, Drop.FAILED, error.name(), error.str())
        elif code == KafkaError._MSG_TIMED_OUT:
            self._give_up(message, value, key, Drop.EXPIRED)
        else:
            self._give_up(message, value, key, Drop.FAILED, *self._advice(error))

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

    def before_fork(self) -> None:
        """For `forks`, as the next two."""
        if self._spool is not None:
            self._spool.store.before_fork()

    def after_fork_in_parent(self) -> None:
        if self._spool is not None:
            self._spool.store.after_fork_in_parent()

    def after_fork_in_child(self) -> None:
        """librdkafka's threads do not exist here, so its handle is dead."""
        for producer in self._serving:
            # destroying it would wait for those threads
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(producer))
        self._producer = None
        if self._spool is not None:
            self._spool.store.after_fork_in_child()
            self._spool = None
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

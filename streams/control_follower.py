"""Follows a control topic: a thread reads every record into the table that all partitions use.

Where the topic is made anew, or loses its end, another table is begun: whoever has recovered with
the old one keeps that, until recovery has said what was lost and somebody has accepted it.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from typing import Final, Generic, TypeVar

import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import TopicPartition as Partition
from pydantic import ValidationError

from spendstream.schemas.kafka_advice import with_advice
from spendstream.schemas.plan import PlanVersion
from spendstream.schemas.prices.version import PriceVersion
from spendstream.schemas.topics import CONTROL_PLANS, CONTROL_PRICES
from spendstream.streams.core.plans import PlanTable
from spendstream.streams.core.price_table import PriceTable
from spendstream.streams.errors import Recoverable
from spendstream.streams.reading import TIMEOUT_S, consumer

_log = structlog.get_logger(__name__)
_RETRY_S: Final = 1.0
_TELL_S: Final = 60.0
T = TypeVar("T")


class Followed(Generic[T]):
    """What one control topic holds; `position` is the next offset to read of it."""

    def __init__(self, table: T) -> None:
        self.table = table
        self.position = 0
        self.caught_up = False


class ControlFollower(ABC, Generic[T]):
    """`now` is of the topic that is followed now."""

    topic: str

    def __init__(self, bootstrap_servers: str) -> None:
        self.now = Followed(self._new_table())
        self._bootstrap_servers = bootstrap_servers
        self._epoch = ""
        self._moved = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=self.topic, daemon=True)

    @abstractmethod
    def _new_table(self) -> T: ...

    @abstractmethod
    def _add(self, table: T, value: bytes, offset: int) -> None:
        """Raises ValidationError: it is no record of the topic."""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(5)

    def wait_for(self, epoch: str, position: int, timeout_s: float) -> Followed[T]:
        """What it holds, once the topic has been read to its end, and at least to `position`.

        Args:
            epoch: the topic's id. Another than the last time, and it was made anew, which an
                operator has accepted for the partition that asks.
            position: a partition starts only at or past its own.

        Raises:
            Recoverable: not within the time.
        """
        with self._moved:
            if epoch != self._epoch:
                if self._epoch:
                    self.now = Followed(self._new_table())
                self._epoch = epoch
            there = self._moved.wait_for(
                lambda: self.now.caught_up and self.now.position >= position, timeout_s
            )
            now = self.now
        if not there:
            raise Recoverable(
                f"{self.topic} is read to {now.position}; awaited is its end, past {position}"
            )
        return now

    def _run(self) -> None:
        told, told_at = "", 0.0
        while not self._stop.is_set():
            try:
                self._follow()
            except Exception as error:
                # Whatever it is: were the thread to end, plans and prices would freeze unnoticed.
                # What has been read stands, and reading goes on behind it.
                known = isinstance(error, KafkaException)
                cause = error.args[0] if known else None
                said = with_advice(cause.name(), cause.str()) if cause else str(error)
                # it goes on until it works or the worker ends, and says the same once a minute
                if said != told or time.monotonic() - told_at >= _TELL_S:
                    told, told_at = said, time.monotonic()
                    _log.warning(
                        "control_follower_retries",
                        topic=self.topic,
                        error=said,
                        exc_info=not known,
                    )
                self._stop.wait(_RETRY_S)

    def _follow(self) -> None:
        now = self.now
        reader = consumer(self._bootstrap_servers)
        try:
            where = Partition(self.topic, 0)
            low, high = reader.get_watermark_offsets(where, timeout=TIMEOUT_S)
            if low >= high:
                self._move(now, now.position, at_end=True)
            reader.assign([Partition(self.topic, 0, max(low, now.position))])
            while not self._stop.is_set() and self.now is now:
                message = reader.poll(0.2)
                if message is None:
                    continue
                error, offset = message.error(), message.offset() or 0
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                if offset < now.position:  # it has lost its end, and is read from its beginning
                    self._begin_anew(now)
                elif error is None:
                    self._take(now, message.value() or b"", offset)
                else:
                    # transaction markers take offsets too: the end may lie past the last record
                    self._move(now, offset, at_end=True)
        finally:
            reader.close()

    def _begin_anew(self, followed: Followed[T]) -> None:
        with self._moved:
            if self.now is followed:
                self.now = Followed(self._new_table())

    def _take(self, followed: Followed[T], value: bytes, offset: int) -> None:
        try:
            self._add(followed.table, value, offset)
        except ValidationError as error:
            # only our writer writes here; an unreadable version must not take the workers down
            _log.error("control_unreadable", topic=self.topic, offset=offset, error=str(error))
        self._move(followed, offset + 1)

    def _move(self, followed: Followed[T], position: int, *, at_end: bool = False) -> None:
        with self._moved:
            followed.position = position
            followed.caught_up = followed.caught_up or at_end
            self._moved.notify_all()


class PlansFollower(ControlFollower[PlanTable]):
    """Of `control.plans`."""

    topic = CONTROL_PLANS

    def _new_table(self) -> PlanTable:
        return PlanTable()

    def _add(self, table: PlanTable, value: bytes, offset: int) -> None:
        table.add(PlanVersion.model_validate_json(value))


class PricesFollower(ControlFollower[PriceTable]):
    """Of `control.prices`."""

    topic = CONTROL_PRICES

    def _new_table(self) -> PriceTable:
        return PriceTable()

    def _add(self, table: PriceTable, value: bytes, offset: int) -> None:
        table.add(PriceVersion.model_validate_json(value), offset)

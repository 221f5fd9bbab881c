"""Follows `control.plans`: a thread reads every version into the table that all partitions use."""

from __future__ import annotations

import threading
from typing import Final

import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import TopicPartition as Partition
from pydantic import ValidationError

from spendstream.schemas.plan import PlanVersion
from spendstream.schemas.topics import CONTROL_PLANS
from spendstream.streams.core.plans import PlanTable
from spendstream.streams.errors import Recoverable
from spendstream.streams.reading import TIMEOUT_S, consumer

_log = structlog.get_logger(__name__)
_RETRY_S: Final = 1.0


class PlansFollower:
    """`position` is the next offset to read; a partition starts only at or past its own."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.table = PlanTable()
        self.position = 0
        self._bootstrap_servers = bootstrap_servers
        self._epoch = ""
        self._caught_up = False
        self._moved = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="plans", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(5)

    def wait_for(self, epoch: str, position: int, timeout_s: float) -> None:
        """Wait until the topic has been read to its end, and at least to `position`.

        Args:
            epoch: the topic's id. Another than the last time, and it was made anew, which an
                operator has accepted: the plans of the old one are forgotten.

        Raises:
            Recoverable: not within the time.
        """
        with self._moved:
            if epoch != self._epoch:
                if self._epoch:
                    self.table, self.position, self._caught_up = PlanTable(), 0, False
                self._epoch = epoch
            there = self._moved.wait_for(
                lambda: self._caught_up and self.position >= position, timeout_s
            )
        if not there:
            raise Recoverable(
                f"{CONTROL_PLANS} is read to {self.position}; awaited is its end, past {position}"
            )

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._follow()
            except Exception as error:
                # Whatever it is: were the thread to end, plans would freeze unnoticed. What has
                # been read stands, and reading goes on behind it.
                known = isinstance(error, KafkaException)
                _log.warning("plans_follower_retries", error=str(error), exc_info=not known)
                self._stop.wait(_RETRY_S)

    def _follow(self) -> None:
        table = self.table
        reader = consumer(self._bootstrap_servers)
        try:
            where = Partition(CONTROL_PLANS, 0)
            low, high = reader.get_watermark_offsets(where, timeout=TIMEOUT_S)
            if low >= high:
                self._move(table, self.position, at_end=True)
            reader.assign([Partition(CONTROL_PLANS, 0, max(low, self.position))])
            while not self._stop.is_set() and self.table is table:
                message = reader.poll(0.2)
                if message is None:
                    continue
                error = message.error()
                if error is None:
                    self._take(table, message.value() or b"", message.offset() or 0)
                elif error.code() == KafkaError._PARTITION_EOF:
                    # transaction markers take offsets too: the end may lie past the last record
                    self._move(table, max(self.position, message.offset() or 0), at_end=True)
                else:
                    raise KafkaException(error)
        finally:
            reader.close()

    def _take(self, table: PlanTable, value: bytes, offset: int) -> None:
        try:
            table.add(PlanVersion.model_validate_json(value))
        except ValidationError as error:
            # only our writer writes here; an unreadable version must not take the workers down
            _log.error("plan_version_unreadable", offset=offset, error=str(error))
        self._move(table, offset + 1)

    def _move(self, table: PlanTable, position: int, *, at_end: bool = False) -> None:
        with self._moved:
            if self.table is not table:
                return  # of a topic that is gone
            self.position = position
            self._caught_up = self._caught_up or at_end
            self._moved.notify_all()

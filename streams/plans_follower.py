"""Follows `control.plans`: a thread reads every version into the table that all partitions use.

Where the topic is made anew, or loses its end, another table is begun: whoever has recovered with
the old one keeps that, until recovery has said what was lost and somebody has accepted it.
"""

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


class FollowedPlans:
    """What one `control.plans` holds; `position` is the next offset to read of it."""

    def __init__(self) -> None:
        self.table = PlanTable()
        self.position = 0
        self.caught_up = False


class PlansFollower:
    """`plans` are the topic's that is followed now."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.plans = FollowedPlans()
        self._bootstrap_servers = bootstrap_servers
        self._epoch = ""
        self._moved = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="plans", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(5)

    def wait_for(self, epoch: str, position: int, timeout_s: float) -> FollowedPlans:
        """The plans, once the topic has been read to its end, and at least to `position`.

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
                    self.plans = FollowedPlans()
                self._epoch = epoch
            there = self._moved.wait_for(
                lambda: self.plans.caught_up and self.plans.position >= position, timeout_s
            )
            plans = self.plans
        if not there:
            raise Recoverable(
                f"{CONTROL_PLANS} is read to {plans.position}; awaited is its end, past {position}"
            )
        return plans

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
        plans = self.plans
        reader = consumer(self._bootstrap_servers)
        try:
            where = Partition(CONTROL_PLANS, 0)
            low, high = reader.get_watermark_offsets(where, timeout=TIMEOUT_S)
            if low >= high:
                self._move(plans, plans.position, at_end=True)
            reader.assign([Partition(CONTROL_PLANS, 0, max(low, plans.position))])
            while not self._stop.is_set() and self.plans is plans:
                message = reader.poll(0.2)
                if message is None:
                    continue
                error, offset = message.error(), message.offset() or 0
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                if offset < plans.position:  # it has lost its end, and is read from its beginning
                    self._begin_anew(plans)
                elif error is None:
                    self._take(plans, message.value() or b"", offset)
                else:
                    # transaction markers take offsets too: the end may lie past the last record
                    self._move(plans, offset, at_end=True)
        finally:
            reader.close()

    def _begin_anew(self, plans: FollowedPlans) -> None:
        with self._moved:
            if self.plans is plans:
                self.plans = FollowedPlans()

    def _take(self, plans: FollowedPlans, value: bytes, offset: int) -> None:
        try:
            plans.table.add(PlanVersion.model_validate_json(value))
        except ValidationError as error:
            # only our writer writes here; an unreadable version must not take the workers down
            _log.error("plan_version_unreadable", offset=offset, error=str(error))
        self._move(plans, offset + 1)

    def _move(self, plans: FollowedPlans, position: int, *, at_end: bool = False) -> None:
        with self._moved:
            plans.position = position
            plans.caught_up = plans.caught_up or at_end
            self._moved.notify_all()

"""Seeing from outside that a worker is in the middle of a transaction."""

from __future__ import annotations

import time

from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

LATEST = OffsetSpec.latest()  # type: ignore[no-untyped-call]


class OpenTransactions:
    """Of a topic: its records that readers of committed ones do not see."""

    def __init__(self, bootstrap: str, topic: str, partitions: int) -> None:
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 3})
        self._asked = {TopicPartition(topic, p): LATEST for p in range(partitions)}

    def last(self) -> bool:
        """Whether one is open, and stays open though its writer is paused.

        A commit that was asked for before the pause has come through by the second look.
        """
        open_ = self._open()
        if open_:
            time.sleep(0.5)
            open_ &= self._open()
        return bool(open_)

    def _open(self) -> set[tuple[int, int]]:
        """(partition, first offset) of each."""
        stable = self._ends(IsolationLevel.READ_COMMITTED)
        ends = self._ends(IsolationLevel.READ_UNCOMMITTED)
        return {(p, offset) for p, offset in stable.items() if offset < ends[p]}

    def _ends(self, level: IsolationLevel) -> dict[int, int]:
        found = self._admin.list_offsets(self._asked, isolation_level=level, request_timeout=10)
        return {tp.partition: future.result().offset for tp, future in found.items()}

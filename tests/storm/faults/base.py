"""What a fault is: it strikes, and it shows that it landed.

A fault that struck beside everything proves nothing. Each looks for the moment that it is about
(a transaction is open, an insert is under way) and names the evidence; without any it did not land,
and is struck again.
"""

from __future__ import annotations

import math
import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from tests.storm.proxy import Insert, Misbehaviour
from tests.storm.rig import Storm, seen
from tests.storm.watch import Watched
from tests.support.clickhouse_proxy import Answer

PATIENCE_S = 60.0
"""How long a recovery may take before the storm says that there was none."""
LOOK_S = 15.0
"""How long a fault looks for its moment."""
PAUSES_S = 6.0
"""How long it does so by pausing a worker, which is in a transaction most of the time."""


class Fault(ABC):
    """Struck once. `random` decides its details and nothing else does, so that a seed repeats."""

    kind: ClassVar[str]

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)
        self.evidence: str | None = None
        self.struck_at = 0.0
        """Seconds since 1970 when it did its damage; recoveries count from there."""

    @abstractmethod
    def strike(self, storm: Storm) -> None:
        """Do it, and put back what it took away; sets `evidence` where it landed."""

    def recovered(self, storm: Storm) -> float | None:
        """Seconds from the damage until all went on: infinitely many where it did not within
        PATIENCE_S; None where there is nothing to recover."""
        return None

    def now(self) -> None:
        self.struck_at = time.time()


def all_again(storm: Storm, event: str, partitions: set[int], since: float) -> float:
    """Seconds until the last of these partitions began again (`partition_runs`, `reading`);
    infinitely many where one did not."""
    if not seen(lambda: partitions <= storm.runs_since(event, since).keys(), PATIENCE_S):
        return math.inf
    begun = storm.runs_since(event, since)
    return max((begun[partition] for partition in partitions), default=since) - since


def paused_in_transaction(storm: Storm, process: Watched, partitions: set[int]) -> list[str]:
    """SIGSTOP a worker at a moment when transactions of its own hold rows: which ones."""
    deadline = time.monotonic() + PAUSES_S
    while time.monotonic() < deadline:
        process.process.pause()
        if open_ := storm.priced.held(partitions):
            return [f"usage.priced/{p}@{offset}" for p, offset in sorted(open_)]
        process.process.resume()
        time.sleep(0.05)
    return []


class AtInsert:
    """Misbehaves at inserts into one table or all, `times` often; `caught` is the first of them.

    As a context manager it is in force inside, and waits on exit for those that it has begun.
    """

    def __init__(
        self,
        storm: Storm,
        act: Callable[[Insert], Answer | None],
        table: str = "usage_raw",
        times: int = 1,
    ) -> None:
        self._storm = storm
        self._act = act
        self._table = table
        self._lock = threading.Lock()
        self._left = times
        self._under_way = 0
        self.caught: Insert | None = None
        self.begun = threading.Event()

    def __enter__(self) -> AtInsert:
        misbehave: Misbehaviour = self._misbehave
        self._storm.proxy.misbehave = misbehave
        return self

    def __exit__(self, *_: object) -> None:
        self._storm.proxy.misbehave = None
        seen(lambda: not self._under_way, 70)

    def _misbehave(self, insert: Insert) -> Answer | None:
        with self._lock:
            mine = self._left > 0 and self._table in ("", insert.table)
            if mine:
                self._left -= 1
                self._under_way += 1
                self.caught = self.caught or insert
        if not mine:
            return insert.forward()
        self.begun.set()
        try:
            return self._act(insert)
        finally:
            with self._lock:
                self._under_way -= 1


def gone_on(storm: Storm, since: float, acknowledged: int) -> float:
    """Seconds since then until ClickHouse took another insert from a sink that was told so;
    infinitely many where it took none."""
    if not seen(lambda: storm.proxy.acknowledged > acknowledged, PATIENCE_S):
        return math.inf
    return time.time() - since

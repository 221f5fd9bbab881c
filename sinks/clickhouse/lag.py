"""How far the loader is behind: records of a topic that are not in ClickHouse yet."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from spendstream.sinks.clickhouse import metrics
from spendstream.sinks.clickhouse.tables import TABLES

MEASURE_SECONDS: Final = 1.0

Place = tuple[str, int]
"""Topic and partition."""


class Lag:
    """Told what was read and loaded; sets the gauges when `measure` is called."""

    def __init__(self) -> None:
        self._next: dict[Place, int] = {}
        self._arrived_ms: dict[Place, int] = {}
        self._measured = 0.0

    def begin(self, partition: int, starts: Mapping[str, int]) -> None:
        """From now on the partition is read, each topic from its start."""
        for topic, start in starts.items():
            if topic in TABLES:
                self._next[topic, partition] = start

    def read(self, place: Place, arrived_ms: int) -> None:
        """Records were read, the oldest of which arrived then."""
        self._arrived_ms.setdefault(place, arrived_ms)

    def loaded(self, place: Place, end: int, oldest_ms: int) -> None:
        """What lies before `end` is in ClickHouse; the oldest of it arrived then."""
        self._next[place] = end
        self._arrived_ms[place] = oldest_ms

    def gone(self, partition: int) -> None:
        """It is another loader's now, and so are its gauges."""
        for place in [place for place in self._next if place[1] == partition]:
            del self._next[place]
            self._arrived_ms.pop(place, None)
            for gauge in (metrics.LAG_EVENTS, metrics.BEHIND_SECONDS):
                gauge.labels(*place)  # to remove what was never set raises
                gauge.remove(*place)

    def measure(
        self, now: float, ends: Callable[[Place], tuple[int, int]], at_end: Callable[[Place], bool]
    ) -> None:
        """Set the gauges, at most once a second.

        Args:
            now: monotonic seconds.
            ends: the log's first offset and the next one to be written, negative where unknown.
            at_end: all that can be read is loaded. (Behind it there may be markers of transactions,
                which have offsets, too.)
        """
        if now - self._measured < MEASURE_SECONDS:
            return
        self._measured = now
        now_ms = time.time() * 1_000
        for place, position in self._next.items():
            low, high = ends(place)
            left = 0 if at_end(place) else max(0, high - max(position, low))
            if not left:
                self._arrived_ms.pop(place, None)
            arrived_ms = self._arrived_ms.get(place, now_ms)
            metrics.LAG_EVENTS.labels(*place).set(left)
            metrics.BEHIND_SECONDS.labels(*place).set(max(0.0, now_ms - arrived_ms) / 1_000)

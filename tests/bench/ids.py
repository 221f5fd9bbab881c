"""What remembering ids costs: bytes an id and µs an event, beside a Python set; and whether memory
stays as it is when ids are forgotten as fast as they come.

`python -m tests.bench.ids [--events N] [--through-process]`. Each line is measured in a process of
its own; microseconds are of processor time, bytes of resident memory.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import resource
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

from spendstream.schemas.period import from_ms
from spendstream.schemas.prices.compile import compile_book
from spendstream.schemas.topics import USAGE_EVENTS
from spendstream.streams.core.finish import finish
from spendstream.streams.core.ids import IdIndex
from spendstream.streams.core.outputs import Batch
from spendstream.streams.core.plans import PlanTable
from spendstream.streams.core.process import process
from spendstream.streams.core.state import PartitionState
from tests.support.records import NOON, Call, Record

BATCH: Final = 5_000
AT_ONCE: Final = 400  # as process.py has it
LEVELS: Final = (100_000, 300_000, 1_000_000, 3_000_000, 5_000_000, 20_000_000)
HOUR_MS: Final = 3_600_000


def resident() -> int:
    """Bytes."""
    if sys.platform == "linux":
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # the peak, in bytes on macOS


def random_ids(count: int) -> list[bytes]:
    packed = os.urandom(16 * count)
    return [packed[start : start + 16] for start in range(0, len(packed), 16)]


class PlainSet:
    """As simple as it gets: a set, and the ids of each minute to take out of it again."""

    def __init__(self, remember_ms: int) -> None:
        self._remember_ms = remember_ms
        self._seen: set[bytes] = set()
        self._minutes: deque[tuple[int, list[bytes]]] = deque()

    def take(self, ids: list[bytes], now: int) -> None:
        while self._minutes and self._minutes[0][0] + self._remember_ms <= now:
            self._seen.difference_update(self._minutes.popleft()[1])
        if not self._minutes or self._minutes[-1][0] // 60_000 < now // 60_000:
            self._minutes.append((now, []))
        for one in ids:
            if one not in self._seen:
                self._seen.add(one)
                self._minutes[-1][1].append(one)


class Index:
    """As `process` uses it."""

    def __init__(self, remember_ms: int) -> None:
        self._ids = IdIndex(remember_ms)

    def take(self, ids: list[bytes], now: int) -> None:
        for start in range(0, len(ids), AT_ONCE):
            some = ids[start : start + AT_ONCE]
            self.add(some, self._ids.look_up(some), now)

    def add(self, ids: list[bytes], minutes: list[int], now: int) -> None:
        index = self._ids
        for one, minute in zip(ids, minutes, strict=True):
            index.forget(now)
            if not index.seen(one, minute):
                index.add(one, now)


class InParts(Index):
    """`spent`: seconds of the last ids on merging, on looking up, and on adding."""

    spent = (0.0, 0.0, 0.0)

    def take(self, ids: list[bytes], now: int) -> None:
        spent = [0.0, 0.0, 0.0]
        for start in range(0, len(ids), AT_ONCE):
            some = ids[start : start + AT_ONCE]
            begun = time.process_time()
            self._ids.look_up([])  # a look-up merges first, where it is time to
            merged = time.process_time()
            minutes = self._ids.look_up(some)
            looked_up = time.process_time()
            self.add(some, minutes, now)
            added = time.process_time()
            for part, took in enumerate((merged - begun, looked_up - merged, added - looked_up)):
                spent[part] += took
        self.spent = (spent[0], spent[1], spent[2])


def parts(live: int) -> tuple[float, ...]:
    """µs an event on merging, looking up and adding, as `level` measures them."""
    ids, total, events = InParts(HOUR_MS), [0.0, 0.0, 0.0], 0
    for start in range(0, live * 3 // 2, BATCH):
        ids.take(random_ids(BATCH), NOON + HOUR_MS * start // live)
        if start > live // 2:
            total = [sum(pair) for pair in zip(total, ids.spent, strict=True)]
            events += BATCH
    return tuple(seconds / events * 1e6 for seconds in total)


def level(kind: Callable[[int], Any], live: int, batch: int) -> tuple[float, float, float]:
    """Bytes an id, µs an event, and the longest call in ms, with `live` ids of an hour."""
    ids, now = kind(HOUR_MS), NOON
    ids.take(random_ids(batch), now)
    empty = resident()
    spent = longest = 0.0
    events = 0
    # past the horizon by a half: what is forgotten costs, too
    for start in range(batch, live * 3 // 2, batch):
        some = random_ids(batch)
        now = NOON + HOUR_MS * start // live
        begun = time.process_time()
        ids.take(some, now)
        took = time.process_time() - begun
        if start > live // 2:
            spent, events, longest = spent + took, events + batch, max(longest, took)
    return (resident() - empty) / live, spent / events * 1e6, longest * 1e3


def through_index(events: int, horizon_ms: int) -> Iterator[int]:
    ids = Index(horizon_ms)
    for start in range(0, events, BATCH):
        ids.take(random_ids(BATCH), NOON + start)  # 1,000 events a second
        yield start + BATCH


def through_process(events: int, horizon_ms: int) -> Iterator[int]:
    book, plans, state = compile_book(), PlanTable(), PartitionState(0, 1)
    state.ids = IdIndex(horizon_ms)
    value = Call("", NOON).record().value
    for start in range(0, events, BATCH):
        now = NOON + start
        time_header = from_ms(now).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        headers = [
            header if header[0] != "ce_time" else ("ce_time", time_header.encode())
            for header in Call("", NOON).headers()
        ]
        records = [
            Record(
                USAGE_EVENTS,
                0,
                start + number,
                now,
                b"ws-1",
                value,
                [h if h[0] != "ce_id" else ("ce_id", random.randbytes(12).hex().encode())
                 for h in headers],
            )
            for number in range(BATCH)
        ]  # fmt: skip
        batch = Batch()
        process(state, batch, USAGE_EVENTS, records, book, plans)
        finish(state, batch)
        yield start + BATCH
    assert state.checkpoint.outcomes[USAGE_EVENTS]["priced"] == events


def growth(way: Callable[[int, int], Iterator[int]], events: int) -> list[tuple[int, int]]:
    """The peak of resident bytes in each tenth of the events; a horizon lasts for two of them.

    Peaks, because ids come and go in heaps: what is there varies by some percent within seconds.
    """
    peaks = [0] * 10
    for done in way(events, events // 5):
        tenth = (done - 1) * 10 // events
        peaks[tenth] = max(peaks[tenth], resident())
    return [(events * (n + 1) // 10, peak) for n, peak in enumerate(peaks)]


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ids", description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--through-process", action="store_true", help="minutes, not seconds")
    options = parser.parse_args()
    print(f"{'live ids':>10} {'batch':>6}   {'':8} bytes/id  µs/event  longest call, ms")
    for live, batch in [*((live, BATCH) for live in LEVELS), (300_000, 50), (300_000, 10)]:
        for kind in (Index, PlainSet) if live <= 5_000_000 else (Index,):
            size, spent, longest = alone(level, kind, live, batch)
            name = "IdIndex" if kind is Index else "set"
            print(
                f"{live:>10,} {batch:>6}   {name:8} {size:8.1f} {spent:9.2f} {longest:9.1f}",
                flush=True,
            )
    print(f"\n{'live ids':>10}   µs/event: look-up, add, merge")
    for live in LEVELS:
        merge, look_up, add = alone(parts, live)
        print(f"{live:>10,}   {look_up:17.2f} {add:4.2f} {merge:5.2f}", flush=True)
    ways = [through_index, through_process] if options.through_process else [through_index]
    for way in ways:
        found = alone(growth, way, options.events)
        print(f"\n{way.__name__}: {options.events:,} random ids, five horizons")
        print("  ".join(f"{done / 1e6:g}M: {size >> 20} MiB" for done, size in found))
        third, *later = [max(found[n][1], found[n + 1][1]) for n in (4, 6, 8)]
        grown = (max(later) / third - 1) * 100 / (options.events * 2 / 5 / 1e6)
        print(f"from the third horizon to the fifth: {grown:+.2f} % a million events")


if __name__ == "__main__":
    main()

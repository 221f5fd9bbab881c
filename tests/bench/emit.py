"""Microseconds that `emit()` costs its caller, as percentiles of single calls; with a spool, too.

python -m tests.bench.emit BOOTSTRAP_SERVERS
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from spendstream.producers import UsageEmitter
from spendstream.schemas import Usage, UsageEvent


@dataclass(frozen=True, slots=True)
class EmitCost:
    """Microseconds a call; `delivered` of `calls` reached the broker."""

    calls: int
    delivered: int
    p50_us: float
    p90_us: float
    p99_us: float
    max_us: float


def measure(
    bootstrap_servers: str,
    calls: int = 50_000,
    topic: str = "usage.events",
    spool: Path | None = None,
) -> EmitCost:
    """Emit `calls` different events, 20 a millisecond at most, to a real broker."""
    events = [
        UsageEvent(
            provider="openai",
            request_model="gpt-4o",
            response_model="gpt-4o-2024-08-06",
            usage=Usage(input_tokens=1_000 + i, output_tokens=100, cache_read_input_tokens=i),
            workspace_id=f"ws-{i}",
            user_id=f"user-{i}",
            request_type="chat",
            tags={"team": "search"},
            duration_ms=1_200,
        )
        for i in range(500)
    ]
    clock = time.perf_counter_ns
    taken = []
    with UsageEmitter(bootstrap_servers, topic=topic, spool=spool or "") as emitter:
        for i in range(calls):
            if i % 20 == 0:
                # a service does other things between its calls; without a pause this would
                # measure the queue's backlog
                time.sleep(0.001)
            event = events[i % len(events)]
            begun = clock()
            emitter.emit(event)
            taken.append(clock() - begun)
        emitter.flush(30)
        delivered = emitter.stats.delivered
    taken.sort()

    def percentile(percent: float) -> float:
        return taken[min(int(len(taken) * percent / 100), len(taken) - 1)] / 1000

    return EmitCost(
        calls, delivered, percentile(50), percentile(90), percentile(99), taken[-1] / 1000
    )


def measure_beside(
    bootstrap_servers: str, rounds: int = 3, calls: int = 50_000
) -> tuple[EmitCost, EmitCost]:
    """Without and with a spool, in turns; of each the round with the middle median."""
    without, spooled = [], []
    for _ in range(rounds):
        without.append(measure(bootstrap_servers, calls))
        with tempfile.TemporaryDirectory() as directory:
            spooled.append(measure(bootstrap_servers, calls, spool=Path(directory)))
    middle = rounds // 2
    return (
        sorted(without, key=attrgetter("p50_us"))[middle],
        sorted(spooled, key=attrgetter("p50_us"))[middle],
    )


if __name__ == "__main__":
    for kind, cost in zip(("no spool", "spool"), measure_beside(sys.argv[1]), strict=True):
        print(kind, cost)

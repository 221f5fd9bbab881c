"""Event → ClickHouse latency at a steady rate, from the time each event was *meant* to be sent.

A generator that falls behind would otherwise hide the wait it causes (coordinated omission); its
own lag is reported beside. An event has arrived when a query finds its `seq` loaded.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from clickhouse_connect.driver.client import Client

from spendstream.deploy import topics_admin
from spendstream.producers import UsageEmitter
from spendstream.schemas import Usage, UsageEvent
from tests.servers.clickhouse import ClickHouseServer

PARTITIONS: Final = 4
_POLL_S: Final = 0.05
WARM_UP_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds, over the `events` after the warm-up. `generator_lag_max` is how late the generator
    itself was at worst."""

    events: int
    p50: float
    p90: float
    p99: float
    max: float
    generator_lag_max: float


def measure(
    bootstrap_servers: str, clickhouse: ClickHouseServer, rate: int = 2_000, seconds: float = 40
) -> Latency:
    """Send `rate` events/s through worker and loader; both run as processes of their own."""
    topics_admin.create(bootstrap_servers, PARTITIONS, 1)
    with tempfile.TemporaryDirectory() as directory:
        ready = [Path(directory) / "worker", Path(directory) / "loader"]
        worker = _python(
            "from pathlib import Path;from spendstream.streams.worker import WorkerConfig, run;"
            f"run(WorkerConfig({bootstrap_servers!r}, ready_file=Path({str(ready[0])!r})))"
        )
        loader = _python(
            "from pathlib import Path;"
            "from spendstream.sinks.clickhouse.config import LoaderConfig;"
            "from spendstream.sinks.clickhouse.loader import run;"
            f"run(LoaderConfig({bootstrap_servers!r}, {clickhouse.url!r},"
            f" ready_file=Path({str(ready[1])!r})))"
        )
        try:
            deadline = time.monotonic() + 60
            while not all(file.exists() for file in ready):
                if time.monotonic() > deadline:
                    raise RuntimeError("worker and loader are not ready within 60 s")
                time.sleep(0.1)
            return _run(bootstrap_servers, clickhouse.client("spendstream"), rate, seconds)
        finally:
            for process in (worker, loader):
                process.terminate()
            for process in (worker, loader):
                process.wait(60)


def _python(code: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _run(bootstrap_servers: str, client: Client, rate: int, seconds: float) -> Latency:
    total = int(rate * seconds)
    seen: list[tuple[float, dict[int, int]]] = []  # when a query found which seq by partition
    done = threading.Event()

    def watch() -> None:
        # `positions` is written by the insert itself, and costs the server next to nothing to read
        while not done.is_set():
            rows = client.query(
                "SELECT partition, max(seq) FROM positions WHERE topic = 'usage.priced'"
                " GROUP BY partition"
            ).result_rows
            seen.append((time.time(), {int(p): int(seq) for p, seq in rows}))
            if sum(seen[-1][1].values()) >= total:
                return
            time.sleep(_POLL_S)

    watcher = threading.Thread(target=watch)
    watcher.start()
    lag = 0.0
    start = time.time() + 0.5
    with UsageEmitter(bootstrap_servers, source="bench") as emitter:
        for number in range(total):
            intended = start + number / rate
            wait = intended - time.time()
            if wait > 0:
                time.sleep(wait)
            lag = max(lag, -wait)
            emitter.emit(
                UsageEvent(
                    provider="openai",
                    request_model="gpt-4o",
                    usage=Usage(input_tokens=900, output_tokens=120),
                    workspace_id=f"ws-{number % 200}",
                    user_id=f"user-{number % 1000}",
                    request_type="chat",
                ),
                id=f"latency-{number}",
            )
    watcher.join(60)
    done.set()
    watcher.join()
    arrived: dict[int, float] = {}
    for partition, seq, event_id in client.query(
        "SELECT partition, seq, event_id FROM usage_raw"
    ).result_rows:
        number = int(str(event_id).rpartition("-")[2])
        arrived[number] = next(when for when, at in seen if at.get(partition, 0) >= seq)
    if len(arrived) < total:
        raise RuntimeError(f"{len(arrived)} of {total} events have arrived")
    warm = int(WARM_UP_S * rate)
    waits = sorted(arrived[n] - (start + n / rate) for n in range(warm, total))

    def percentile(percent: float) -> float:
        return waits[min(int(len(waits) * percent / 100), len(waits) - 1)]

    return Latency(len(waits), percentile(50), percentile(90), percentile(99), waits[-1], lag)

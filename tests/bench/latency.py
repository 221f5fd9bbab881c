"""Event → ClickHouse latency at a steady rate, from the time each event was *meant* to be sent.

A generator that falls behind would otherwise hide the wait it causes (coordinated omission); its
own lag is reported beside. An event has arrived when a query on `usage_raw` finds it.
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
_POLL_S: Final = 0.02
_WARM_UP_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds. `generator_lag_max` is how late the generator itself was at worst."""

    events: int
    p50: float
    p90: float
    p99: float
    max: float
    generator_lag_max: float


def measure(
    bootstrap_servers: str, clickhouse: ClickHouseServer, rate: int = 2_000, seconds: float = 20
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
    seen: dict[int, float] = {}  # number of the event → when a query found it
    done = threading.Event()

    def watch() -> None:
        high: dict[int, int] = {}
        while len(seen) < total and not done.is_set():
            where = " OR ".join(f"(partition = {p} AND seq > {s})" for p, s in high.items())
            known = ", ".join(str(p) for p in high)
            if high:
                where += f" OR partition NOT IN ({known})"
            rows = client.query(
                "SELECT partition, seq, event_id FROM usage_raw"
                + (f" WHERE {where}" if where else "")
            ).result_rows
            now = time.time()
            for partition, seq, event_id in rows:
                seen[int(str(event_id).rpartition("-")[2])] = now
                high[partition] = max(high.get(partition, 0), seq)
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
    if len(seen) < total:
        raise RuntimeError(f"{len(seen)} of {total} events have arrived")
    warm = int(_WARM_UP_S * rate)
    waits = sorted(seen[n] - (start + n / rate) for n in range(warm, total))

    def percentile(percent: float) -> float:
        return waits[min(int(len(waits) * percent / 100), len(waits) - 1)]

    return Latency(total, percentile(50), percentile(90), percentile(99), waits[-1], lag)

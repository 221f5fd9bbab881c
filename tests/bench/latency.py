"""Event → ClickHouse and event → alert latency at a steady rate, from the time each event was
*meant* to be sent.

A generator that falls behind would otherwise hide the wait it causes (coordinated omission); its
own lag is reported beside. An event has arrived when a query finds its `seq` loaded; an alert, when
a reader of committed records has it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from clickhouse_connect.driver.client import Client
from confluent_kafka import Consumer, TopicPartition

from spendstream.deploy import topics_admin
from spendstream.producers import UsageEmitter
from spendstream.schemas import Usage, UsageEvent
from spendstream.schemas.topics import USAGE_ALERTS
from tests.servers.clickhouse import ClickHouseServer

PARTITIONS: Final = 4
_POLL_S: Final = 0.05
WARM_UP_S: Final = 20.0
ALARMING: Final = 100
"""Every so manieth event is so dear that it uses up the credit of a workspace of its own."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds, over the `events` that were sent after the warm-up."""

    events: int
    p50: float
    p90: float
    p99: float
    max: float

    @classmethod
    def of(cls, waits: list[float]) -> Latency:
        waits = sorted(waits)
        p50, p90, p99 = (waits[min(len(waits) * p // 100, len(waits) - 1)] for p in (50, 90, 99))
        return cls(len(waits), p50, p90, p99, waits[-1])


@dataclass(frozen=True, slots=True)
class Latencies:
    """`generator_lag_max`: how late the generator itself was at worst, in seconds."""

    to_clickhouse: Latency
    to_alert: Latency
    generator_lag_max: float


def measure(
    bootstrap_servers: str, clickhouse: ClickHouseServer, rate: int = 2_000, seconds: float = 40
) -> Latencies:
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


def _run(bootstrap_servers: str, client: Client, rate: int, seconds: float) -> Latencies:
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

    alerts: dict[int, float] = {}  # when the alert of an event was read
    watchers = [
        threading.Thread(target=watch),
        threading.Thread(target=_read_alerts, args=(bootstrap_servers, done, alerts)),
    ]
    for watcher in watchers:
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
            alarming = number % ALARMING == 0
            emitter.emit(
                UsageEvent(
                    provider="openai",
                    request_model="gpt-4o",
                    usage=Usage(input_tokens=10**8 if alarming else 900, output_tokens=120),
                    workspace_id=f"rich-{number}" if alarming else f"ws-{number % 200}",
                    user_id=f"user-{number % 1000}",
                    request_type="chat",
                ),
                id=f"latency-{number}",
            )
    watchers[0].join(60)
    time.sleep(1.0)  # alerts are there before their events are in ClickHouse; the last ones, too
    done.set()
    for watcher in watchers:
        watcher.join()
    arrived: dict[int, float] = {}
    for partition, seq, event_id in client.query(
        "SELECT partition, seq, event_id FROM usage_raw"
    ).result_rows:
        number = int(str(event_id).rpartition("-")[2])
        arrived[number] = next(when for when, at in seen if at.get(partition, 0) >= seq)
    if len(arrived) < total:
        raise RuntimeError(f"{len(arrived)} of {total} events have arrived")
    if missing := set(range(0, total, ALARMING)) - alerts.keys():
        raise RuntimeError(f"{len(missing)} alerts have not arrived")
    warm = int(WARM_UP_S * rate)
    return Latencies(
        Latency.of([arrived[n] - (start + n / rate) for n in range(warm, total)]),
        Latency.of([at - (start + n / rate) for n, at in alerts.items() if n >= warm]),
        lag,
    )


def _read_alerts(bootstrap_servers: str, done: threading.Event, alerts: dict[int, float]) -> None:
    reader = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "bench-alerts",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 20,
        }
    )
    reader.assign([TopicPartition(USAGE_ALERTS, p, 0) for p in range(PARTITIONS)])
    while not done.is_set():
        for message in reader.consume(500, 0.02):
            if message.error() is None:
                event_id = json.loads(message.value() or b"")["event_id"]
                alerts.setdefault(int(event_id.rpartition("-")[2]), time.time())
    reader.close()

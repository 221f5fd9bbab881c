"""The loader's rows a second beside a bare insert of the same rows: same table, same settings.

Both sides are given what they need beforehand: the loader its topic, the bare insert its rows in
memory, already joined to one body for each insert. So the loader's reading, checking, intents and
tokens are what the ratio shows. As many threads insert on the bare side as the loader has lanes,
and as many rows at once (35,000 are the 32 MB that a loader's insert is cut at).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from clickhouse_connect.driver.client import Client
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from spendstream.deploy.topics_admin import TopicsError, create
from spendstream.schemas.topics import SINK_POSITIONS, USAGE_PRICED
from spendstream.sinks.clickhouse.migrate import migrate
from spendstream.sinks.clickhouse.store import connect
from spendstream.sinks.clickhouse.tables import INSERT_SETTINGS, TABLES

PARTITIONS: Final = 2
TABLE: Final = TABLES[USAGE_PRICED]
_LOADER: Final = """
import json, sys
from pathlib import Path
from spendstream.sinks.clickhouse.config import LoaderConfig
from spendstream.sinks.clickhouse.loader import run
options = json.loads(sys.argv[1])
options["ready_file"] = Path(options["ready_file"])
run(LoaderConfig(**options))
"""


@dataclass(frozen=True, slots=True)
class SinkRound:
    """Rows a second of one round."""

    loader: float
    bare: float


@dataclass(frozen=True, slots=True)
class SinkResult:
    """All rounds."""

    rows: int
    rounds: tuple[SinkRound, ...]


def measure(
    bootstrap_servers: str,
    clickhouse_url: str,
    rounds: int = 5,
    rows: int = 700_000,
    batch: int = 35_000,
    row: Callable[[int, int], bytes] | None = None,
    progress: Callable[[str], None] = print,
) -> SinkResult:
    """Measure on a broker without the topics' rows, and a ClickHouse without the databases.

    `row(seq, partition)` gives a row's bytes; default: the rows of the worker's shape made here.
    Each round has a database and a consumer group of its own; the topic is filled once.
    """
    create(bootstrap_servers, PARTITIONS)
    made = [
        [(row or example_row)(seq, partition) for seq in range(1, rows // PARTITIONS + 1)]
        for partition in range(PARTITIONS)
    ]
    _fill(bootstrap_servers, made)
    found = []
    for number in range(rounds):
        sides: dict[str, float] = {}
        # the side that goes first changes, so that neither always has the warmer machine
        for side in ("loader", "bare") if number % 2 == 0 else ("bare", "loader"):
            database = f"bench_{side}_{number}_{time.time_ns()}"
            client = connect(clickhouse_url)
            migrate(client, database)
            if side == "loader":
                _forget_intents(bootstrap_servers)
                seconds = _load(bootstrap_servers, clickhouse_url, database, rows, batch, client)
            else:
                seconds = _insert(clickhouse_url, database, made, batch)
            sides[side] = rows / seconds
            client.command(f"DROP DATABASE {database}")
            client.close()
        found.append(SinkRound(**sides))
        progress(f"sink round {number + 1}: {sides['loader']:,.0f} and {sides['bare']:,.0f} rows/s")
    return SinkResult(rows, tuple(found))


def _fill(bootstrap_servers: str, made: Sequence[Sequence[bytes]]) -> None:
    producer = Producer(
        {
            "bootstrap.servers": bootstrap_servers,
            "transactional.id": f"bench-sink-{time.time_ns()}",
            "compression.type": "lz4",
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    producer.init_transactions(60)
    for partition, values in enumerate(made):
        for start in range(0, len(values), 5_000):
            producer.begin_transaction()
            for value in values[start : start + 5_000]:
                producer.produce(USAGE_PRICED, value, b"key", partition)
            producer.commit_transaction(60)


def _forget_intents(bootstrap_servers: str) -> None:
    """A new database beside old intents would be taken for one that lost its data."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    admin.delete_topics([SINK_POSITIONS])[SINK_POSITIONS].result()
    deadline = time.monotonic() + 30
    while True:  # a deletion is acknowledged before it is over
        time.sleep(0.2)
        try:
            if create(bootstrap_servers, PARTITIONS):
                return
        except TopicsError:
            if time.monotonic() > deadline:
                raise


def _load(
    bootstrap_servers: str, url: str, database: str, rows: int, batch: int, client: Client
) -> float:
    """Seconds from the loader's first look at its partitions to the last acknowledged row."""
    with tempfile.TemporaryDirectory() as directory:
        ready = Path(directory) / "ready"
        options = {
            "bootstrap_servers": bootstrap_servers,
            "clickhouse_url": url,
            "database": database,
            "group": database,
            "ready_file": str(ready),
            "max_rows": batch,
        }
        process = subprocess.Popen(
            [sys.executable, "-c", _LOADER, json.dumps(options)], stderr=subprocess.DEVNULL
        )
        try:
            _wait(ready.exists, process)
            begun = ready.stat().st_mtime
            # seldom while much is left: the question is work for ClickHouse, too
            for nearly, pause in ((rows - 2 * batch, 0.3), (rows, 0.02)):
                _wait(partial(_loaded, client, nearly), process, pause)
            return time.time() - begun
        finally:
            process.terminate()
            process.wait()


def _loaded(client: Client, rows: int) -> bool:
    return int(str(client.command("SELECT sum(rows) FROM positions"))) >= rows


def _wait(
    condition: Callable[[], bool], process: subprocess.Popen[bytes], pause: float = 0.02
) -> None:
    while not condition():
        if process.poll() is not None:
            raise RuntimeError("the loader ended before it had loaded everything")
        time.sleep(pause)


def _insert(url: str, database: str, made: Sequence[Sequence[bytes]], batch: int) -> float:
    """Seconds of the same rows in inserts of the same size, one thread a partition."""
    bodies = [
        [b"\n".join(values[start : start + batch]) for start in range(0, len(values), batch)]
        for values in made
    ]

    def insert(partition: int) -> None:
        client = connect(url, database)
        for number, body in enumerate(bodies[partition]):
            client.raw_insert(
                TABLE.name,
                TABLE.columns,
                body,
                fmt="JSONEachRow",
                settings={**INSERT_SETTINGS, "insert_deduplication_token": f"{partition}:{number}"},
            )
        client.close()

    threads = [threading.Thread(target=insert, args=(p,)) for p in range(len(bodies))]
    begun = time.time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.time() - begun


_NOW_MS: Final = time.time_ns() // 1_000_000


def example_row(seq: int, partition: int) -> bytes:
    """A row of the worker's shape, about 900 bytes."""
    moment = _NOW_MS - 3_600_000 + seq
    return json.dumps(
        {
            "seq": seq,
            "partition": partition,
            "topic": "usage.events",
            "offset": seq,
            "arrival_ms": moment + 3,
            "time_ms": moment,
            "counted_ms": moment,
            "judged_ms": moment + 3,
            "event_id": f"{partition:08x}-{seq * 7919:024x}",
            "source": "/bench",
            "event": {
                "provider": "openai",
                "response_model": "gpt-4o",
                "response_id": f"chatcmpl-{seq * 104729:024x}",
                "usage": {
                    "input_tokens": 200 + seq % 2_000,
                    "output_tokens": 40 + seq % 400,
                    "cache_read_input_tokens": seq % 200,
                },
                "workspace_id": f"ws-{partition}-{seq % 50}",
                "user_id": f"user-{seq % 400}",
                "request_type": "chat",
                "task_id": f"task-{seq // 20}",
                "tags": {"team": "search"},
            },
            "leaves": [
                {
                    "leaf": leaf,
                    "quantity": 100,
                    "price_atto": "2500000000000",
                    "cost_pico": "250000000",
                }
                for leaf in ("input", "cache_read", "output")
            ],
            "computed_cost_pico": "750000000",
            "cost_pico": "750000000",
            "charge_pico": "750000000",
            "cost_quality": "measured",
            "price_rule": "openai/gpt-4o",
            "price_version": "0123456789abcdef",
            "plan_version": 0,
            "billing_period": "2026-11",
            "origin_period": None,
        },
        separators=(",", ":"),
    ).encode()

"""What the loader's tests stand on: own topics, rows to write, a loader that can be killed.

A broker of the module's own, because the loader's topics have fixed names; each test has them
made anew, which is also a new epoch each time.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

from clickhouse_connect.driver.client import Client
from confluent_kafka import Producer

from spendstream.schemas.event import Trackable, UsageEvent
from spendstream.schemas.reasons import Reason
from spendstream.schemas.records import (
    Alert,
    DeadLetter,
    Header,
    LateUsage,
    Leaf,
    Overage,
    PricedUsage,
)
from spendstream.schemas.topics import DAY_MS, LARGE_MESSAGE_BYTES, USAGE_PRICED
from spendstream.schemas.usage import Usage
from spendstream.sinks.clickhouse.tables import ROLLUPS, TABLES
from tests.servers.clickhouse import ClickHouseServer
from tests.servers.kafka import KafkaServer
from tests.support.topics import make_anew

PARTITIONS: Final = 2
WAIT_SECONDS: Final = 60
_LOADER: Final = """
import json, sys
from pathlib import Path
from spendstream.sinks.clickhouse.config import LoaderConfig
from spendstream.sinks.clickhouse.loader import run
options = json.loads(sys.argv[1])
options["ready_file"] = Path(options["ready_file"])
run(LoaderConfig(**options))
"""
_NOW_MS: Final = time.time_ns() // 1_000_000
_GROUPS: Final = count()


def priced(seq: int, partition: int = 0, **other: Any) -> PricedUsage:
    """A row like a worker's. Every fifth is unpriced, every seventh has no usage."""
    usage = None if seq % 7 == 0 else Usage(
        input_tokens=100 + seq % 900, output_tokens=seq % 300, cache_read_input_tokens=seq % 90
    )  # fmt: skip
    cost = None if seq % 5 == 0 else str(seq * 1_000_003)
    moment = _NOW_MS - (seq % 50) * 3_600_000
    event = UsageEvent(
        provider=("openai", "anthropic")[seq % 2],
        response_model=f"model-{seq % 3}",
        usage=usage,
        workspace_id=f"ws-{partition}-{seq % 11}",
        user_id=None if seq % 4 == 0 else f"user-{seq % 40}",
        request_type=("chat", "grading")[seq % 2],
        task_id=f"task-{seq % 100}" if seq % 3 else None,
        trackable=Trackable(type="doc", id=str(seq % 30)) if seq % 2 else None,
        tags={"team": "a"},
        metadata={"seq": seq},
    )
    fields: dict[str, Any] = {
        "seq": seq,
        "partition": partition,
        "topic": "usage.events",
        "offset": seq,
        "arrival_ms": moment + 5,
        "time_ms": moment,
        "counted_ms": moment,
        "judged_ms": moment + 5,
        "event_id": f"event-{partition}-{seq}",
        "source": "/test",
        "event": event,
        "leaves": () if cost is None else (
            Leaf(leaf="input", quantity=100, price_atto="2500000000000", cost_pico=cost),
        ),
        "computed_cost_pico": cost,
        "cost_pico": cost,
        "charge_pico": cost,
        "cost_quality": "unpriced" if cost is None else "measured",
        "price_rule": None,
        "price_version": "v1",
        "plan_version": 0,
        "billing_period": "2026-11",
        "origin_period": None,
    }  # fmt: skip
    return PricedUsage(**{**fields, **other})


def dead(seq: int, value: bytes | None, key: bytes | None = None, partition: int = 0,
         headers: Sequence[tuple[str, bytes | None]] = ()) -> DeadLetter:  # fmt: skip
    def base64(data: bytes | None) -> str | None:
        return None if data is None else b64encode(data).decode()

    return DeadLetter(
        seq=seq,
        partition=partition,
        topic="usage.events",
        offset=seq,
        arrival_ms=_NOW_MS,
        reason=Reason.INVALID_JSON,
        detail="not JSON",
        key_base64=base64(key),
        value_base64=base64(value),
        headers=tuple(Header(name=name, value_base64=base64(data)) for name, data in headers),
    )


def late(seq: int, partition: int = 0) -> LateUsage:
    row = priced(seq, partition)
    return LateUsage(
        seq=seq, partition=partition, topic="usage.events", offset=seq, arrival_ms=_NOW_MS,
        time_ms=_NOW_MS - 2 * DAY_MS, event_id=row.event_id, source="/test",
        priced_seq=100 + seq, event=row.event,
    )  # fmt: skip


def alert(seq: int, partition: int = 0, **other: Any) -> Alert:
    fields: dict[str, Any] = {
        "seq": seq, "partition": partition, "id": f"a{seq}", "kind": "credit_threshold",
        "workspace_id": f"ws-{partition}-1", "at_ms": _NOW_MS, "limit": "credit", "scope": "",
        "measure": "charge", "window": "month", "threshold_percent": 80, "severity": "warning",
        "action": "warn", "used": "8000000000000", "amount": "10000000000000",
        "episode": "2026-11", "event_id": None, "plan_version": 0,
    }  # fmt: skip
    return Alert(**{**fields, **other})


def overage(seq: int, partition: int = 0) -> Overage:
    return Overage(
        seq=seq, partition=partition, id=f"o{seq}", workspace_id="ws", period="2026-11",
        revision=0, from_cumulative_pico=str(seq - 1), to_cumulative_pico=str(seq), at_ms=_NOW_MS,
        final=False, plan_version=0,
    )  # fmt: skip


@dataclass
class Rig:
    """One test's topics, database and loaders."""

    kafka: KafkaServer
    clickhouse: ClickHouseServer
    database: str
    directory: Path
    group: str = ""
    loaders: list[Loader] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.group = f"sink-{next(_GROUPS)}"
        self.client: Client = self.clickhouse.client(self.database)
        # rows are written as a worker's: transactions, so that markers lie between them
        self.producer = self.new_producer()

    def new_producer(self) -> Producer:
        producer = Producer(
            {
                "bootstrap.servers": self.kafka.bootstrap_servers,
                "transactional.id": f"test-{self.group}-{time.time_ns()}",
                "message.max.bytes": LARGE_MESSAGE_BYTES,
                "log_level": 2,
            }
        )
        producer.init_transactions(60)
        return producer

    def send(self, records: Iterable[Any], topic: str = USAGE_PRICED, size: int = 1_000) -> None:
        """Write rows into their partitions, `size` of them a transaction."""
        pending = list(records)
        for start in range(0, len(pending), size):
            self.producer.begin_transaction()
            for record in pending[start : start + size]:
                value = record.model_dump_json().encode()
                self.producer.produce(topic, value, b"key", record.partition)
                self.producer.poll(0)
            self.producer.commit_transaction(30)

    def start(self, url: str | None = None, **options: Any) -> Loader:
        """A loader process, ready or not."""
        loader = Loader(
            {
                "bootstrap_servers": self.kafka.bootstrap_servers,
                "clickhouse_url": url or self.clickhouse.url,
                "database": self.database,
                "group": self.group,
                "linger_ms": 100,
                "ready_file": str(self.directory / f"ready-{len(self.loaders)}"),
                **options,
            },
            self.directory / f"loader-{len(self.loaders)}.log",
        )
        self.loaders.append(loader)
        return loader

    def loaded(self, topic: str = USAGE_PRICED) -> int:
        """Sum over the partitions of the highest seq in ClickHouse."""
        if not self.client.command("EXISTS TABLE positions"):
            return 0
        rows = self.client.query(
            "SELECT sum(top) FROM (SELECT max(seq) AS top FROM positions"
            " WHERE topic = {topic:String} GROUP BY partition)",
            parameters={"topic": topic},
        ).result_rows
        return int(rows[0][0])

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                logs = "\n".join(loader.log.read_text()[-4000:] for loader in self.loaders)
                raise AssertionError(f"waited in vain for {what}\n{logs}")
            time.sleep(0.1)

    def wait_loaded(self, rows: int, topic: str = USAGE_PRICED) -> None:
        self.wait(lambda: self.loaded(topic) >= rows, f"{rows} rows of {topic}")
        self.wait(self.quiet, "the insert's last view")

    def quiet(self) -> bool:
        """No insert is under way."""
        return not self.client.command(
            "SELECT count() FROM system.processes WHERE query_kind = 'Insert'"
        )

    def check_exact(self, rows: int, topic: str = USAGE_PRICED) -> None:
        """Every row is there once, and every rollup says what a GROUP BY over raw says."""
        table = TABLES[topic].name
        found = self.client.query(
            f"SELECT count(), uniqExact(partition, seq), sum(top) FROM {table},"
            f" (SELECT sum(top) AS top FROM (SELECT max(seq) AS top FROM {table}"
            " GROUP BY partition)) AS tops GROUP BY top"
        ).result_rows
        count_, distinct = found[0][:2] if found else (0, 0)
        assert (count_, distinct) == (rows, rows), f"{count_} rows, {distinct} of them distinct"
        assert self.loaded(topic) == rows
        stored = self.client.query(
            "SELECT sum(rows) FROM positions WHERE topic = {topic:String}",
            parameters={"topic": topic},
        ).result_rows[0][0]
        assert stored == rows
        if topic == USAGE_PRICED:
            for rollup in ROLLUPS:
                self.check_rollup(rollup)

    def check_rollup(self, rollup: str) -> None:
        """To the pico: the view's own SELECT, run over raw now, beside what the view kept."""
        select = self.client.query(
            "SELECT as_select FROM system.tables"
            " WHERE database = currentDatabase() AND name = {view:String}",
            parameters={"view": f"{rollup}_view"},
        ).result_rows[0][0]
        columns = [
            f"uniqMerge({name}) AS {name}" if kind.startswith("AggregateFunction(uniq") else name
            for name, kind in self.client.query(
                "SELECT name, type FROM system.columns"
                " WHERE database = currentDatabase() AND table = {table:String}",
                parameters={"table": rollup},
            ).result_rows
        ]
        names = ", ".join(columns)
        group = "GROUP BY day, workspace_id, last_seq" if rollup == "usage_unique_users" else ""
        final = "" if rollup == "usage_ids" else "FINAL"
        kept = self.client.query(f"SELECT {names} FROM {rollup} {final} {group} ORDER BY ALL")
        meant = self.client.query(f"SELECT {names} FROM ({select}) {group} ORDER BY ALL")
        assert meant.result_rows, f"{rollup}: nothing to compare"
        assert kept.result_rows == meant.result_rows, rollup

    def close(self) -> None:
        for loader in self.loaders:
            loader.kill()
        self.client.close()


class Loader:
    """A loader process."""

    def __init__(self, options: dict[str, Any], log: Path) -> None:
        self.log = log
        self._ready = Path(options["ready_file"])
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _LOADER, json.dumps(options)],
                stdout=output,
                stderr=output,
                cwd=tempfile.gettempdir(),
            )

    @property
    def ready(self) -> bool:
        return self._ready.exists()

    def said(self, text: str) -> bool:
        return text in self.log.read_text()

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.process.wait(60)


@contextmanager
def rig(
    kafka: KafkaServer, clickhouse: ClickHouseServer, database: str, directory: Path
) -> Iterator[Rig]:
    make_anew(kafka.bootstrap_servers, PARTITIONS)
    made = Rig(kafka, clickhouse, database, directory)
    try:
        yield made
    finally:
        made.close()

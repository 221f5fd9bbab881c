"""Worker and loader as processes on a real broker: settled means counted and stored, and exact."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from spendstream.api.jobs.control import apply_plans
from spendstream.api.jobs.verify import verify
from spendstream.api.log import read_to_end, reader
from spendstream.api.reports import report
from spendstream.api.settled import Behind, NotSettled, data_ends, wait_settled
from spendstream.api.state import read_workspace_states
from spendstream.deploy.manifest import writing
from spendstream.deploy.topics_admin import create
from spendstream.producers import UsageEmitter
from spendstream.schemas import Plan
from spendstream.schemas.topics import USAGE_EVENTS, USAGE_OVERAGE, WORKSPACE_COMMANDS
from spendstream.sinks.clickhouse.migrate import migrate
from tests.integration.stored import PARTITIONS, record_of, some_events
from tests.servers.clickhouse import ClickHouseServer
from tests.servers.kafka import KafkaServer
from tests.support.waiting import until

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.clickhouse,
    pytest.mark.xdist_group("settled"),
]

DATABASE = "settled_test"
WORKER = """
import sys
from pathlib import Path
from spendstream.streams.worker import WorkerConfig, run
run(WorkerConfig(sys.argv[1], ready_file=Path(sys.argv[2])))
"""
LOADER = """
import sys
from pathlib import Path
from spendstream.sinks.clickhouse.config import LoaderConfig
from spendstream.sinks.clickhouse.loader import run
run(LoaderConfig(sys.argv[1], sys.argv[3], sys.argv[4], ready_file=Path(sys.argv[2])))
"""


@pytest.fixture(scope="module")
def broker(broker: KafkaServer) -> KafkaServer:
    create(broker.bootstrap_servers, PARTITIONS)
    return broker


@pytest.fixture(scope="module")
def client(clickhouse: ClickHouseServer) -> Iterator[Client]:
    connected = clickhouse.client()
    connected.command(f"DROP DATABASE IF EXISTS {DATABASE}")
    migrate(connected, DATABASE)
    yield connected
    connected.command(f"DROP DATABASE {DATABASE}")
    connected.close()


@contextmanager
def running(code: str, directory: Path, name: str, *arguments: str) -> Iterator[None]:
    """A process of ours until the end of the block; its last words on failure."""
    ready = directory / f"{name}.ready"
    with (directory / f"{name}.log").open("wb") as log:
        command = [sys.executable, "-c", code, arguments[0], str(ready), *arguments[1:]]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while not ready.exists():
            assert process.poll() is None, (directory / f"{name}.log").read_text()[-3000:]
            assert time.monotonic() < deadline, (directory / f"{name}.log").read_text()[-3000:]
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(40)


def test_settled_and_exact_or_it_says_who_is_behind(
    broker: KafkaServer, clickhouse: ClickHouseServer, client: Client, tmp_path: Path
) -> None:
    bootstrap = broker.bootstrap_servers
    wait_settled(bootstrap, client, timeout=5)  # nothing was sent: nothing to wait for
    plan = Plan(credit_pico=5 * 10**10, overage=True)
    apply_plans(bootstrap, {None: plan}, author="test")
    now = int(time.time() * 1000)
    events = some_events(3_000, start_ms=now - 3_000_000, step_ms=1_000)
    with writing(tmp_path, "test") as manifest:
        emitter = UsageEmitter(bootstrap, source="test")
        for sent in events:
            assert emitter.emit(sent.event, id=sent.id, time_ms=sent.time_ms)
            manifest.add(sent.id, sent.time_ms, sent.event)
        emitter.close(30)

    with pytest.raises(NotSettled, match=r"the worker is behind \(usage\.events partition 0"):
        wait_settled(bootstrap, client, timeout=0.5)

    with running(WORKER, tmp_path, "worker", bootstrap):
        with pytest.raises(NotSettled, match=r"the sink is behind \(usage\.priced partition 0"):
            wait_settled(bootstrap, client, timeout=15)
        seen: list[list[Behind]] = []
        with running(LOADER, tmp_path, "loader", bootstrap, clickhouse.url, DATABASE):
            wait_settled(bootstrap, client, 60, seen.append)
            assert report(client, [])[0]["requests"] == 3_000
            found = verify(client, bootstrap, tmp_path)
            assert found["differences"] == []
            assert found["events"] == found["manifest_events"] == 3_000

            misrouted(bootstrap, count=40, now=now)
            aborted(bootstrap)
            wait_settled(bootstrap, client, 60)
            assert report(client, [])[0]["requests"] == 3_040
            found = verify(client, bootstrap, tmp_path)
            assert found["differences"] == []
            assert found["outside_manifests"] == 40
            with reader(bootstrap) as consumer:
                assert sum(data_ends(consumer, WORKSPACE_COMMANDS).values()) >= 40

            state = read_workspace_states(bootstrap, "ws-1")["ws-1"]
            month = report(client, ["workspace", "month"], filters={"workspace": "ws-1"})
            assert state.workspace_id == "ws-1"
            assert state.period in {row["month"] for row in month}
            assert read_workspace_states(bootstrap, "ws-none") == {}
    assert any(item.missing > 0 for behind in seen for item in behind)
    assert client.query("SELECT count() FROM overage").result_rows[0][0] > 0, USAGE_OVERAGE


def test_what_stands_behind_an_open_transaction_is_not_there_yet(broker: KafkaServer) -> None:
    topic, servers = "behind-a-transaction", broker.bootstrap_servers
    admin = AdminClient({"bootstrap.servers": servers})  # once it is gone, nobody answers
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(20)

    def held() -> tuple[dict[int, int], list[bytes | None]]:
        with reader(servers) as consumer:
            ends = data_ends(consumer, topic)
        return ends, [message.value() for message in read_to_end(servers, topic, timeout=5)]

    plain = Producer({"bootstrap.servers": servers})
    hanging = Producer({"bootstrap.servers": servers, "transactional.id": "test-hanging"})
    hanging.init_transactions(20)
    hanging.begin_transaction()
    for producer, value in ((plain, b"before"), (hanging, b"open"), (plain, b"behind")):
        producer.produce(topic, value)
        producer.flush(10)
    assert held() == ({0: 1}, [b"before"])
    hanging.abort_transaction(20)
    until(lambda: held() == ({0: 3}, [b"before", b"behind"]), 20)


def misrouted(bootstrap: str, count: int, now: int) -> None:
    """Events in the partition that is not their own, in a transaction: markers follow them."""
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": "test-misrouted"})
    producer.init_transactions(20)
    producer.begin_transaction()
    for sent in some_events(count, start_ms=now, step_ms=1):
        record = record_of(sent)
        for partition in range(PARTITIONS):
            event_id = f"misrouted-{sent.id}".encode()
            headers: list[tuple[str, str | bytes | None]] = [
                (n, event_id if n == "ce_id" else v) for n, v in record.headers
            ]
            producer.produce(USAGE_EVENTS, record.value, record.key, partition, headers=headers)
    producer.commit_transaction(20)


def aborted(bootstrap: str) -> None:
    """Records that nobody will ever read, at the end of an input."""
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": "test-aborted"})
    producer.init_transactions(20)
    producer.begin_transaction()
    for partition in range(PARTITIONS):
        producer.produce(USAGE_EVENTS, b"never", b"key", partition)
    producer.flush(10)
    producer.abort_transaction(20)

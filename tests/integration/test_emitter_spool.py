"""The spool on a real broker: what a kill -9 of the service leaves is sent by the next process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from spendstream.producers import UsageEmitter
from spendstream.schemas import Usage, UsageEvent
from tests.integration.test_emitter import PARTITIONS, ids, read
from tests.servers.kafka import KafkaServer
from tests.support.waiting import until

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]

SERVICE = """
import sys
from spendstream.producers import UsageEmitter
from spendstream.schemas import Usage, UsageEvent

servers, topic, spool, first, timeout = sys.argv[1:]
usage = UsageEmitter(servers, topic=topic, spool=spool, message_timeout_ms=int(timeout))
number = int(first)
for line in sys.stdin:
    for number in range(number, number + int(line)):
        usage.emit(
            UsageEvent(
                provider="openai",
                request_model="gpt-4o",
                usage=Usage(input_tokens=number, output_tokens=1),
                workspace_id=f"ws-{number % 97}",
            ),
            id=f"id-{number}",
        )
    number += 1
    usage._spool.settle(20)
    print(number, usage.stats.delivered, flush=True)
"""


class Service:
    """A process that emits as it is told, and that says what is on disk or in Kafka."""

    def __init__(
        self, servers: str, topic: str, spool: Path, first: int, timeout_ms: int = 300_000
    ) -> None:
        command = [sys.executable, "-c", SERVICE, servers, topic, spool, first, timeout_ms]
        self._process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def emit(self, count: int) -> tuple[int, int]:
        """Returns (the next event's number, how many were delivered)."""
        self.begin(count)
        assert self._process.stdout is not None
        number, delivered = self._process.stdout.readline().split()
        return int(number), int(delivered)

    def begin(self, count: int) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()


@pytest.fixture
def broker(kafka_server: Callable[[], KafkaServer]) -> KafkaServer:
    broker = kafka_server()
    if broker.kind == "tansu":
        pytest.skip("the embedded broker forgets its topics")
    return broker


def make_topic(broker: KafkaServer) -> str:
    topic = f"spool-{uuid.uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(20)
    return topic


def event(number: int) -> UsageEvent:
    return UsageEvent(
        provider="openai",
        request_model="gpt-4o",
        usage=Usage(input_tokens=number, output_tokens=1),
        workspace_id=f"ws-{number % 97}",
    )


def test_a_killed_service_and_a_stopped_broker_lose_nothing_that_was_written(
    broker: KafkaServer, tmp_path: Path
) -> None:
    topic, spool = make_topic(broker), tmp_path / "spool"
    service = Service(broker.bootstrap_servers, topic, spool, 0)
    emitted, _ = service.emit(2_000)
    broker.kill()
    emitted, delivered = service.emit(5_000)
    assert delivered <= 2_000
    service.kill()
    service = Service(broker.bootstrap_servers, topic, spool, emitted)
    emitted, delivered = service.emit(1_000)
    assert (emitted, delivered) == (8_000, 0)
    service.kill()
    broker.start()
    with UsageEmitter(broker.bootstrap_servers, topic=topic, spool=spool) as usage:
        until(lambda: usage.stats.recovered >= 6_000, 20)
        assert usage.emit(event(8_000), id="id-8000")
        assert usage.flush(60) == 0
        stats = usage.stats
        assert stats.delivered == stats.recovered + 1
        assert (stats.spooled, stats.queued, stats.lost) == (0, 0, 0)
    found = ids(read(broker.bootstrap_servers, topic))
    assert set(found) == {f"id-{number}" for number in range(8_001)}
    # what was acknowledged and not yet deleted when the service died
    assert max(found.values()) <= 3


def test_kills_in_the_midst_of_emitting_lose_only_the_newest(
    broker: KafkaServer, tmp_path: Path
) -> None:
    topic, spool = make_topic(broker), tmp_path / "spool"
    certain: set[str] = set()
    number = 0
    for _ in range(4):
        service = Service(broker.bootstrap_servers, topic, spool, number)
        first = number
        number, _ = service.emit(1_000)
        certain.update(f"id-{n}" for n in range(first, number))
        service.begin(20_000)
        until(lambda: any(spool.glob("*.sqlite")), 20)
        service.kill()
        number += 20_000
    with UsageEmitter(broker.bootstrap_servers, topic=topic, spool=spool) as usage:
        assert usage.emit(event(number), id="last")
        assert usage.flush(60) == 0
    found = set(ids(read(broker.bootstrap_servers, topic)))
    assert found >= certain | {"last"}


def test_what_expired_while_the_broker_was_away_arrives(
    broker: KafkaServer, tmp_path: Path
) -> None:
    topic = make_topic(broker)
    with UsageEmitter(
        broker.bootstrap_servers, topic=topic, spool=tmp_path, message_timeout_ms=1_000
    ) as usage:
        broker.kill()
        for number in range(500):
            assert usage.emit(event(number), id=f"id-{number}")
        spool = usage._spool
        assert spool is not None
        until(lambda: spool.held == 500, 30)  # Kafka's client has given up all of them
        assert usage.stats.queued == usage.stats.spooled == 500
        broker.start()
        assert usage.flush(60) == 0
        assert (usage.stats.delivered, usage.stats.lost) == (500, 0)
    found = ids(read(broker.bootstrap_servers, topic))
    assert set(found) == {f"id-{number}" for number in range(500)}


def test_exit_with_a_spool_is_bounded_and_leaves_the_rest_on_disk(
    broker: KafkaServer, tmp_path: Path
) -> None:
    topic = make_topic(broker)
    broker.kill()
    script = """
import sys
from spendstream.producers import UsageEmitter
from spendstream.schemas import UsageEvent

usage = UsageEmitter(sys.argv[1], topic=sys.argv[2], spool=sys.argv[3], exit_timeout=0.5)
event = UsageEvent(provider="openai", request_model="gpt-4o", workspace_id="ws-1")
for number in range(1000):
    usage.emit(event, id=str(number))
"""
    command = [sys.executable, "-c", script, broker.bootstrap_servers, topic, str(tmp_path)]
    done = subprocess.run(command, check=True, timeout=60, capture_output=True, text=True)
    assert "dropped" not in done.stderr
    broker.start()
    with UsageEmitter(broker.bootstrap_servers, topic=topic, spool=tmp_path) as usage:
        until(lambda: usage.stats.recovered == 1_000, 20)
        assert usage.flush(60) == 0
    assert set(ids(read(broker.bootstrap_servers, topic))) == {str(n) for n in range(1_000)}


def test_a_dropped_event_is_reported_to_kafka(kafka: KafkaServer) -> None:
    topic = make_topic(kafka)
    with UsageEmitter(kafka.bootstrap_servers, topic=topic) as usage:
        usage.emit(event(1), id="")
        usage.emit(event(2), id="id-2")
        usage.emit(event(3), id="id-3")
    found = [dict(message.headers() or []) for message in read(kafka.bootstrap_servers, topic)]
    assert {h["ce_id"]: h.get("ce_dropped") for h in found} == {b"id-2": b"1", b"id-3": None}

"""The emitter on a real broker: what arrives, what is counted, what never happens."""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Message, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from spendstream.deploy.embedded.broker import free_port
from spendstream.producers import Drop, UsageEmitter
from spendstream.schemas import Usage, UsageEvent
from spendstream.schemas.partition import partition_of
from tests.servers.kafka import KafkaServer, TansuKafka
from tests.servers.processes import ServerProcess
from tests.support.waiting import until

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]

PARTITIONS = 6


def event(number: int, workspace: str | None = None) -> UsageEvent:
    return UsageEvent(
        provider="openai",
        request_model="gpt-4o",
        usage=Usage(input_tokens=number, output_tokens=1),
        workspace_id=workspace or f"ws-{number}",
    )


@pytest.fixture
def topic(kafka: KafkaServer) -> str:
    return make_topic(kafka)


def make_topic(kafka: KafkaServer) -> str:
    name = f"emitter-{uuid.uuid4().hex}"
    _create(kafka.bootstrap_servers, name)
    return name


def _create(bootstrap_servers: str, topic: str, **config: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1, config=config)])[topic].result(20)


def read(bootstrap_servers: str, topic: str) -> list[Message]:
    """Everything that is in the topic now."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "reader",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    messages: list[Message] = []
    ended = 0
    deadline = time.monotonic() + 30
    while ended < PARTITIONS:
        assert time.monotonic() < deadline, "the topic was not read to its end"
        message = consumer.poll(1)
        if message is None:
            continue
        if message.error() is None:
            messages.append(message)
        else:
            ended += 1
    consumer.close()
    return messages


def ids(messages: list[Message]) -> Counter[str]:
    found: Counter[str] = Counter()
    for message in messages:
        event_id = dict(message.headers() or [])["ce_id"]
        assert isinstance(event_id, bytes)
        found[event_id.decode()] += 1
    return found


def test_key_headers_value_and_partition(kafka: KafkaServer, topic: str) -> None:
    names = [f"ws-{n}" for n in range(50)] + ["späße", "中文", "a b", "x" * 128]
    with UsageEmitter(kafka.bootstrap_servers, source="svc", topic=topic) as emitter:
        for number, name in enumerate(names):
            assert emitter.emit(event(number, name), id=f"id-{number}", time_ms=1_795_341_600_123)
        assert emitter.flush(20) == 0
        assert emitter.stats.delivered == len(names)
        assert emitter.stats.lost == emitter.stats.queued == 0
    messages = read(kafka.bootstrap_servers, topic)
    assert len(messages) == len(names)
    for message in messages:
        key = message.key()
        value = json.loads(message.value() or b"")
        assert key is not None
        assert value["workspace_id"] == key.decode()
        assert message.partition() == partition_of(key.decode(), PARTITIONS)
        headers = dict(message.headers() or [])
        assert headers == {
            "ce_specversion": b"1.0",
            "ce_id": f"id-{value['usage']['input_tokens']}".encode(),
            "ce_source": b"svc",
            "ce_type": b"spendstream.usage.v1",
            "ce_time": b"2026-11-22T10:00:00.123Z",
            "content-type": b"application/json",
        }


def test_default_ids_differ_and_default_time_is_now(kafka: KafkaServer, topic: str) -> None:
    with UsageEmitter(kafka.bootstrap_servers, topic=topic) as emitter:
        for number in range(100):
            emitter.emit(event(number))
    assert max(ids(read(kafka.bootstrap_servers, topic)).values()) == 1


def test_a_full_queue_is_counted_and_logged_and_never_waited_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "spendstream.producers")
    emitter = UsageEmitter(f"127.0.0.1:{free_port()}", queue_buffering_max_messages=100)
    begun = time.monotonic()
    taken = [emitter.emit(event(number)) for number in range(1_000)]
    assert time.monotonic() - begun < 0.5
    assert taken == [True] * 100 + [False] * 900
    assert emitter.stats.dropped == {Drop.QUEUE_FULL: 900}
    assert emitter.stats.queued == 100
    assert emitter.close(timeout=0.1) == 100
    assert emitter.stats.dropped == {Drop.QUEUE_FULL: 900, Drop.ABANDONED: 100}
    dropped = [r.getMessage() for r in caplog.records if "dropped" in r.getMessage()]
    assert sum(int(message.split()[0]) for message in dropped) == 1_000


def test_what_expires_is_counted() -> None:
    emitter = UsageEmitter(f"127.0.0.1:{free_port()}", message_timeout_ms=500)
    for number in range(10):
        emitter.emit(event(number))
    assert emitter.flush(20) == 0
    assert emitter.stats.dropped == {Drop.EXPIRED: 10}
    emitter.close()


def test_a_topic_that_is_missing_is_counted(kafka: KafkaServer) -> None:
    with UsageEmitter(
        kafka.bootstrap_servers,
        topic="nobody made this",  # not even a legal name, so that no broker creates it
        message_timeout_ms=2_000,
    ) as emitter:
        emitter.emit(event(1))
        emitter.flush(20)
        assert emitter.stats.lost == 1


@pytest.mark.parametrize("spooled", [False, True])
def test_a_batch_that_is_too_large_for_the_broker_costs_no_event_that_is_not(
    spooled: bool, apache_broker: KafkaServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    topic = f"small-{uuid.uuid4().hex}"
    _create(apache_broker.bootstrap_servers, topic, **{"max.message.bytes": "5000"})
    noise = "".join(uuid.uuid4().hex for _ in range(300))  # not to be compressed below the limit
    large = event(0, "large").model_copy(update={"metadata": {"text": noise}})
    with UsageEmitter(
        apache_broker.bootstrap_servers, topic=topic, spool=tmp_path if spooled else ""
    ) as emitter:
        for number in range(3_000):
            emitter.emit(event(number), id=f"id-{number}")
        emitter.emit(large, id="large")
        assert emitter.flush(60) == 0
        assert emitter.stats.dropped == {Drop.FAILED: 1}
    found = ids(read(apache_broker.bootstrap_servers, topic))
    assert set(found) == {f"id-{number}" for number in range(3_000)}
    said = [r.getMessage() for r in caplog.records if "max.message.bytes" in r.getMessage()]
    assert len(said) == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda emit: emit(None),
        lambda emit: emit({"provider": "openai"}),
        lambda emit: emit(event(1), id=""),
        lambda emit: emit(event(1), id=7),
        lambda emit: emit(event(1), id="a\nb"),
        lambda emit: emit(event(1), time_ms=-1),
        lambda emit: emit(event(1), time_ms=1.5),
        lambda emit: emit(UsageEvent.model_construct(provider="openai", workspace_id="\ud800")),
        lambda emit: emit(event(1).model_copy(update={"user_id": "\ud800"})),
        lambda emit: emit(event(1).model_copy(update={"workspace_id": None})),
    ],
)
def test_bad_arguments_are_counted_never_raised(
    call: Callable[[Callable[..., bool]], bool], kafka: KafkaServer, topic: str
) -> None:
    with UsageEmitter(kafka.bootstrap_servers, topic=topic) as emitter:
        assert call(emitter.emit) is False
        assert emitter.stats.dropped == {Drop.INVALID: 1}


def test_after_close_events_are_counted(kafka: KafkaServer, topic: str) -> None:
    emitter = UsageEmitter(kafka.bootstrap_servers, topic=topic)
    assert emitter.emit(event(1))
    assert emitter.close() == 0
    assert emitter.emit(event(2)) is False
    assert emitter.stats.dropped == {Drop.CLOSED: 1}
    assert emitter.stats.delivered == 1
    assert emitter.close() == 0


def test_a_broker_that_comes_back_gets_every_event_once(
    kafka_server: Callable[[], KafkaServer],
) -> None:
    broker = kafka_server()
    topic = make_topic(broker)
    emitter = UsageEmitter(broker.bootstrap_servers, topic=topic)
    for number in range(500):
        emitter.emit(event(number), id=f"id-{number}")
    emitter.flush(20)
    assert emitter.stats.retried == 0
    own = isinstance(broker, ServerProcess)
    if isinstance(broker, ServerProcess):  # it dies with the next ones on their way to it
        os.kill(broker.pid, signal.SIGSTOP)
    else:
        broker.kill()
    for number in range(500, 1_000):
        assert emitter.emit(event(number), id=f"id-{number}")
    if own:
        until(lambda: sum(emitter._counters._transmitted.values()) > 500, 20)
        broker.kill()
    assert emitter.stats.queued == 500
    if broker.kind == "tansu":
        pytest.skip("the embedded broker forgets its topics")
    broker.start()
    assert emitter.flush(60) == 0
    assert emitter.stats.delivered == 1_000
    if own:
        until(lambda: emitter.stats.retried > 0, 10)
    emitter.close()
    assert ids(read(broker.bootstrap_servers, topic)) == Counter(
        {f"id-{number}": 1 for number in range(1_000)}
    )


def test_a_broker_that_forgot_everything_gets_what_was_queued() -> None:
    """The embedded broker after a crash: Kafka's client calls that fatal and would drop it all."""
    with TansuKafka() as broker:
        server = broker.bootstrap_servers
        emitter = UsageEmitter(server, topic="t")
        _create(server, "t")
        for number in range(100):
            emitter.emit(event(number), id=f"before-{number}")
        assert emitter.flush(20) == 0
        broker.kill()
        for number in range(100):
            assert emitter.emit(event(number), id=f"while-{number}")
        broker.start()
        _create(server, "t")
        for number in range(100):
            assert emitter.emit(event(number), id=f"after-{number}")
        assert emitter.flush(60) == 0
        emitter.close()
        assert emitter.stats.dropped == {}
        assert emitter.stats.delivered == 300
        names = {f"{when}-{n}" for when in ("while", "after") for n in range(100)}
        assert set(ids(read(server, "t"))) == names


def test_threads_share_an_emitter(kafka: KafkaServer, topic: str) -> None:
    with UsageEmitter(kafka.bootstrap_servers, topic=topic) as emitter:

        def work(thread: int) -> None:
            for number in range(1_000):
                emitter.emit(event(number), id=f"{thread}-{number}")

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        emitter.flush(20)
        assert emitter.stats.delivered == 8_000
    found = ids(read(kafka.bootstrap_servers, topic))
    assert len(found) == 8_000
    assert max(found.values()) == 1


def test_coroutines_are_not_held_up(kafka: KafkaServer, topic: str) -> None:
    async def run(emitter: UsageEmitter) -> float:
        longest = 0.0

        async def watch() -> None:
            nonlocal longest
            while True:
                before = time.monotonic()
                await asyncio.sleep(0.001)
                longest = max(longest, time.monotonic() - before)

        async def call(task: int) -> None:
            for number in range(50):
                emitter.emit(event(number), id=f"{task}-{number}")
                await asyncio.sleep(0)

        watcher = asyncio.create_task(watch())
        await asyncio.gather(*(call(task) for task in range(20)))
        watcher.cancel()
        return longest

    with UsageEmitter(kafka.bootstrap_servers, topic=topic) as emitter:
        assert asyncio.run(run(emitter)) < 0.5
    assert len(ids(read(kafka.bootstrap_servers, topic))) == 1_000


def test_a_forked_child_sends_its_own_events_only(kafka: KafkaServer, topic: str) -> None:
    # nothing leaves the queue before the fork
    emitter = UsageEmitter(kafka.bootstrap_servers, topic=topic, linger_ms=2_000)
    for number in range(100):
        emitter.emit(event(number), id=f"parent-{number}")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            fresh = emitter.stats.queued == emitter.stats.delivered == 0
            for number in range(100):
                emitter.emit(event(number), id=f"child-{number}")
            code = 0 if fresh and emitter.close(20) == 0 else 1
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert emitter.close(20) == 0
    assert emitter.stats.delivered == 100
    expected = {f"{who}-{number}": 1 for who in ("parent", "child") for number in range(100)}
    assert ids(read(kafka.bootstrap_servers, topic)) == Counter(expected)


def _emit_in_worker(emitter: UsageEmitter) -> None:
    for number in range(100):
        emitter.emit(event(number), id=f"worker-{number}")


def test_a_multiprocessing_worker_flushes_at_its_end(kafka: KafkaServer, topic: str) -> None:
    emitter = UsageEmitter(kafka.bootstrap_servers, topic=topic, linger_ms=2_000)
    worker: Any = multiprocessing.get_context("fork").Process(
        target=_emit_in_worker, args=(emitter,)
    )
    worker.start()
    worker.join(30)
    assert worker.exitcode == 0
    emitter.close()
    assert len(ids(read(kafka.bootstrap_servers, topic))) == 100


EXITING = """
import sys
from spendstream.producers import UsageEmitter
from spendstream.schemas import UsageEvent

emitter = UsageEmitter(sys.argv[1], topic=sys.argv[2], linger_ms=1000, exit_timeout=2.0)
event = UsageEvent(provider="openai", request_model="gpt-4o", workspace_id="ws-1")
for number in range(1000):
    emitter.emit(event, id=str(number))
"""


def test_what_is_queued_at_exit_is_sent(kafka: KafkaServer, topic: str) -> None:
    command = [sys.executable, "-c", EXITING, kafka.bootstrap_servers, topic]
    subprocess.run(command, check=True, timeout=60)
    assert len(ids(read(kafka.bootstrap_servers, topic))) == 1_000


def test_exit_is_bounded_where_the_broker_is_gone() -> None:
    command = [sys.executable, "-c", EXITING, f"127.0.0.1:{free_port()}", "usage.events"]
    begun = time.monotonic()
    done = subprocess.run(command, check=True, timeout=60, capture_output=True, text=True)
    assert time.monotonic() - begun < 15
    dropped = re.findall(r"(\d+) usage events dropped: still undelivered at exit", done.stderr)
    assert sum(map(int, dropped)) == 1_000  # in one line or two: another thread logs, too


BASE_ONLY = """
import sys
before = set(sys.modules)
import spendstream.producers
heavy = {"faust", "aiokafka", "msgspec", "structlog", "genai_prices", "clickhouse_connect", "typer",
         "rich", "yaml", "prometheus_client", "openai", "anthropic", "google", "litellm", "httpx",
         "httpx2", "opentelemetry", "tiktoken"}
print(sorted(heavy & {name.partition(".")[0] for name in set(sys.modules) - before}))
"""


def test_the_base_install_is_all_it_imports() -> None:
    command = [sys.executable, "-c", BASE_ONLY]
    done = subprocess.run(command, check=True, timeout=60, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"

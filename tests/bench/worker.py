"""Worker throughput beside a bare confluent-kafka loop, on the same events in the same topic.

Each round makes the topics anew, fills `usage.events`, and lets each variant take the whole backlog
in a process of its own. Time runs from the first to the last row of its output topic (by the
rows' own produce time stamps), CPU is the process's own over that stretch.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka import TopicPartition as Partition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from spendstream.deploy import topics_admin
from spendstream.schemas import Usage, UsageEvent
from spendstream.schemas.event import CONTENT_TYPE, EVENT_TYPE, SPEC_VERSION
from spendstream.schemas.period import from_ms
from spendstream.schemas.prices.compile import compile_book
from spendstream.schemas.topics import TOPICS, USAGE_EVENTS, USAGE_PRICED

PARTITIONS: Final = 4
WORKSPACES: Final = 1_000
MODELS: Final = (
    ("openai", "gpt-4o"),
    ("anthropic", "claude-sonnet-4-5"),
    ("gcp.gemini", "gemini-2.5-flash"),
)
VARIANTS: Final = ("bare", "bare with transactions", "spendstream")
_BARE_TOPICS: Final = ("bare.priced", "bare.checkpoint", "bare.ids", "bare.state")
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Run:
    """One variant over one backlog. Throughput in events/s, CPU in seconds per million events."""

    variant: str
    events_per_second: float
    cpu_per_million: float


def rounds(bootstrap_servers: str, count: int, events: int) -> Iterator[list[Run]]:
    """`count` rounds, each variant once a round, the order turning from round to round."""
    with tempfile.TemporaryDirectory() as directory:
        prices = Path(directory) / "prices.json"
        prices.write_text(json.dumps(_prices()))
        for number in range(count):
            _fill(bootstrap_servers, events)
            turn = number % len(VARIANTS)
            order = VARIANTS[turn:] + VARIANTS[:turn]
            runs = {v: _measure(v, bootstrap_servers, events, prices) for v in order}
            yield [runs[variant] for variant in VARIANTS]


def _prices() -> dict[str, list[object]]:
    book = compile_book()
    now = int(time.time() * 1_000)
    table: dict[str, list[object]] = {}
    for provider, model in MODELS:
        prices = book.resolve(provider, model, now)
        assert prices is not None
        rates = prices.rates
        table[f"{provider}/{model}"] = [prices.rule, rates.input, rates.cache_read, rates.output]
    return table


def _fill(bootstrap_servers: str, events: int) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    existing = set(admin.list_topics(timeout=10).topics)
    stale = [t for t in (*(topic.name for topic in TOPICS), *_BARE_TOPICS) if t in existing]
    if stale:
        for future in admin.delete_topics(stale).values():
            future.result()
        while set(admin.list_topics(timeout=10).topics) & set(stale):
            time.sleep(0.1)
    topics_admin.create(bootstrap_servers, PARTITIONS, 1)
    for future in admin.create_topics([NewTopic(t, PARTITIONS, 1) for t in _BARE_TOPICS]).values():
        future.result()
    producer = Producer(
        {
            "bootstrap.servers": bootstrap_servers,
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "linger.ms": 50,
            "queue.buffering.max.messages": events + 1,
            "queue.buffering.max.kbytes": 2_000_000,
        }
    )
    now = int(time.time() * 1_000)
    for i in range(events):
        provider, model = MODELS[i % len(MODELS)]
        workspace = f"ws-{i % WORKSPACES}"
        event = UsageEvent(
            provider=provider,
            request_model=model,
            response_model=model,
            usage=Usage(
                input_tokens=200 + i % 1_000,
                output_tokens=20 + i % 300,
                cache_read_input_tokens=i % 7 and i % 200,
            ),
            workspace_id=workspace,
            user_id=f"user-{i % 400}",
            request_type="chat",
            duration_ms=900 + i % 3_000,
        )
        stamp = from_ms(now - 20_000 + i * 20_000 // events)
        producer.produce(
            USAGE_EVENTS,
            event.model_dump_json(exclude_defaults=True).encode(),
            workspace.encode(),
            headers=[
                ("ce_specversion", SPEC_VERSION.encode()),
                ("ce_id", f"bench-{i}".encode()),
                ("ce_source", b"bench"),
                ("ce_type", EVENT_TYPE.encode()),
                ("ce_time", f"{stamp:%Y-%m-%dT%H:%M:%S}.{stamp.microsecond // 1000:03d}Z".encode()),
                ("content-type", CONTENT_TYPE.encode()),
            ],
        )
        if i % 10_000 == 0:
            producer.poll(0)
    producer.flush()


def _measure(variant: str, bootstrap_servers: str, events: int, prices: Path) -> Run:
    topic = USAGE_PRICED if variant == "spendstream" else "bare.priced"
    if variant != "spendstream":
        _empty(bootstrap_servers)
    with (
        _process(variant, bootstrap_servers, events, prices) as process,
        _reader(bootstrap_servers) as reader,
    ):
        start_cpu = 0.0
        rows = 0
        while rows < events:
            if process.poll() is not None and variant == "spendstream":
                raise RuntimeError(f"{variant} ended with {process.returncode}")
            rows = sum(_high(reader, topic, p) for p in range(PARTITIONS))
            if rows and not start_cpu:
                start_cpu = _cpu(process.pid)
            if process.poll() is not None:
                break
            cpu = _cpu(process.pid)
            time.sleep(0.05)
        # the high watermark counts markers and open transactions too: wait for the last commit
        for _ in range(100):
            first, last, found = _span(reader, topic)
            if found == events:
                break
            time.sleep(0.1)
    if found != events:
        raise RuntimeError(f"{variant}: {found} rows for {events} events")
    seconds = (last - first) / 1_000
    return Run(variant, events / seconds, (cpu - start_cpu) / events * 1e6)


def _empty(bootstrap_servers: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    for future in admin.delete_topics(list(_BARE_TOPICS)).values():
        future.result()
    while set(admin.list_topics(timeout=10).topics) & set(_BARE_TOPICS):
        time.sleep(0.1)
    for future in admin.create_topics([NewTopic(t, PARTITIONS, 1) for t in _BARE_TOPICS]).values():
        future.result()


@contextmanager
def _process(
    variant: str, bootstrap_servers: str, events: int, prices: Path
) -> Iterator[subprocess.Popen[bytes]]:
    if variant == "spendstream":
        code = (
            "from spendstream.streams.worker import WorkerConfig, run;"
            f"run(WorkerConfig({bootstrap_servers!r}))"
        )
        command = [sys.executable, "-c", code]
    else:
        kind = "transactions" if "transactions" in variant else "plain"
        script = Path(__file__).with_name("bare_loop.py")
        command = [
            sys.executable, str(script), bootstrap_servers, USAGE_EVENTS, str(events),
            str(prices), kind,
        ]  # fmt: skip
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=None if os.environ.get("BENCH_VERBOSE") else subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _reader(bootstrap_servers: str) -> Iterator[Consumer]:
    reader = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "bench-reader",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    try:
        yield reader
    finally:
        reader.close()


def _high(reader: Consumer, topic: str, partition: int) -> int:
    for _ in range(100):
        try:
            high: int = reader.get_watermark_offsets(Partition(topic, partition), timeout=10)[1]
        except KafkaException:
            time.sleep(0.1)  # the topic was made a moment ago
        else:
            return high
    raise RuntimeError(f"{topic}/{partition} has no watermarks")


def _span(reader: Consumer, topic: str) -> tuple[int, int, int]:
    """First and last time stamp (ms) of the committed rows, and how many there are."""
    stamps: list[int] = []
    reader.assign([Partition(topic, p, 0) for p in range(PARTITIONS)])
    ended = 0
    while ended < PARTITIONS:
        for message in reader.consume(10_000, 1.0):
            if message.error() is not None:
                ended += 1
            else:
                stamps.append(message.timestamp()[1])
    reader.unassign()
    return min(stamps), max(stamps), len(stamps)


def _cpu(pid: int) -> float:
    """Seconds of user and system time so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS

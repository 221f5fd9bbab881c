"""Whether a worker's memory stays as it is when ids are forgotten as fast as they come.

`python -m tests.bench.memory [--events 10000000] [--rate 15000]`: a real worker on a real Apache
Kafka takes events with random ids, live. In its process alone ids are remembered for a minute
instead of 25 hours, and time is kept to the second instead of the minute, so that many horizons
pass. Prints resident memory each million events, and how much it grew after two horizons; ends with
1 where that is 1 % a million or more. A worker that falls behind holds larger batches, some 300 MB:
where that column is not near zero, the machine was too busy. Ten million take 12 minutes.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from statistics import linear_regression, mean
from typing import Final, NamedTuple

from confluent_kafka import Producer, TopicPartition

from spendstream.schemas.topics import USAGE_EVENTS, USAGE_PRICED, WORKSPACE_CHECKPOINT
from spendstream.streams.core.state import CHECKPOINT_KEY
from tests.servers.kafka import own_kafka
from tests.support.records import Call
from tests.support.rig import Rig
from tests.support.waiting import until
from tests.support.workers import Worker

PARTITIONS: Final = 4
HORIZON_MS: Final = 60_000
WORKSPACES: Final = 200
MILLION: Final = 1_000_000
LIMIT_PERCENT: Final = 1.0
_LOOK_S: Final = 0.25

_WORKER: Final = """
import sys
from pathlib import Path
from spendstream.schemas import event, topics
topics.ID_HORIZON_MS, event.FUTURE_LIMIT_MS = int(sys.argv[3]), 1_000  # before they are copied
from spendstream.streams.core import ids
ids.MINUTE_MS = 1_000
from spendstream.streams.worker import WorkerConfig, run
run(WorkerConfig(sys.argv[2], ready_file=Path(sys.argv[1])))
"""


class Sample(NamedTuple):
    """`events` of all were taken, `behind` were due besides, and `resident` is in bytes."""

    seconds: float
    events: int
    behind: int
    resident: int


def resident(pid: int) -> int:
    """Bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def send(bootstrap: str, events: int, rate: int) -> Iterator[None]:
    """Send at a steady rate, and give the caller a turn between two stretches of it."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "linger.ms": 20,
            "queue.buffering.max.messages": MILLION,
        }
    )
    values = [(f"ws-{n}".encode(), Call("", 0, f"ws-{n}").value()) for n in range(WORKSPACES)]
    start, sent = time.monotonic(), 0
    while sent < events:
        due = min(events, int((time.monotonic() - start) * rate))
        headers = Call("", time.time_ns() // 1_000_000).headers(ce_id=None)
        for number in range(sent, min(due, sent + rate)):
            key, value = values[number % WORKSPACES]
            event_id = random.randbytes(12).hex().encode()
            producer.produce(USAGE_EVENTS, value, key, headers=[*headers, ("ce_id", event_id)])
        sent = min(due, sent + rate)
        producer.poll(0.01)
        yield
    assert producer.flush(60) == 0


def measure(rig: Rig, pid: int, events: int, rate: int) -> Iterator[Sample]:
    """Until all events are priced; their rows are counted with the markers of transactions."""
    sending = send(rig.bootstrap, events, rate)
    start, looked, taken, sent = time.monotonic(), 0.0, 0, False
    with rig.consumer() as reader:
        while not sent or taken < events:
            sent = next(sending, True) is True
            if sent:
                time.sleep(_LOOK_S)
            if time.monotonic() - looked >= _LOOK_S:
                looked = time.monotonic()
                ends = [
                    reader.get_watermark_offsets(TopicPartition(USAGE_PRICED, p), 10)
                    for p in range(rig.partitions)
                ]
                taken = sum(high for _, high in ends)
                due = min(events, int((looked - start) * rate))
                yield Sample(looked - start, taken, max(0, due - taken), resident(pid))


def priced(rig: Rig) -> int:
    """Events that the last checkpoints call priced."""
    last = {
        message.partition(): json.loads(message.value() or b"")
        for message in rig.read(WORKSPACE_CHECKPOINT, last=1_000)
        if message.key() == CHECKPOINT_KEY
    }
    return sum(int(c["outcomes"][USAGE_EVENTS]["priced"]) for c in last.values())


def report(samples: list[Sample]) -> float:
    """Print the figures; the growth in percent a million events, after two horizons."""
    print("  events  horizons  resident, MiB: mean and peak of the million; behind at most")
    for _, group in groupby(samples, lambda sample: max(0, sample.events - 1) // MILLION):
        some = list(group)
        sizes = [sample.resident / 2**20 for sample in some]
        print(
            f"{some[-1].events / MILLION:7.2f}M {some[-1].seconds * 1_000 / HORIZON_MS:9.1f}"
            f"  {mean(sizes):13.1f} {max(sizes):8.1f}"
            f"  {max(sample.behind for sample in some):12,}"
        )
    settled = [sample for sample in samples if sample.seconds * 1_000 > 2 * HORIZON_MS]
    if len(settled) < 2:
        sys.exit("two horizons have not passed: more events, please")
    sizes = [sample.resident for sample in settled]
    slope = linear_regression([sample.events for sample in settled], sizes).slope
    grown = slope * MILLION / mean(sizes) * 100
    print(f"after two horizons: {grown:+.2f} % a million events (a line through {len(settled)})")
    return grown


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.memory", description=__doc__)
    parser.add_argument("--events", type=int, default=10 * MILLION)
    parser.add_argument(
        "--rate", type=int, default=15_000, help="a second; the worker must keep up"
    )
    options = parser.parse_args()
    with own_kafka() as kafka, tempfile.TemporaryDirectory() as directory:
        if kafka.kind == "tansu":
            sys.exit("this is of Apache Kafka: Docker, or a JDK 17 and Maven, are needed")
        rig = Rig(kafka.bootstrap_servers, Path(directory), PARTITIONS)
        worker = Worker(_WORKER, rig.directory, "worker", rig.bootstrap, str(HORIZON_MS))
        try:
            worker.wait_ready()
            samples = list(measure(rig, worker.pid, options.events, options.rate))
            until(lambda: priced(rig) == options.events, 60, lambda: worker.log[-3_000:])
        finally:
            worker.kill()
    if report(samples) >= LIMIT_PERCENT:
        sys.exit(1)


if __name__ == "__main__":
    main()

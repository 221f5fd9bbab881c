"""How long until a worker serves again after kill -9, by workspaces and ids.

`python -m tests.bench.recovery [--sizes 10000,100000,1000000] [--ids N] [--log FILE]`. A worker
takes one event of each workspace (and more, where more ids are asked for), is killed, and another
is started at once. Seconds run from the kill: in them are the start of a Python process and the
time for which the group waits for the dead worker, its session.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from confluent_kafka import Consumer, TopicPartition

from spendstream.api.log import last_records
from spendstream.schemas.topics import (
    USAGE_EVENTS,
    USAGE_PRICED,
    WORKSPACE_CHECKPOINT,
    WORKSPACE_IDS,
)
from tests.bench.worker import PARTITIONS
from tests.servers.kafka import KafkaServer, own_kafka
from tests.support.records import Call
from tests.support.rig import CHECKPOINT, Rig
from tests.support.waiting import until
from tests.support.workers import Worker

SIZES: Final = (10_000, 100_000, 1_000_000)
SESSION_S: Final = 10.0
"""The worker's default."""
PROBES: Final = 200
_FILL_S: Final = 1_800.0
_SERVE_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Measured:
    """`state_bytes`, `ids_bytes`: keys and values as a recovery reads them; `resident` in bytes.

    Attributes:
        began: of each partition the seconds from the kill until it ran.
        served: likewise, until the first and the last of the events sent at the kill were priced.
    """

    workspaces: int
    ids: int
    state_bytes: int
    ids_bytes: int
    resident: int
    began: list[float]
    served: tuple[float, float]


def measure(broker: KafkaServer, workspaces: int, ids: int, log: Path | None = None) -> Measured:
    """Kill a worker that knows so many workspaces and ids, and wait until another serves."""
    with tempfile.TemporaryDirectory() as made:
        rig = Rig(broker.bootstrap_servers, Path(made), PARTITIONS)
        try:
            _fill(rig, workspaces, ids)
            worker = rig.worker(SESSION_S)
            until(lambda: _taken(rig) >= ids, _FILL_S, lambda: worker.log[-2000:])
            with _at_end(rig) as reader:
                killed = time.time()
                worker.kill()
                again = rig.worker(SESSION_S)
                rig.send(_probes(workspaces))
                served = _served(reader, again)
            return Measured(
                workspaces,
                ids,
                _bytes(rig, WORKSPACE_CHECKPOINT),
                _bytes(rig, WORKSPACE_IDS),
                _resident(again),
                sorted(at - killed for at in _starts(again)),
                (served[0] - killed, served[-1] - killed),
            )
        finally:
            rig.close()
            if log is not None:
                shutil.copy(rig.workers[-1].log_file, log)


def _fill(rig: Rig, workspaces: int, events: int) -> None:
    producer = rig.producer(**{"linger.ms": 50, "queue.buffering.max.kbytes": 2_000_000})
    now = int(time.time() * 1_000)
    for n in range(events):
        call = Call(f"fill-{n}", now, f"ws-{n % workspaces}")
        key = call.workspace_id.encode()
        producer.produce(USAGE_EVENTS, call.value(), key, headers=list(call.headers()))
        if n % 10_000 == 0:
            producer.poll(0.05)
    producer.flush()


def _taken(rig: Rig) -> int:
    with rig.consumer() as consumer:
        found = last_records(consumer, WORKSPACE_CHECKPOINT, range(PARTITIONS), CHECKPOINT)
    checkpoints = (json.loads(message.value() or b"") for message in found.values())
    return sum(checkpoint["outcomes"][USAGE_EVENTS]["read"] for checkpoint in checkpoints)


def _probes(workspaces: int) -> list[Call]:
    """Events of workspaces all over the partitions."""
    now = int(time.time() * 1_000)
    step = max(1, workspaces // PROBES)
    return [Call(f"probe-{n}", now, f"ws-{n * step % workspaces}") for n in range(PROBES)]


@contextmanager
def _at_end(rig: Rig) -> Iterator[Consumer]:
    """A reader of rows that are priced from now on."""
    with rig.consumer() as consumer:
        places = [TopicPartition(USAGE_PRICED, p) for p in range(PARTITIONS)]
        for place in places:
            place.offset = consumer.get_watermark_offsets(place, 10)[1]
        consumer.assign(places)
        yield consumer


def _served(reader: Consumer, worker: Worker) -> list[float]:
    """When each of the probes could be read, in seconds since 1970."""
    seen: list[float] = []

    def look() -> bool:
        now = time.time()
        seen.extend(now for message in reader.consume(1_000, 0.05) if message.error() is None)
        return len(seen) >= PROBES

    until(look, _SERVE_S, lambda: f"{len(seen)} of {PROBES}\n{worker.log[-2000:]}")
    return seen


def _starts(worker: Worker) -> list[float]:
    found = []
    for line in worker.log.splitlines():
        if '"event": "partition_runs"' in line:
            at = datetime.fromisoformat(json.loads(line)["timestamp"])
            found.append(at.timestamp())
    return found


def _bytes(rig: Rig, topic: str) -> int:
    return sum(
        len(message.key() or b"") + len(message.value() or b"") for message in rig.read(topic)
    )


def _resident(worker: Worker) -> int:
    pages = int(Path(f"/proc/{worker.pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="workspaces")
    parser.add_argument("--ids", type=int, default=0, help="at least so many; default: workspaces")
    parser.add_argument("--log", type=Path, help="keep the last worker's log here")
    options = parser.parse_args()
    print("| workspaces | ids | state MB | ids MB | resident MB | partitions run | events served |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for size in map(int, options.sizes.split(",")):
        with own_kafka() as broker:
            one = measure(broker, size, max(size, options.ids), options.log)
        print(
            f"| {one.workspaces:,} | {one.ids:,} | {one.state_bytes / 1e6:.0f}"
            f" | {one.ids_bytes / 1e6:.0f} | {one.resident / 1e6:.0f}"
            f" | {', '.join(f'{at:.1f}' for at in one.began)} s"
            f" | {one.served[0]:.1f} to {one.served[1]:.1f} s |",
            flush=True,
        )


if __name__ == "__main__":
    main()

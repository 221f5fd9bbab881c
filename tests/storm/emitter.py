"""A service's process: sends its share of the events, repeats some, goes on where it was killed.

What it has begun and what Kafka has acknowledged stand in two files. After a kill it sends again
all that was begun and not acknowledged, as a service would that retries.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaError, Message, Producer

from spendstream.producers import UsageEmitter
from spendstream.schemas.event import UsageEvent
from tests.storm.traffic import ASTRAY_HEADER, BAD_HEADER, Sending, Traffic
from tests.support import malformed
from tests.support.records import Call

CHUNK = 40
PROGRAM = "from tests.storm.emitter import main; main()"


@dataclass(frozen=True, slots=True)
class EmitterFiles:
    """`rate`: events a second that it may send; `limit`, `begun`, `acknowledged`: how many of its
    own it may send, has begun, has got rid of."""

    directory: Path
    number: int

    def write(self, name: str, value: float) -> None:
        path = self._path(name)
        new = path.with_name(f"{path.name}.new")  # emitter and harness write different files
        new.write_text(str(value))
        new.rename(path)

    def read(self, name: str) -> float:
        path = self._path(name)
        return float(path.read_text()) if path.exists() else 0

    def _path(self, name: str) -> Path:
        return self.directory / f"emitter-{self.number}.{name}"


class Sender:
    """The emitter for what services send, a bare producer for what they should not."""

    def __init__(self, bootstrap: str, traffic: Traffic, partitions: int) -> None:
        self._emitter = UsageEmitter(bootstrap, source="/storm", linger_ms=5, log_level=2)
        self._raw = Producer(
            {
                "bootstrap.servers": bootstrap,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "linger.ms": 5,
                "log_level": 2,
            }
        )
        self._traffic = traffic
        self._partitions = partitions
        self._failed = self._lost = 0

    def send(self, sending: Sending) -> None:
        now_ms = time.time_ns() // 1_000_000
        call = self._traffic.call(sending.number, now_ms, sending.shift_ms)
        if sending.way == "emit":
            event = UsageEvent.model_validate(call.data())
            self._emitter.emit(event, id=call.id, time_ms=call.time_ms)
        elif sending.way == "bad":
            self._spoilt(self._traffic.call(sending.number, now_ms), sending.choice)
        else:
            self._astray(call, sending)

    def _spoilt(self, call: Call, choice: int) -> None:
        kind = spoilt(call, choice)
        self._raw.produce(
            "usage.events",
            kind.value,
            kind.key,
            headers=list(kind.headers),
            on_delivery=self._delivered,
        )

    def _astray(self, call: Call, sending: Sending) -> None:
        headers = [*call.headers(), (ASTRAY_HEADER, b"1")]
        key = None if sending.way == "keyless" else call.workspace_id.encode()
        self._raw.produce(
            "usage.events",
            call.value(),
            key,
            partition=sending.choice % self._partitions,
            headers=list(headers),
            on_delivery=self._delivered,
        )

    def flush(self) -> bool:
        """Wait for Kafka. False: something was given up and must be sent again."""
        while self._emitter.flush(10) or self._raw.flush(10):
            pass
        dropped = sum(self._emitter.stats.dropped.values()) + self._failed
        lost, self._lost = dropped > self._lost, dropped
        return not lost

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        self._failed += error is not None


def spoilt(call: Call, choice: int) -> malformed.Malformed:
    """A record that must be refused, with the reason in a header of its own."""
    base = Call("bad", call.time_ms, call.workspace_id)
    # librdkafka's Python client crashes over names of headers that are not UTF-8
    kinds = [
        kind
        for kind in malformed.kinds(base)
        if all(name.isprintable() and name.isascii() for name, _ in kind.headers)
    ]
    kind = kinds[choice % len(kinds)]
    return kind._replace(headers=[*kind.headers, (BAD_HEADER, kind.reason.encode())])


def main() -> None:
    bootstrap, seed, events, late, partitions, number, of, directory = sys.argv[2:]
    traffic = Traffic(int(seed), int(events), int(late))
    files = EmitterFiles(Path(directory), int(number))
    mine = range(int(number), traffic.events, int(of))
    sender = Sender(bootstrap, traffic, int(partitions))
    at = int(files.read("acknowledged"))
    again = int(files.read("begun")) - at
    if again:
        print(json.dumps({"event": "sends again", "events": again}), flush=True)
    owed, last = 0.0, time.monotonic()
    while at < len(mine):
        now = time.monotonic()
        owed, last = min(CHUNK, owed + (now - last) * files.read("rate")), now
        if owed < CHUNK or at >= files.read("limit"):
            time.sleep(0.02)
            continue
        owed -= CHUNK
        chunk = mine[at : at + CHUNK]
        files.write("begun", at + len(chunk))
        while True:
            for n in chunk:
                for sending in traffic.sendings(n):
                    sender.send(sending)
            if sender.flush():
                break
        at += len(chunk)
        files.write("acknowledged", at)
    print(json.dumps({"event": "done", "events": at}), flush=True)

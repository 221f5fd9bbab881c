"""A worker's side of the late lane, played: it takes commands and says how far it has resolved.

It keeps to the rules that the resolver relies on and nothing else: a command is taken once, in the
order of `late_seq`; an id is counted once; rows and heartbeat are one transaction.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from spendstream.schemas.topics import USAGE_PRICED, WORKSPACE_COMMANDS, WORKSPACE_STATE
from tests.integration.loader_rig import Rig, priced

HEARTBEAT_S: Final = 0.3


class PlayedCore:
    """One partition. It counts on from `seq`, and knows the ids of `counted` already.

    `takes_commands` False: it is of a version from before the late lane.
    """

    def __init__(self, rig: Rig, seq: int, counted: Iterable[tuple[str, str]] = (),
                 partition: int = 0, resolved: int = 0, takes_commands: bool = True,
                 ) -> None:  # fmt: skip
        self.seq = seq
        self.resolved = resolved
        self.counted = set(counted)
        self.commands: list[dict[str, Any]] = []
        self.values: list[bytes] = []
        self.keys: list[bytes | None] = []
        self.repeats = 0
        self.gaps: list[int] = []
        self.taking = threading.Event()
        """While it is cleared, commands are left where they are; heartbeats go on."""
        self.taking.set()
        self._takes_commands = takes_commands
        self._rig = rig
        self._partition = partition
        self._producer = rig.new_producer()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(30)

    def _run(self) -> None:
        consumer = Consumer(
            {
                "bootstrap.servers": self._rig.kafka.bootstrap_servers,
                "group.id": "played-core",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 20,
                "log_level": 2,
            }
        )
        consumer.assign([TopicPartition(WORKSPACE_COMMANDS, self._partition, OFFSET_BEGINNING)])
        said_at = 0.0
        while not self._stopping.is_set():
            messages = consumer.consume(200, 0.05) if self.taking.is_set() else []
            if not messages:
                self._stopping.wait(0.05)
            if not messages and time.monotonic() - said_at < HEARTBEAT_S:
                continue
            self._producer.begin_transaction()
            for message in messages:
                assert message.error() is None, message.error()
                self.keys.append(message.key())
                self._take(message.value() or b"")
            heartbeat: dict[str, Any] = {"kind": "heartbeat", "partition": self._partition}
            if self._takes_commands:
                heartbeat["late_resolved"] = self.resolved
            self._produce(WORKSPACE_STATE, b"", json.dumps(heartbeat).encode())
            self._produce(WORKSPACE_STATE, b"ws", b'{"kind":"workspace"}')
            self._producer.commit_transaction(30)
            said_at = time.monotonic()
        consumer.close()

    def _take(self, value: bytes) -> None:
        command = json.loads(value)
        self.commands.append(command)
        self.values.append(value)
        late_seq = command["late_seq"]
        if late_seq <= self.resolved:
            self.repeats += 1
            return
        if late_seq > self.resolved + 1:
            self.gaps.append(late_seq)
            return
        self.resolved = late_seq
        if command["kind"] == "duplicate":
            return
        workspace_id = command["event"]["workspace_id"]
        if (workspace_id, command["event_id"]) in self.counted:
            return
        self.counted.add((workspace_id, command["event_id"]))
        self.seq += 1
        event = priced(1).event.model_copy(update={"workspace_id": workspace_id})
        row = priced(
            self.seq, self._partition, topic=WORKSPACE_COMMANDS, event_id=command["event_id"],
            event=event,
        )  # fmt: skip
        self._produce(USAGE_PRICED, b"key", row.model_dump_json().encode())

    def _produce(self, topic: str, key: bytes, value: bytes) -> None:
        self._producer.produce(topic, value, key, self._partition)

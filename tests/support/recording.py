"""What wrapped calls leave: a real emitter, a topic of its own, and each workspace's events in it.

workspace = recording.workspace()
with workspace.track(user_id="u"):
    client.chat.completions.create(...)
event = workspace.event()      # exactly one came
"""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter, defaultdict
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from spendstream.producers import UsageEmitter, track

Json = dict[str, Any]


class Recording:
    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.topic = f"wrap-{uuid.uuid4().hex}"
        admin = AdminClient({"bootstrap.servers": bootstrap_servers})
        admin.create_topics([NewTopic(self.topic, 1, 1)])[self.topic].result(20)
        self.emitter = UsageEmitter(bootstrap_servers, topic=self.topic, linger_ms=0)
        self._read = 0
        self._elsewhere = 0  # events of other processes
        self._events: dict[str, list[Json]] = defaultdict(list)
        self._consumer = Consumer(
            {"bootstrap.servers": bootstrap_servers, "group.id": "reader", "fetch.wait.max.ms": 10}
        )
        self._consumer.assign([TopicPartition(self.topic, 0, 0)])

    def workspace(self) -> Workspace:
        return Workspace(self)

    def of(self, workspace_id: str) -> list[Json]:
        """All events so far, each with its `id` and `time`."""
        assert self.emitter.flush(20) == 0
        self.read(self.emitter.stats.delivered + self._elsewhere)
        return self._events[workspace_id]

    def read(self, upto: int) -> None:
        """Until so many events of the topic are read."""
        deadline = time.monotonic() + 20
        while self._read < upto:
            assert time.monotonic() < deadline, f"{self._read} events of {upto}"
            message = self._consumer.poll(1)
            if message is None or message.error() is not None:
                continue
            event = json.loads(message.value() or b"")
            headers = dict(message.headers() or [])
            event_id, time_ = headers["ce_id"], headers["ce_time"]
            assert isinstance(event_id, bytes)
            assert isinstance(time_, bytes)
            self._events[event["workspace_id"]].append(
                {**event, "id": event_id.decode(), "time": time_.decode()}
            )
            self._read += 1

    def from_elsewhere(self, workspace_id: str) -> list[Json]:
        """The events of a workspace that another process has charged, and delivered."""
        _, end = self._consumer.get_watermark_offsets(TopicPartition(self.topic, 0), cached=False)
        self._elsewhere = end - self.emitter.stats.delivered
        self.read(end)
        return self._events[workspace_id]

    def dropped(self) -> Counter[str]:
        return Counter({str(why): n for why, n in self.emitter.stats.dropped.items()})

    def close(self) -> None:
        self._consumer.close()
        self.emitter.close()


class Workspace:
    """One that no other test charges."""

    def __init__(self, recording: Recording) -> None:
        self.id = f"ws-{uuid.uuid4().hex}"
        self.recording = recording

    def track(self, **more: Any) -> track:
        return track(workspace_id=self.id, **more)

    def events(self) -> list[Json]:
        return self.recording.of(self.id)

    def event(self) -> Json:
        """The only one."""
        events = self.events()
        assert len(events) == 1, f"{len(events)} events: {events}"
        return events[0]


def figures(event: Json) -> Json:
    """What was used, by the names of Usage; without what is no figure."""
    usage = event.get("usage") or {}
    return {name: n for name, n in usage.items() if isinstance(n, int)}

"""What lies in the inputs: which event each record is, when it came, and where it belongs.

Read from Kafka and not from what the emitters believe: an emitter that was killed does not know
what arrived of its last words.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from tests.storm.recount.differences import Differences
from tests.storm.recount.home import home
from tests.storm.recount.topics import Log, Record
from tests.storm.traffic import ASTRAY_HEADER, BAD_HEADER, WORKSPACES, Traffic
from tests.support.oracle import DAY


class Copy(NamedTuple):
    """A well-formed event as it lies in `usage.events`."""

    number: int
    time_ms: int
    arrival_ms: int

    @property
    def late(self) -> bool:
        """It claims to be from before what is remembered of ids."""
        return self.arrival_ms - self.time_ms > DAY


class Brought(NamedTuple):
    """A record of `workspace.commands` that brings an event, from another partition or because it
    was late: where it came in first, and the record's own time stamp."""

    partition: int
    offset: int
    timestamp_ms: int


@dataclass
class Inputs:
    """By partition, then offset."""

    copies: list[dict[int, Copy]] = field(default_factory=list)
    bad: list[dict[int, str]] = field(default_factory=list)
    commands: list[dict[int, Brought]] = field(default_factory=list)
    other_commands: list[int] = field(default_factory=list)
    workspaces: set[str] = field(default_factory=set)
    astray: set[tuple[int, int]] = field(default_factory=set)


def read_inputs(log: Log, traffic: Traffic, found: Differences) -> Inputs:
    """Both inputs whole; what emitters promised and did not deliver is a difference."""
    inputs = Inputs()
    numbers: Counter[int] = Counter()
    for partition in range(log.partitions):
        copies: dict[int, Copy] = {}
        bad: dict[int, str] = {}
        for message in log.committed("usage.events", partition):
            offset = message.offset() or 0
            headers = _headers(message)
            if BAD_HEADER in headers:
                bad[offset] = headers[BAD_HEADER].decode()
                continue
            copy = copies[offset] = _copy(message, traffic)
            numbers[copy.number] += 1
            workspace = traffic.call(copy.number, 0).workspace_id
            inputs.workspaces.add(workspace)
            if home(workspace.encode(), log.partitions) != partition:
                inputs.astray.add((partition, offset))
                if ASTRAY_HEADER not in headers:
                    found.add("events in a wrong partition", f"{partition}/{offset}: nobody's plan")
        inputs.copies.append(copies)
        inputs.bad.append(bad)
    missing = [n for n in range(traffic.events) if n not in numbers]
    if missing:
        found.add("events that no emitter delivered", f"{len(missing)}, first {missing[:5]}")
    found.fact("events", len(numbers))
    found.fact("copies of them in Kafka", numbers.total())
    found.fact("malformed records", sum(map(len, inputs.bad)))
    found.fact("events in a wrong partition", len(inputs.astray))
    found.fact("workspaces", f"{len(inputs.workspaces)} of {WORKSPACES}")
    _read_commands(log, inputs, found)
    return inputs


def _read_commands(log: Log, inputs: Inputs, found: Differences) -> None:
    """Every event that was astray is forwarded, once."""
    taken: Counter[tuple[int, int]] = Counter()
    for partition in range(log.partitions):
        commands: dict[int, Brought] = {}
        others = 0
        for message in log.committed("workspace.commands", partition):
            value = json.loads(message.value() or b"")
            stamp_ms = message.timestamp()[1]
            if value["kind"] == "forwarded":
                origin = (value["partition"], value["offset"])
                taken[origin] += 1
            elif value["kind"] != "readmit":
                others += 1
                continue
            elif value["topic"] == "usage.events":
                origin = (partition, value["offset"])
            else:  # it was late, and came from another partition before
                origin = commands[value["offset"]][:2]
            commands[message.offset() or 0] = Brought(*origin, stamp_ms)
        inputs.commands.append(commands)
        inputs.other_commands.append(others)
    found.compare("events forwarded", dict.fromkeys(inputs.astray, 1), dict(taken))


def source(
    inputs: Inputs, partition: int, row: dict[str, Any]
) -> tuple[Copy, int, tuple[int, int]]:
    """The copy that a row is about, the time stamp of the record that brought it, and its place.

    Raises KeyError or ValueError where there is none.
    """
    if row["topic"] == "usage.events":
        copy = inputs.copies[partition][row["offset"]]
        return copy, copy.arrival_ms, (partition, row["offset"])
    if row["topic"] != "workspace.commands":
        raise ValueError(f"from {row['topic']}")
    command = inputs.commands[partition][row["offset"]]
    origin = (command.partition, command.offset)
    return inputs.copies[command.partition][command.offset], command.timestamp_ms, origin


def _copy(message: Record, traffic: Traffic) -> Copy:
    headers = _headers(message)
    number = traffic.number(headers["ce_id"].decode())
    time = datetime.fromisoformat(headers["ce_time"].decode())
    time_ms = round(time.timestamp() * 1_000)
    return Copy(number, time_ms, message.timestamp()[1])


def _headers(message: Record) -> dict[str, bytes]:
    return {
        name: value if isinstance(value, bytes) else b"" for name, value in message.headers() or []
    }

"""What a batch writes: rows by topic, in order, numbered by `seq` as they are made."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import msgspec

from spendstream.schemas.records import (
    Alert,
    DeadLetter,
    DuplicateLate,
    ForwardedEvent,
    LateUsage,
    Leaf,
    Overage,
    PricedUsage,
    ReadmitLate,
)
from spendstream.schemas.state import Heartbeat, LimitState, WorkspaceState
from spendstream.schemas.topics import SEQUENCED
from spendstream.streams.core.state import Workspace
from spendstream.streams.core.structs import struct_of

_EVENT: Final = frozenset({"event"})
PricedStruct: Final[Any] = struct_of(PricedUsage, raw=_EVENT)
LateStruct: Final[Any] = struct_of(LateUsage, raw=_EVENT)
LeafStruct: Final[Any] = struct_of(Leaf)
AlertStruct: Final[Any] = struct_of(Alert)
OverageStruct: Final[Any] = struct_of(Overage)
DeadStruct: Final[Any] = struct_of(DeadLetter)
ForwardedStruct: Final[Any] = struct_of(ForwardedEvent, tag="kind")
ReadmitStruct: Final[Any] = struct_of(ReadmitLate, raw=_EVENT, tag="kind")
DuplicateStruct: Final[Any] = struct_of(DuplicateLate, tag="kind")
StateStruct: Final[Any] = struct_of(WorkspaceState)
LimitStateStruct: Final[Any] = struct_of(LimitState)
HeartbeatStruct: Final[Any] = struct_of(Heartbeat)

encode: Final = msgspec.json.Encoder().encode

MAX_RECORD_BYTES: Final = 4_000_000
"""Of what we write: within `max.message.bytes` of the topics for dead and forwarded records."""

Row = tuple[bytes | None, bytes]
"""Key and value of a Kafka record."""


class Batch:
    """Outputs of a transaction in the making, and what it has touched.

    Attributes:
        rows: the sequenced topics' records, in the order of their `seq`.
        forwarded: records of `workspace.commands` for other partitions: (partition, key, value).
        digests: ids counted in this batch.
        changed: workspaces whose state must be saved.
        due_runs: how many workspaces `advance` has served; bounded per batch.
        dead, unpriced: dead letters by reason, and rows without a cost, for the metrics.
        emitter_dropped: events that emitters say they dropped, for the metrics.
    """

    __slots__ = (
        "changed",
        "dead",
        "digests",
        "due_runs",
        "emitter_dropped",
        "forwarded",
        "rows",
        "unpriced",
    )

    def __init__(self) -> None:
        self.rows: dict[str, list[Row]] = {topic: [] for topic in SEQUENCED}
        self.forwarded: list[tuple[int, bytes, bytes]] = []
        self.digests: list[bytes] = []
        self.changed: dict[str, Workspace] = {}
        self.due_runs = 0
        self.dead: Counter[str] = Counter()
        self.unpriced = 0
        self.emitter_dropped = 0

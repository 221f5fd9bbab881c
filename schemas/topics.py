"""The topics, as data: name, key, partitions, clean-up, retention, time stamps, writers, readers.

`spendstream topics` creates and checks them from this table; the README of `schemas/` and the
AsyncAPI document are generated from it.

Partitioned topics are co-partitioned: all have the same count, fixed at creation, so that
partition *p* of each belongs to the same workspaces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
FOREVER: Final = -1
INPUT_RETENTION_MS: Final = 7 * DAY_MS
ID_HORIZON_MS: Final = DAY_MS
"""Ids are remembered this long after their arrival (plus the hour that a clock may run ahead)."""

USAGE_EVENTS: Final = "usage.events"
WORKSPACE_COMMANDS: Final = "workspace.commands"
USAGE_PRICED: Final = "usage.priced"
USAGE_ALERTS: Final = "usage.alerts"
USAGE_OVERAGE: Final = "usage.overage"
USAGE_LATE: Final = "usage.late"
USAGE_DEAD: Final = "usage.dead"
WORKSPACE_STATE: Final = "workspace.state"
WORKSPACE_CHECKPOINT: Final = "workspace.checkpoint"
WORKSPACE_IDS: Final = "workspace.ids"
CONTROL_PLANS: Final = "control.plans"
CONTROL_PRICES: Final = "control.prices"
SINK_POSITIONS: Final = "sink.positions"

SEQUENCED: Final = (USAGE_PRICED, USAGE_ALERTS, USAGE_OVERAGE, USAGE_LATE, USAGE_DEAD)
"""Outputs whose rows carry `seq`: per partition, from 1, without gaps."""

INPUTS: Final = (USAGE_EVENTS, WORKSPACE_COMMANDS)

CONTROL: Final = (CONTROL_PLANS, CONTROL_PRICES)
"""What the operator has set: one partition each, never compacted, kept for ever."""

DEFAULT_PARTITIONS: Final = 12
EMBEDDED_PARTITIONS: Final = 4

LARGE_MESSAGE_BYTES: Final = 4 * 1_048_576
"""Largest message of the topics that carry whole records, states or a batch's ids."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic. `retention_ms` −1 keeps for ever; `partitions` None means the common count."""

    name: str
    purpose: str
    key: str
    cleanup: Literal["delete", "compact"]
    retention_ms: int
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    partitions: int | None = None
    timestamps: Literal["CreateTime", "LogAppendTime"] = "CreateTime"
    max_message_bytes: int = 1_048_588
    public: bool = True

    def config(self) -> dict[str, str]:
        """Topic settings under Kafka's names."""
        return {
            "cleanup.policy": self.cleanup,
            "retention.ms": str(self.retention_ms),
            "message.timestamp.type": self.timestamps,
            "max.message.bytes": str(self.max_message_bytes),
        }


TOPICS: Final[tuple[Topic, ...]] = (
    Topic(
        USAGE_EVENTS,
        "usage events from the services, CloudEvents 1.0",
        key="workspace id",
        cleanup="delete",
        retention_ms=INPUT_RETENTION_MS,
        timestamps="LogAppendTime",
        writers=("producers",),
        readers=("streams",),
    ),
    Topic(
        WORKSPACE_COMMANDS,
        "second input, written by our own parts only: events that came to the wrong partition, and"
        " what became of late ones",
        key="workspace id",
        cleanup="delete",
        retention_ms=INPUT_RETENTION_MS,
        timestamps="LogAppendTime",
        max_message_bytes=LARGE_MESSAGE_BYTES,
        writers=("streams", "sinks"),
        readers=("streams",),
        public=False,
    ),
    Topic(
        USAGE_PRICED,
        "every counted event with its leaves, cost, charge and the versions it was judged by",
        key="workspace id",
        cleanup="delete",
        retention_ms=INPUT_RETENTION_MS,
        writers=("streams",),
        readers=("sinks", "consumers"),
    ),
    Topic(
        USAGE_ALERTS,
        "limit violations, credit thresholds, overage started",
        key="workspace id",
        cleanup="delete",
        retention_ms=INPUT_RETENTION_MS,
        writers=("streams",),
        readers=("sinks", "consumers"),
    ),
    Topic(
        USAGE_OVERAGE,
        "cumulative charge beyond the credit, by workspace and billing period",
        key="workspace id",
        cleanup="delete",
        retention_ms=INPUT_RETENTION_MS,
        writers=("streams",),
        readers=("sinks", "consumers"),
    ),
    Topic(
        USAGE_LATE,
        "events older than the id horizon, uncounted until they are resolved",
        key="workspace id",
        cleanup="delete",
        retention_ms=INPUT_RETENTION_MS,
        writers=("streams",),
        readers=("sinks",),
    ),
    Topic(
        USAGE_DEAD,
        "refused records, verbatim, with a reason code",
        key="key of the refused record",
        cleanup="delete",
        retention_ms=INPUT_RETENTION_MS,
        max_message_bytes=LARGE_MESSAGE_BYTES,
        writers=("streams",),
        readers=("sinks",),
    ),
    Topic(
        WORKSPACE_STATE,
        "what gate and API need of a workspace; and a heartbeat per partition under the empty key",
        key="workspace id",
        cleanup="compact",
        retention_ms=FOREVER,
        writers=("streams",),
        readers=("producers", "api", "consumers"),
    ),
    Topic(
        WORKSPACE_CHECKPOINT,
        "the workers' state, and last of each batch the checkpoint",
        key='JSON array ["workspace id", "scope"]',
        cleanup="compact",
        retention_ms=FOREVER,
        max_message_bytes=LARGE_MESSAGE_BYTES,
        writers=("streams",),
        readers=("streams", "sinks", "api"),
        public=False,
    ),
    Topic(
        WORKSPACE_IDS,
        "ids of each batch, packed: what deduplication remembers",
        key="none",
        cleanup="delete",
        retention_ms=INPUT_RETENTION_MS + ID_HORIZON_MS + DAY_MS,
        max_message_bytes=LARGE_MESSAGE_BYTES,
        writers=("streams",),
        readers=("streams",),
        public=False,
    ),
    Topic(
        CONTROL_PLANS,
        "versions of plans, kept for ever (compaction would delete the one in force)",
        key="workspace id, empty for the default plan",
        cleanup="delete",
        retention_ms=FOREVER,
        partitions=1,
        writers=("api",),
        readers=("streams", "sinks", "api"),
        public=False,
    ),
    Topic(
        CONTROL_PRICES,
        "the operator's own prices and aliases, each a record, kept for ever",
        key="`provider/model`",
        cleanup="delete",
        retention_ms=FOREVER,
        partitions=1,
        writers=("api",),
        readers=("streams", "sinks", "api"),
        public=False,
    ),
    Topic(
        SINK_POSITIONS,
        "the sinks' intents: which range is about to be inserted",
        key="topic",
        cleanup="compact",
        retention_ms=FOREVER,
        writers=("sinks",),
        readers=("sinks",),
        public=False,
    ),
)

BY_NAME: Final[dict[str, Topic]] = {topic.name: topic for topic in TOPICS}

"""A partition's state: plain objects, saved one record a workspace, restored without Faust.

Amounts are pico-USD, times milliseconds since 1970. What is saved is a msgspec Struct; what is
derived (window sums, the plan in force, when something is next due) is computed again on load.
"""

from __future__ import annotations

from typing import Final

import msgspec

from spendstream.schemas.plan import DEFAULT_PLAN
from spendstream.schemas.topics import INPUTS, SEQUENCED, USAGE_LATE
from spendstream.streams.core.ids import IdIndex
from spendstream.streams.core.plans import NEVER, PlanInForce

WINDOW_SECONDS: Final = 60
SCOPE_WORKSPACE: Final = "workspace"
CHECKPOINT_KEY: Final = b'["","checkpoint"]'
OUTCOMES: Final = ("priced", "duplicate", "late", "dead", "forwarded", "repeated")
"""`repeated`: a command for a late row that was resolved already."""


_NO_PLAN: Final = PlanInForce(DEFAULT_PLAN, 0, NEVER)


class Counters(msgspec.Struct, gc=False):
    """Sums over counted events; `cost` and `charge` leave unpriced events out.

    `blocked` is how many of the requests never reached a provider: no limit counts those.
    """

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0
    charge: int = 0
    unpriced: int = 0
    blocked: int = 0


class Month(msgspec.Struct, gc=False):
    """A calendar month: what was counted in it, and what was booked to it as a billing period.

    `next_alarm`: the booked amount below which no threshold can be crossed.
    """

    counted: Counters
    booked: int = 0
    crossed: list[int] = msgspec.field(default_factory=list)
    next_alarm: int = 0
    overage_started: bool = False
    overage_emitted: int = 0
    overage_revision: int = 0
    overage_since_ms: int | None = None
    final: bool = False


class Episode(msgspec.Struct, gc=False):
    """A stretch of violation of one limit: when it opened, and when it was last above.

    A limit of the sliding minute also says which sum it bounds, and by how much.
    """

    opened: str
    over_ms: int
    column: int = 0
    amount: int | None = None


class Saved(msgspec.Struct, gc=False, omit_defaults=True):
    """The part of a workspace's state that is written to `workspace.checkpoint`.

    `unpublished`: `workspace.state` is behind; whoever recovers this must catch up on it.
    """

    total: Counters
    months: dict[str, Month]
    minute: dict[int, list[int]]
    episodes: dict[str, Episode]
    unpublished: bool = False


class StateRecord(msgspec.Struct, gc=False, omit_defaults=True):
    """Value of a state record; `upto` tags it with its batch (next offset of each input).

    `era` says which topics those offsets belong to (see Checkpoint).
    """

    upto: tuple[int, int]
    workspace_id: str
    state: Saved
    era: int = 0


class Workspace:
    """A workspace's state, live.

    `minute` maps whole seconds to [requests, tokens, charge], and holds the last 60 only.
    """

    __slots__ = (
        "decision",
        "due_ms",
        "episodes",
        "force",
        "id",
        "key",
        "minute",
        "minute_second",
        "months",
        "plan_revision",
        "published_ms",
        "sums",
        "total",
        "unpublished",
    )

    def __init__(self, workspace_id: str, saved: Saved | None = None) -> None:
        saved = saved or Saved(Counters(), {}, {}, {})
        self.id = workspace_id
        self.key = workspace_id.encode()
        self.total = saved.total
        self.months = saved.months
        self.minute = saved.minute
        self.episodes = saved.episodes
        self.sums: list[int] = [
            sum(column) for column in zip(*saved.minute.values(), strict=True)
        ] or [
            0,
            0,
            0,
        ]
        self.minute_second = 0
        self.force = _NO_PLAN
        self.plan_revision = -1
        self.decision = ""
        self.due_ms = NEVER
        self.published_ms = 0
        self.unpublished = saved.unpublished

    def saved(self) -> Saved:
        return Saved(self.total, self.months, self.minute, self.episodes, self.unpublished)

    def month(self, name: str) -> Month:
        month = self.months.get(name)
        if month is None:
            month = self.months[name] = Month(Counters())
        return month

    def slide(self, second: int) -> None:
        """Let the sliding minute end with `second`: older seconds leave the sums."""
        if second <= self.minute_second:
            return
        self.minute_second = second
        oldest = second - WINDOW_SECONDS
        sums = self.sums
        for gone in sorted(s for s in self.minute if s <= oldest):
            bucket = self.minute.pop(gone)
            for episode in self.episodes.values():
                amount, column = episode.amount, episode.column
                if amount is not None and sums[column] > amount >= sums[column] - bucket[column]:
                    # it stayed above without any event until this second left the window
                    episode.over_ms = (gone + WINDOW_SECONDS) * 1_000
            for column, value in enumerate(bucket):
                sums[column] -= value


class InputPosition(msgspec.Struct):
    """Next offset to read of an input, and the id of the topic that the offset belongs to."""

    epoch: str = ""
    upto: int = 0


class Moved(msgspec.Struct, frozen=True):
    """What was accepted of one topic: the position that was lost, and the one to go on from."""

    topic: str
    from_epoch: str
    from_offset: int
    to_epoch: str
    to_offset: int


class Accepted(msgspec.Struct, frozen=True):
    """An operator accepted a loss, so that a halted partition could go on; kept for ever.

    `by` is a user of the operating system; `upto` is where its era ended.
    """

    at_ms: int
    by: str
    reason: str
    upto: tuple[int, int]
    moved: tuple[Moved, ...]


class Checkpoint(msgspec.Struct):
    """The last record of every batch: the partition is exactly here.

    An accepted loss may set a position back, and older records would then carry higher tags than
    newer ones. So it ends an era: tags are compared within their own.

    Attributes:
        ids_from: the first offset of workspace.ids that may hold live ids.
        ids_upto: the next one after the ids of the batch before this one; 0: not known.
        truncated: topics whose log ended below the next offset, and where; until it is accepted.
        checkpoint_epoch: of the topic that the state was last recovered from; "": not known.
        accepted: what operators accepted, one an era that has ended.
        late_resolved: `seq` of usage.late up to which every row is resolved.
        refused_commands: records of workspace.commands that were none, or out of turn.
        priced_marks: (milliseconds, seq): rows of usage.priced above it were priced later.
    """

    partition: int
    batch: int = 0
    time_ms: int = 0
    inputs: dict[str, InputPosition] = msgspec.field(
        default_factory=lambda: {topic: InputPosition() for topic in INPUTS}
    )
    seq: dict[str, int] = msgspec.field(default_factory=lambda: dict.fromkeys(SEQUENCED, 0))
    ids_epoch: str = ""
    ids_from: int = 0
    ids_upto: int = 0
    outcomes: dict[str, dict[str, int]] = msgspec.field(
        default_factory=lambda: {topic: dict.fromkeys(("read", *OUTCOMES), 0) for topic in INPUTS}
    )
    control: dict[str, InputPosition] = msgspec.field(default_factory=dict)
    late_resolved: int = 0
    refused_commands: int = 0
    priced_marks: list[tuple[int, int]] = msgspec.field(default_factory=list)
    truncated: dict[str, int] = msgspec.field(default_factory=dict)
    checkpoint_epoch: str = ""
    accepted: list[Accepted] = msgspec.field(default_factory=list)

    @property
    def era(self) -> int:
        """How many losses were accepted before."""
        return len(self.accepted)

    def covers(self, era: int, upto: tuple[int, int]) -> bool:
        """Whether what is tagged so was committed: within what its era came to."""
        if era > self.era:
            return False
        end = self.upto if era == self.era else self.accepted[era].upto
        return upto[0] <= end[0] and upto[1] <= end[1]

    @property
    def upto(self) -> tuple[int, int]:
        """Next offsets of the two inputs: the tag of the batch's other records."""
        return self.inputs[INPUTS[0]].upto, self.inputs[INPUTS[1]].upto

    @property
    def taken_over(self) -> int:
        """Forwarded events that came in: commands less those of the resolver, and what was none."""
        commands = self.outcomes[INPUTS[1]]
        aside = self.late_resolved + commands.get("repeated", 0) + self.refused_commands
        return commands["read"] - aside

    @property
    def late_pending(self) -> int:
        """Rows of usage.late that are neither counted nor known as repeats."""
        return self.seq[USAGE_LATE] - self.late_resolved


class PartitionState:
    """Everything a partition knows. `due` is a heap of (milliseconds, workspace id).

    `next_mark_ms`: before it, the checkpoint needs no other mark.
    """

    __slots__ = (
        "checkpoint",
        "due",
        "ids",
        "next_mark_ms",
        "partitions",
        "plan_revision",
        "workspaces",
    )

    def __init__(self, partition: int, partitions: int) -> None:
        self.partitions = partitions
        self.checkpoint = Checkpoint(partition)
        self.workspaces: dict[str, Workspace] = {}
        self.ids = IdIndex()
        self.due: list[tuple[int, str]] = []
        self.plan_revision = 0
        self.next_mark_ms = 0

    @property
    def time_ms(self) -> int:
        """Partition time: the highest arrival processed; it never goes back."""
        return self.checkpoint.time_ms


def state_key(workspace_id: str, scope: str = SCOPE_WORKSPACE) -> bytes:
    """Key of a state record in `workspace.checkpoint`."""
    return msgspec.json.encode((workspace_id, scope))


encode_json: Final = msgspec.json.Encoder().encode
decode_state_record: Final = msgspec.json.Decoder(StateRecord).decode
decode_checkpoint: Final = msgspec.json.Decoder(Checkpoint).decode

"""What a checkpoint points at that is not there any more: recovery halts, accept.py goes on.

A topic that was deleted and created again begins anew, so that the checkpoint's offsets mean
nothing in it; retention deletes records whether they were processed or not.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final, NamedTuple

from spendstream.schemas.topics import (
    BY_NAME,
    CONTROL_PLANS,
    INPUTS,
    SEQUENCED,
    USAGE_EVENTS,
    WORKSPACE_CHECKPOINT,
    WORKSPACE_COMMANDS,
    WORKSPACE_IDS,
    WORKSPACE_STATE,
)
from spendstream.streams.core.ids import REMEMBER_MS
from spendstream.streams.core.state import Checkpoint, Moved
from spendstream.streams.errors import CheckpointLost, EpochChanged, Halted, RetentionOvertook
from spendstream.streams.reading import LogReader, watermarks

TOPICS: Final = (*INPUTS, WORKSPACE_IDS, CONTROL_PLANS, WORKSPACE_CHECKPOINT)
"""Whose ids a checkpoint knows."""
_OUTPUTS: Final = (*SEQUENCED, WORKSPACE_IDS, WORKSPACE_STATE)
"""What a partition's worker alone writes to, and only once it has a checkpoint."""

_COST: Final = {
    USAGE_EVENTS: "events in it are neither counted nor billed, unless they are sent again",
    WORKSPACE_COMMANDS: "events that other partitions forwarded are not counted; what became of"
    " late ones is sent again by the sink",
    WORKSPACE_IDS: "repeats of events of the last 25 hours are counted once more",
    CONTROL_PLANS: "every workspace is on the default plan until its plan is set again:"
    " `spendstream plans set`",
    WORKSPACE_CHECKPOINT: "workspaces whose state is not in the topic begin at zero: accept it"
    " only where all of the topic was restored from a backup",
}


class Loss(NamedTuple):
    """One topic's; `why` is what is seen, `cost` what is lost by going on from there."""

    kind: type[Halted]
    moved: Moved
    why: str
    cost: str


def find_losses(reader: LogReader, checkpoint: Checkpoint, epochs: Mapping[str, str]) -> list[Loss]:
    """All that stands between a checkpoint and going on from it.

    Args:
        epochs: the ids of TOPICS.

    Raises Recoverable.
    """
    found = []
    for topic, (epoch, upto) in _positions(checkpoint).items():
        place, now = f"{topic}/{checkpoint.partition}", epochs[topic]
        if topic in (CONTROL_PLANS, WORKSPACE_CHECKPOINT):
            if epoch in ("", now):  # not known, or the same
                continue
            low = 0  # read from its beginning
        else:
            low = watermarks(reader, topic, checkpoint.partition).low
        moved = Moved(topic, epoch, upto, now, low)
        if epoch != now:
            why = (
                f"{place}: the checkpoint's offsets belong to topic {epoch}, but the topic is"
                f" {now} now: it was deleted and created again"
            )
            cost = f"what the old {topic} held from offset {upto} on: {_COST[topic]}"
            found.append(Loss(EpochChanged, moved, why, cost))
        elif low > upto and not (topic == WORKSPACE_IDS and _expired(checkpoint)):
            why = (
                f"{place}: the log begins at {low}, but {upto} is next: records were deleted"
                " before they were processed"
            )
            cost = f"offsets {upto} to {low - 1} of {topic}: {_COST[topic]}"
            found.append(Loss(RetentionOvertook, moved, why, cost))
    return found


def halted(partition: int, losses: list[Loss]) -> Halted:
    """The error that names them all, and says what to do. Its kind is that of the first."""
    return losses[0].kind(
        f"{'; '.join(loss.why for loss in losses)}. `spendstream partitions show` says what going"
        f" on would lose, `spendstream partitions accept {partition}` accepts that"
    )


def check_first_start(reader: LogReader, partition: int) -> None:
    """See that a partition without a checkpoint never had one.

    A partition writes its first checkpoint before anything else. So whatever lies in its outputs,
    committed or not, was written by one that had some.

    Raises:
        CheckpointLost: starting from nothing would count all events again, under the old `seq`.
        Recoverable: the broker does not answer.
    """
    written = [t for t in _OUTPUTS if watermarks(reader, t, partition).high > 0]
    if written:
        raise CheckpointLost(
            f"{WORKSPACE_CHECKPOINT}/{partition} holds no checkpoint, but {', '.join(written)} hold"
            " what was written under one: the topic was deleted or emptied. Restore it from a"
            " backup. Without one, to count anew what usage.events still has: stop workers and"
            f" sinks, delete {', '.join((WORKSPACE_CHECKPOINT, *_OUTPUTS))}, make them anew by"
            " `spendstream topics create`, and give the sinks a new database"
        )


def _positions(checkpoint: Checkpoint) -> dict[str, tuple[str, int]]:
    """Of each topic that the checkpoint knows the id, and the first offset that is needed."""
    plans = checkpoint.control.get(CONTROL_PLANS)
    return {
        **{topic: (p.epoch, p.upto) for topic, p in checkpoint.inputs.items()},
        WORKSPACE_IDS: (checkpoint.ids_epoch, checkpoint.ids_from),
        CONTROL_PLANS: (plans.epoch, plans.upto) if plans is not None else ("", 0),
        WORKSPACE_CHECKPOINT: (checkpoint.checkpoint_epoch, 0),
    }


def _expired(checkpoint: Checkpoint) -> bool:
    """Whether ids that retention may have deleted by now were forgotten by partition time, too.

    A partition without events does not move `ids_from`, and the log may well begin above it.
    """
    deleted_up_to = int(time.time() * 1_000) - BY_NAME[WORKSPACE_IDS].retention_ms
    return checkpoint.time_ms - REMEMBER_MS > deleted_up_to

"""What a checkpoint points at that is not there any more: recovery halts, accept.py goes on.

A topic that was deleted and created again begins anew, so that the checkpoint's offsets mean
nothing in it; retention deletes records whether they were processed or not; a log loses its end
where a replica that lagged becomes the leader, and all of it with the only disk that it was on.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final, NamedTuple

from msgspec.structs import replace

from spendstream.schemas.topics import (
    BY_NAME,
    CONTROL,
    CONTROL_PLANS,
    CONTROL_PRICES,
    INPUTS,
    SEQUENCED,
    SINK_POSITIONS,
    USAGE_EVENTS,
    WORKSPACE_CHECKPOINT,
    WORKSPACE_COMMANDS,
    WORKSPACE_IDS,
    WORKSPACE_STATE,
)
from spendstream.streams.core.ids import REMEMBER_MS
from spendstream.streams.core.state import Checkpoint, InputPosition, Moved
from spendstream.streams.errors import (
    CheckpointLost,
    EpochChanged,
    Halted,
    LogTruncated,
    RetentionOvertook,
)
from spendstream.streams.reading import LogReader, ever_written, watermarks

TOPICS: Final = (*INPUTS, WORKSPACE_IDS, *CONTROL, WORKSPACE_CHECKPOINT)
"""Whose ids a checkpoint knows."""
_FOR_EVER: Final = (*CONTROL, WORKSPACE_CHECKPOINT)
"""Nothing is deleted from them: compaction leaves the log's beginning where it was."""
_OUTPUTS: Final = (*SEQUENCED, WORKSPACE_IDS, WORKSPACE_STATE)
"""What a partition's worker alone writes to, and only once it has a checkpoint."""
_BEGUN_ANEW: Final = (WORKSPACE_CHECKPOINT, *_OUTPUTS, WORKSPACE_COMMANDS, SINK_POSITIONS)
"""What belongs to the count that ends where all is counted anew: an old command would settle
another late row, and a sink with old positions would miss rows in its new database."""

_COST: Final = {
    USAGE_EVENTS: "events in it are neither counted nor billed, unless they are sent again",
    WORKSPACE_COMMANDS: "events that other partitions forwarded are not counted; what became of"
    " late ones is sent again by the sink",
    WORKSPACE_IDS: "repeats of events of the last 25 hours are counted once more",
    CONTROL_PLANS: "whoever's plan was there is on the default plan until it is set again:"
    " `spendstream plans set`",
    CONTROL_PRICES: "calls that its prices and aliases were for are priced by genai-prices', or"
    " unpriced, until they are set again: `spendstream prices import`",
    WORKSPACE_CHECKPOINT: "workspaces whose state is not in the topic begin at zero: accept it"
    " only where all of the topic was restored from a backup",
}


class Loss(NamedTuple):
    """One topic's; `why` is what is seen, `cost` what is lost by going on from there.

    `end`: where a truncated log ended, when that was first seen.
    """

    kind: type[Halted]
    moved: Moved
    why: str
    cost: str
    end: int = 0


def find_losses(reader: LogReader, checkpoint: Checkpoint, epochs: Mapping[str, str]) -> list[Loss]:
    """All that stands between a checkpoint and going on from it.

    Args:
        epochs: the ids of TOPICS.

    Raises Recoverable.
    """
    found = []
    for topic, (epoch, first, upto) in _needed(checkpoint).items():
        if not epoch and topic in _FOR_EVER:
            continue  # not known yet
        partition = 0 if topic in CONTROL else checkpoint.partition
        place, now = f"{topic}/{partition}", epochs[topic]
        low, high = watermarks(reader, topic, partition)
        if epoch != now:
            why = (
                f"{place}: the checkpoint's offsets belong to topic {epoch}, but the topic is"
                f" {now} now: it was deleted and created again"
            )
            cost = f"what the old {topic} held from offset {first} on: {_COST[topic]}"
            found.append(Loss(EpochChanged, Moved(topic, epoch, first, now, low), why, cost))
        elif (end := checkpoint.truncated.get(topic, high)) < upto:
            why = (
                f"{place}: the log ended at {end}, but {upto} is next: it has lost its end, by an"
                " unclean leader election, or all that it held, with a disk"
            )
            cost = f"what {topic} held from offset {end} on: {_COST[topic]}"
            if topic in INPUTS:
                cost = (
                    f"what {topic} held from offset {upto} on, unread: {_COST[topic]}. It is read"
                    f" again from {low}: events that were counted are known by their ids, unless"
                    f" {WORKSPACE_IDS} has lost those, too, or are looked up by the sink; what was"
                    " refused comes to usage.dead once more"
                )
            moved = Moved(topic, epoch, upto, now, low)
            found.append(Loss(LogTruncated, moved, why, cost, end))
        elif low > first and not (topic == WORKSPACE_IDS and _expired(checkpoint)):
            why = (
                f"{place}: the log begins at {low}, but {first} is next: records were deleted"
                " before they were processed"
            )
            if topic in _FOR_EVER:
                why = (
                    f"{place}: the log begins at {low}, but is needed from {first} on: records were"
                    " deleted that are to be kept for ever (`spendstream topics check` compares the"
                    " topic's settings)"
                )
            cost = f"offsets {first} to {low - 1} of {topic}: {_COST[topic]}"
            found.append(Loss(RetentionOvertook, Moved(topic, epoch, first, now, low), why, cost))
    return found


def made_anew(checkpoint: Checkpoint, epochs: Mapping[str, str]) -> list[str]:
    """Of TOPICS those that are others than when the partition was recovered."""
    needed = _needed(checkpoint)
    return [topic for topic, now in epochs.items() if needed[topic].epoch != now]


def halted(checkpoint: Checkpoint, losses: list[Loss]) -> Halted:
    """The error that names them all, and says what to do. Its kind is that of the first."""
    error = losses[0].kind(
        f"{'; '.join(loss.why for loss in losses)}. `spendstream partitions show` says what going"
        f" on would lose, `spendstream partitions accept {checkpoint.partition}` accepts that"
    )
    # a log that was truncated grows: by the next look it may have passed what is next
    ends = {loss.moved.topic: loss.end for loss in losses if loss.kind is LogTruncated}
    if ends.keys() - checkpoint.truncated:
        truncated = checkpoint.truncated | ends
        error.note = replace(checkpoint, batch=checkpoint.batch + 1, truncated=truncated)
    return error


def check_first_start(reader: LogReader, partition: int) -> None:
    """See that a partition without a checkpoint never had one.

    A partition writes its first checkpoint before anything else. So whatever lies in its outputs,
    committed or not, was written by one that had some.

    Raises:
        CheckpointLost: starting from nothing would count all events again, under the old `seq`.
        Recoverable: the broker does not answer.
    """
    written = [topic for topic in _OUTPUTS if ever_written(reader, topic, partition)]
    if written:
        raise CheckpointLost(
            f"{WORKSPACE_CHECKPOINT}/{partition} holds no checkpoint, but {', '.join(written)} hold"
            " what was written under one: the topic was deleted or emptied. Restore it from a"
            " backup. Without one, to count anew what usage.events still has: stop workers and"
            f" sinks, delete {', '.join(_BEGUN_ANEW)}, make them anew by `spendstream topics"
            " create`, and give the sinks a new database"
        )


class _Needed(NamedTuple):
    """The topic's id, the first offset that is needed, and what its log must reach to."""

    epoch: str
    first: int
    upto: int


def _needed(checkpoint: Checkpoint) -> dict[str, _Needed]:
    """Of each topic that the checkpoint knows; control topics and its own are read from the start,
    or from what was accepted as that."""
    ids_from = checkpoint.ids_from
    control = {topic: checkpoint.control.get(topic, InputPosition()) for topic in CONTROL}
    epoch = checkpoint.checkpoint_epoch
    states_from = _accepted_start(checkpoint, WORKSPACE_CHECKPOINT, epoch)
    return {
        **{topic: _Needed(p.epoch, p.upto, p.upto) for topic, p in checkpoint.inputs.items()},
        WORKSPACE_IDS: _Needed(checkpoint.ids_epoch, ids_from, max(ids_from, checkpoint.ids_upto)),
        **{
            topic: _Needed(p.epoch, _accepted_start(checkpoint, topic, p.epoch), p.upto)
            for topic, p in control.items()
        },
        WORKSPACE_CHECKPOINT: _Needed(epoch, states_from, 0),
    }


def _accepted_start(checkpoint: Checkpoint, topic: str, epoch: str) -> int:
    moved = (one for accepted in checkpoint.accepted for one in accepted.moved)
    starts = (one.to_offset for one in moved if (one.topic, one.to_epoch) == (topic, epoch))
    return max(starts, default=0)


def _expired(checkpoint: Checkpoint) -> bool:
    """Whether ids that retention may have deleted by now were forgotten by partition time, too.

    A partition without events does not move `ids_from`, and the log may well begin above it.
    """
    deleted_up_to = int(time.time() * 1_000) - BY_NAME[WORKSPACE_IDS].retention_ms
    return checkpoint.time_ms - REMEMBER_MS > deleted_up_to

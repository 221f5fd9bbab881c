"""Accepting a loss, so that a halted partition goes on: one checkpoint more, audited.

Whoever accepts becomes the partition's producer, as a worker does, and so fences whoever has it.
What is wrong is found by what recovery looks at (losses.py). A worker that has halted looks again
by itself, and finds a checkpoint that points at what is there.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from spendstream.schemas.topics import CONTROL, WORKSPACE_CHECKPOINT, WORKSPACE_IDS
from spendstream.streams.core.state import (
    CHECKPOINT_KEY,
    Accepted,
    Checkpoint,
    InputPosition,
    decode_checkpoint,
    encode_json,
)
from spendstream.streams.errors import Fenced, HangingTransaction
from spendstream.streams.losses import TOPICS, Loss, check_first_start, find_losses
from spendstream.streams.reading import LogReader, read_to_end, topic_ids, watermarks
from spendstream.streams.transactions import PartitionProducer

_TRIES: Final = 3
_LOOKS: Final = 10
_LOOK_AGAIN_S: Final = 0.3
_LAST: Final = 16


class OtherLosses(ValueError):
    """More is lost than was confirmed; nothing was written."""


class Seen(NamedTuple):
    """A partition from outside; without a checkpoint it has not begun yet."""

    checkpoint: Checkpoint | None
    losses: list[Loss]


def look(bootstrap_servers: str, partition: int) -> Seen:
    """What a worker that recovers the partition now would see. Writes nothing.

    Raises:
        CheckpointLost: nothing can be accepted, as nothing says where to go on.
        Recoverable: the broker does not answer, or a transaction hides the newest checkpoint.
    """
    reader = LogReader(bootstrap_servers)
    try:
        checkpoint = _patiently(reader, partition)
        if checkpoint is None:
            check_first_start(reader, partition)
            return Seen(None, [])
        epochs = topic_ids(bootstrap_servers, TOPICS)
        return Seen(checkpoint, find_losses(reader, checkpoint, epochs))
    finally:
        reader.close()


def accept(
    bootstrap_servers: str,
    group: str,
    partition: int,
    by: str,
    reason: str,
    confirmed: Sequence[Loss],
) -> list[Loss]:
    """Go on without what is lost; returns that. Where nothing is, nothing is written.

    Args:
        group: the workers'.
        by: who accepts, for the audit.
        confirmed: what `look` showed and a person agreed to lose.

    Raises:
        OtherLosses: something else is lost by now; nothing was written.
        CheckpointLost: see `look`.
        Fenced: a worker takes the partition again and again; nothing was written.
        Recoverable: it is not known whether it was written; look again.
    """
    if not _confirmed(look(bootstrap_servers, partition), confirmed).losses:
        return []  # and nobody was fenced
    for _ in range(_TRIES - 1):
        with suppress(Fenced):  # by a worker that looked again just then
            return _accept(bootstrap_servers, group, partition, by, reason, confirmed)
    return _accept(bootstrap_servers, group, partition, by, reason, confirmed)


def _accept(
    bootstrap_servers: str,
    group: str,
    partition: int,
    by: str,
    reason: str,
    confirmed: Sequence[Loss],
) -> list[Loss]:
    producer = PartitionProducer(bootstrap_servers, group, partition)
    try:
        checkpoint, losses = _confirmed(look(bootstrap_servers, partition), confirmed)
        if checkpoint is None or not losses:
            return []
        _go_on(checkpoint, losses, by, reason)
        producer.begin()
        producer.send(WORKSPACE_CHECKPOINT, [(CHECKPOINT_KEY, encode_json(checkpoint))])
        producer.commit()
        return losses
    finally:
        producer.close()


def _confirmed(seen: Seen, confirmed: Sequence[Loss]) -> Seen:
    """The same. Retention goes on deleting, and topics are made anew, while a person is asked."""
    other = [loss.why for loss in seen.losses if loss not in confirmed]
    if other:
        raise OtherLosses(
            f"something else is lost than what was shown, and nothing was written:"
            f" {'; '.join(other)}. `spendstream partitions show` says what, `spendstream partitions"
            " accept` asks again"
        )
    return seen


def _go_on(checkpoint: Checkpoint, losses: list[Loss], by: str, reason: str) -> None:
    """Let it point at what is there. What was tagged before belongs to an era that has ended."""
    moved = tuple(loss.moved for loss in losses)
    now_ms = int(time.time() * 1_000)
    checkpoint.accepted.append(Accepted(now_ms, by, reason, checkpoint.upto, moved))
    checkpoint.batch += 1
    for one in moved:
        topic, epoch, offset = one.topic, one.to_epoch, one.to_offset
        checkpoint.truncated.pop(topic, None)
        if topic == WORKSPACE_IDS:
            checkpoint.ids_epoch, checkpoint.ids_from, checkpoint.ids_upto = epoch, offset, 0
            checkpoint.priced_marks = []  # which say since when ids are known
        elif topic in CONTROL:
            checkpoint.control[topic] = InputPosition(epoch, offset)
        elif topic == WORKSPACE_CHECKPOINT:
            checkpoint.checkpoint_epoch = epoch
        else:
            checkpoint.inputs[topic] = InputPosition(epoch, offset)


def _patiently(reader: LogReader, partition: int) -> Checkpoint | None:
    """The last checkpoint; a worker that commits right now is waited for."""
    for _ in range(_LOOKS):
        try:
            return _last_checkpoint(reader, partition)
        except HangingTransaction:
            time.sleep(_LOOK_AGAIN_S)  # a commit tells nobody
    return _last_checkpoint(reader, partition)


def _last_checkpoint(reader: LogReader, partition: int) -> Checkpoint | None:
    """It ends each batch, so that it is nearly always among the last records."""
    high = watermarks(reader, WORKSPACE_CHECKPOINT, partition).high
    for start in (max(0, high - _LAST), 0):
        last = None
        for message in read_to_end(reader, WORKSPACE_CHECKPOINT, partition, start):
            if message.key() == CHECKPOINT_KEY:
                last = message.value()
        if last is not None:
            return decode_checkpoint(last)
    return None

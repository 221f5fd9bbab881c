"""Closing a batch: what of the changed state is written, and what of it is published."""

from __future__ import annotations

from typing import NamedTuple

from spendstream.streams.core.outputs import Batch, Row
from spendstream.streams.core.public import decide, heartbeat, public_state
from spendstream.streams.core.schedule import PUBLISH_EVERY_MS, schedule
from spendstream.streams.core.state import (
    CHECKPOINT_KEY,
    PartitionState,
    StateRecord,
    encode_json,
    state_key,
)


class Closing(NamedTuple):
    """Records that end a batch: of `workspace.checkpoint` (the checkpoint last) and `.state`."""

    checkpoint: list[Row]
    state: list[Row]


def finish(state: PartitionState, batch: Batch) -> Closing:
    """Number the batch and encode what it changed."""
    checkpoint = state.checkpoint
    checkpoint.batch += 1
    now = checkpoint.time_ms
    upto, era = checkpoint.upto, checkpoint.era
    saved: list[Row] = []
    published: list[Row] = [(b"", heartbeat(state))]
    for ws in batch.changed.values():
        ws.slide(now // 1_000)
        decision = decide(ws, now)
        if decision != ws.decision or now - ws.published_ms >= PUBLISH_EVERY_MS:
            published.append((ws.key, public_state(state, ws, decision)))
            ws.decision = decision
            ws.published_ms = now
            ws.unpublished = False
        else:
            ws.unpublished = True
        saved.append((state_key(ws.id), encode_json(StateRecord(upto, ws.id, ws.saved(), era))))
        schedule(state, ws)
    saved.append((CHECKPOINT_KEY, encode_json(checkpoint)))
    return Closing(saved, published)

"""Which records of the checkpoint topic count, where a reader sees aborted ones, too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Message

from spendstream.schemas.topics import USAGE_EVENTS, WORKSPACE_COMMANDS
from spendstream.streams import recovery
from spendstream.streams.core.state import (
    CHECKPOINT_KEY,
    Checkpoint,
    Counters,
    Saved,
    StateRecord,
    encode_json,
    state_key,
)


def state(upto: tuple[int, int], requests: int, workspace: str = "ws") -> Message:
    saved = Saved(Counters(requests=requests), {}, {}, {})
    return Message(key=state_key(workspace), value=encode_json(StateRecord(upto, workspace, saved)))


def checkpoint(events: int, commands: int) -> Message:
    value = Checkpoint(0)
    value.inputs[USAGE_EVENTS].upto = events
    value.inputs[WORKSPACE_COMMANDS].upto = commands
    return Message(key=CHECKPOINT_KEY, value=encode_json(value))


@pytest.mark.parametrize(
    ("log", "requests"),
    [
        ([state((1, 0), 1), checkpoint(1, 0)], 1),
        # a batch without its checkpoint
        ([state((1, 0), 1), checkpoint(1, 0), state((2, 0), 2)], 1),
        # done again, with the same cut
        ([checkpoint(98, 5), state((99, 5), 1), state((99, 5), 1), checkpoint(99, 5)], 1),
        # done again with another cut: a later checkpoint covers the aborted record, but it is not
        # newer than what was settled in between
        (
            [
                checkpoint(98, 5),
                state((100, 5), 1),
                state((99, 6), 2),
                checkpoint(99, 6),
                state((105, 6), 1, "other"),
                checkpoint(105, 6),
            ],
            2,
        ),
        # compacted: the earlier checkpoints are gone
        ([state((1, 0), 1), state((5, 0), 1, "other"), checkpoint(9, 0)], 1),
    ],
)
def test_the_newest_committed_state_counts(
    monkeypatch: pytest.MonkeyPatch, log: list[Message], requests: int
) -> None:
    def read(*_: Any) -> Iterator[Message]:
        return iter(log)

    monkeypatch.setattr(recovery, "read_to_end", read)
    _, records = recovery._read_checkpoint(None, 0)  # type: ignore[arg-type]
    assert records[state_key("ws")].state.total.requests == requests

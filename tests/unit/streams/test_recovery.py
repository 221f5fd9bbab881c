"""Which records of the checkpoint topic count, where a reader sees aborted ones, too."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from confluent_kafka import Message
from hypothesis import given
from hypothesis import strategies as st

from spendstream.schemas.topics import (
    CONTROL_PLANS,
    USAGE_EVENTS,
    WORKSPACE_CHECKPOINT,
    WORKSPACE_COMMANDS,
    WORKSPACE_IDS,
)
from spendstream.streams import recovery
from spendstream.streams.core.state import (
    CHECKPOINT_KEY,
    Accepted,
    Checkpoint,
    Counters,
    Moved,
    PartitionState,
    Saved,
    StateRecord,
    decode_checkpoint,
    encode_json,
    state_key,
)


def state(upto: tuple[int, int], requests: int, workspace: str = "ws", era: int = 0) -> Message:
    saved = Saved(Counters(requests=requests), {}, {}, {})
    record = StateRecord(upto, workspace, saved, era)
    return Message(key=state_key(workspace), value=encode_json(record))


def checkpoint(events: int, commands: int, *accepted: tuple[int, int]) -> Message:
    """`accepted`: where the eras before ended."""
    value = Checkpoint(0, accepted=[Accepted(0, "", "", end, ()) for end in accepted])
    value.inputs[USAGE_EVENTS].upto = events
    value.inputs[WORKSPACE_COMMANDS].upto = commands
    return Message(key=CHECKPOINT_KEY, value=encode_json(value))


@pytest.mark.parametrize(
    ("log", "stands"),
    [
        ([checkpoint(9, 0)], True),
        # aborted, on a broker that shows it
        ([checkpoint(9, 0), state((12, 0), 1)], True),
        # another worker had the partition meanwhile
        ([checkpoint(9, 0), state((12, 0), 1), checkpoint(12, 0)], False),
        # and the broker has compacted ours away
        ([checkpoint(12, 0)], False),
        # the topic was made anew
        ([], False),
    ],
)
def test_what_was_kept_stands_only_where_its_checkpoint_is_the_last(
    monkeypatch: pytest.MonkeyPatch, log: list[Message], stands: bool
) -> None:
    def nothing_wrong(*_: Any) -> None: ...

    monkeypatch.setattr(recovery, "read_to_end", lambda *_: iter(log))
    monkeypatch.setattr(recovery, "_check", nothing_wrong)
    kept = PartitionState(0, 1)
    kept.checkpoint = decode_checkpoint(checkpoint(9, 0).value() or b"")
    snapshot = recovery.Snapshot(kept, deque(), 7)
    assert recovery.still_stands(None, snapshot, 0, {}) is stands  # type: ignore[arg-type]


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
        # an accepted loss set the position back: older tags are higher
        ([state((9, 0), 1), checkpoint(9, 0), checkpoint(0, 0, (9, 0))], 1),
        (
            [
                state((9, 0), 1),
                checkpoint(9, 0),
                checkpoint(0, 0, (9, 0)),
                state((2, 0), 2, era=1),
                checkpoint(2, 0, (9, 0)),
            ],
            2,
        ),
        # and before it a batch had been left without its checkpoint
        (
            [state((9, 0), 1), checkpoint(9, 0), state((12, 0), 2), checkpoint(50, 0, (9, 0))],
            1,
        ),
    ],
)
def test_the_newest_committed_state_counts(
    monkeypatch: pytest.MonkeyPatch, log: list[Message], requests: int
) -> None:
    assert state_of(log, monkeypatch)["ws"] == requests


def state_of(log: list[Message], monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Requests by workspace, as recovery sees them."""
    monkeypatch.setattr(recovery, "read_to_end", lambda *_: iter(log))
    last, _, records = recovery._read_checkpoint(None, 0)  # type: ignore[arg-type]
    assert last is not None
    return {
        record.workspace_id: record.state.total.requests
        for record in records.values()
        if last.covers(record.era, record.upto)
    }


STEPS = st.one_of(
    st.tuples(st.sampled_from(("commit", "abort")), st.integers(1, 5)),
    st.tuples(st.just("accept"), st.integers(0, 12)),
)


@given(st.lists(STEPS, max_size=20), st.booleans())
def test_whatever_was_accepted_and_aborted_what_was_committed_counts(
    steps: list[tuple[str, int]], compacted: bool
) -> None:
    counted: dict[str, int] = {}
    ends: list[tuple[int, int]] = []
    position = 0
    log = [checkpoint(0, 0)]
    for step, number in steps:
        if step == "accept":
            ends.append((position, 0))
            position = number
        elif step == "commit" or not compacted:  # where logs are compacted, no aborted record shows
            after = dict(counted)
            touched = {f"ws-{(at + len(ends)) % 3}" for at in range(position, position + number)}
            for at in range(position, position + number):
                name = f"ws-{(at + len(ends)) % 3}"
                after[name] = after.get(name, 0) + 1
            upto = (position + number, 0)
            log += [state(upto, after[name], name, len(ends)) for name in sorted(touched)]
            if step == "abort":
                continue
            counted, position = after, position + number
        log.append(checkpoint(position, 0, *ends))
    if compacted:
        last = {message.key(): message for message in log}
        log = [message for message in log if last[message.key()] is message]
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert state_of(log, monkeypatch) == counted


@pytest.mark.parametrize("topic", [CONTROL_PLANS, USAGE_EVENTS])
def test_a_lost_plan_wakes_its_workspace(monkeypatch: pytest.MonkeyPatch, topic: str) -> None:
    def nothing_wrong(*_: Any) -> None: ...

    last = decode_checkpoint(checkpoint(1, 0).value() or b"")
    moved = Moved(topic, "a", 0, "b", 0)
    last.time_ms, last.accepted = 10_000, [Accepted(0, "", "", (1, 0), (moved,))]
    log = [state((1, 0), 1), Message(key=CHECKPOINT_KEY, value=encode_json(last))]
    read = {WORKSPACE_CHECKPOINT: log, WORKSPACE_IDS: []}
    monkeypatch.setattr(recovery, "read_to_end", lambda _, topic, *__: iter(read[topic]))
    monkeypatch.setattr(recovery, "_check", nothing_wrong)
    found = recovery.recover(None, 0, 1, {}).state  # type: ignore[arg-type]
    assert (found.due[0][0] <= last.time_ms + 1) is (topic == CONTROL_PLANS)

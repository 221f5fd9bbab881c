"""Which records of a checkpoint topic make the state: as a worker's recovery takes them."""

from __future__ import annotations

from spendstream.api.restore import restore
from spendstream.api.settled import Behind, NotSettled
from spendstream.api.state import CheckpointRecord, fold
from spendstream.schemas.topics import USAGE_EVENTS, WORKSPACE_COMMANDS
from spendstream.streams.core.state import (
    CHECKPOINT_KEY,
    Checkpoint,
    Counters,
    InputPosition,
    Saved,
    StateRecord,
    encode_json,
    state_key,
)


def state(workspace: str, requests: int, upto: tuple[int, int]) -> CheckpointRecord:
    saved = Saved(Counters(requests=requests), {}, {}, {})
    return CheckpointRecord(
        0, state_key(workspace), encode_json(StateRecord(upto, workspace, saved))
    )


def checkpoint(upto: tuple[int, int], partition: int = 0) -> CheckpointRecord:
    inputs = {
        USAGE_EVENTS: InputPosition("e", upto[0]),
        WORKSPACE_COMMANDS: InputPosition("c", upto[1]),
    }
    value = encode_json(Checkpoint(partition, inputs=inputs))
    return CheckpointRecord(partition, CHECKPOINT_KEY, value)


def test_the_newest_record_under_the_last_checkpoint_counts() -> None:
    worker = fold(
        [
            state("a", 1, (5, 0)),
            state("b", 1, (5, 0)),
            checkpoint((5, 0)),
            state("a", 2, (9, 1)),
            checkpoint((9, 1)),
        ]
    )
    assert worker.checkpoints[0].upto == (9, 1)
    assert {name: saved.total.requests for name, saved in worker.workspaces.items()} == {
        "a": 2,
        "b": 1,
    }
    assert worker.partitions == {"a": 0, "b": 0}


def test_a_batch_that_was_never_finished_is_left_out() -> None:
    worker = fold(
        [
            state("a", 1, (5, 3)),
            checkpoint((5, 3)),
            state("a", 2, (9, 3)),
            state("b", 1, (5, 4)),
        ]
    )
    assert worker.workspaces["a"].total.requests == 1
    assert "b" not in worker.workspaces


def test_states_without_a_checkpoint_are_nobodys() -> None:
    assert fold([state("a", 1, (1, 0))]).workspaces == {}


def test_a_partition_is_restored_with_its_own_workspaces_only() -> None:
    other = state("b", 7, (1, 0))._replace(partition=1)
    worker = fold([state("a", 1, (1, 0)), checkpoint((1, 0)), other, checkpoint((1, 0), 1)])
    restored = restore(worker, 1, 2)
    assert restored.workspaces.keys() == {"b"}
    assert restored.workspaces["b"].total.requests == 7
    assert restore(worker, 2, 3).checkpoint.upto == (0, 0)


def test_a_timeout_says_in_words_who_is_behind() -> None:
    worker = NotSettled([Behind(USAGE_EVENTS, 3, 10, 25)], 60)
    assert "the worker is behind (usage.events partition 3 is at 10 of 25)" in str(worker)
    sink = NotSettled([Behind("usage.priced", n, 0, 5) for n in range(8)], 60)
    assert "the sink is behind" in str(sink)
    assert "and 2 more" in str(sink)
    assert sink.behind[0].missing == 5

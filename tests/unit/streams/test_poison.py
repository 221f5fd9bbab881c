"""The search for the record that the core fails on, against a core that fails on known ones."""

from __future__ import annotations

from collections.abc import Callable
from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.schemas.reasons import Reason
from spendstream.schemas.records import DeadLetter
from spendstream.schemas.topics import USAGE_DEAD, USAGE_EVENTS, USAGE_LATE, WORKSPACE_COMMANDS
from spendstream.streams.condemned import condemn
from spendstream.streams.core.outputs import Batch
from spendstream.streams.core.plans import NEVER, PlanTable
from spendstream.streams.core.state import PartitionState
from spendstream.streams.poison import (
    DETAIL_CHARS,
    MAX_BALANCE,
    PoisonSearch,
    RecordPlace,
    detail_of,
)
from tests.support.records import NOON, Call, Record

Done = Callable[[int], int | None]
"""How many records the core was done with, of those before the one that it failed on."""
FETCHED = 64
"""Records of a transaction where nothing is searched for."""


def run(count: int, poison: set[int], done: Done) -> tuple[list[int], list[int], int]:
    """(processed, condemned, failures) of a partition with so many records."""
    search = PoisonSearch()
    processed: list[int] = []
    condemned: list[int] = []
    at = failures = 0
    search.recovered({"t": at})
    while at < count:
        if search.condemned is not None:
            assert search.condemned.place == RecordPlace("t", at)
            condemned.append(at)
            at += 1
            search.buried({"t": at})
            continue
        stretch = range(at, min(count, at + (search.stretch or FETCHED)))
        bad = [n for n in stretch if n in poison]
        if bad:
            failures += 1
            search.failed(len(stretch), done(bad[0] - at), RecordPlace("t", at), "why")
            search.recovered({"t": at})
        else:
            processed += stretch
            at = stretch.stop
            search.committed({"t": at}, len(stretch))
    return processed, condemned, failures


@pytest.mark.parametrize(
    ("done", "failures_each"),
    [
        (lambda before: before, 3),  # it fails where it counts
        (lambda before: before // 10 * 10, 5 + log2(FETCHED)),  # it looks ten ahead
        (lambda before: None, 3 + log2(FETCHED)),  # it fails at the end
        (lambda before: 0, 5 + log2(FETCHED)),
    ],
)
@given(count=st.integers(1, 300), poison=st.sets(st.integers(0, 299), max_size=6))
def test_all_poison_and_nothing_else_is_condemned(
    done: Done, failures_each: float, count: int, poison: set[int]
) -> None:
    poison = {n for n in poison if n < count}
    processed, condemned, failures = run(count, poison, done)
    assert condemned == sorted(poison)
    assert processed == [n for n in range(count) if n not in poison]
    assert failures <= failures_each * len(poison)


def test_one_failure_condemns_nothing_and_shortens_nothing() -> None:
    search = PoisonSearch()
    search.recovered({"t": 5})
    search.failed(1, 0, RecordPlace("t", 5), "why")
    assert (search.condemned, search.stretch) == (None, None)
    search.recovered({"t": 6})  # its commit had gone through after all
    search.failed(1, 0, RecordPlace("t", 6), "why")
    assert (search.condemned, search.stretch) == (None, None)
    search.failed(1, 0, RecordPlace("t", 6), "why")
    assert search.condemned is not None


def test_where_records_fail_only_together_none_is_condemned() -> None:
    search = PoisonSearch()
    for _ in range(2):
        search.failed(8, None, RecordPlace("t", 0), "why")
    tried = []
    for _ in range(8):
        stretch = search.stretch
        if stretch is None:
            break
        tried.append(stretch)
        search.committed({"t": sum(tried)}, stretch)
    assert sum(tried) == 8
    assert (search.condemned, search.stretch) == (None, None)


def test_where_more_fail_than_go_through_the_worker_is_at_fault() -> None:
    search = PoisonSearch()
    for n in range(MAX_BALANCE):
        assert not search.worker_at_fault
        search.buried({"t": n})
    search.start_over()
    assert search.worker_at_fault
    search.committed({"t": 99}, 1)
    assert not search.worker_at_fault


def test_the_letter_holds_the_traceback_within_bounds() -> None:
    def deep(n: int) -> None:
        if n:
            deep(n - 1)
        raise ValueError("\ud800" + "x" * 100_000)

    try:
        deep(200)
    except ValueError as error:
        detail = detail_of(error)
    assert len(detail) <= DETAIL_CHARS
    assert detail.startswith("ValueError: \\ud800xxx")
    assert 'raise ValueError("' in detail[-200:]

    state, batch = PartitionState(0, 1), Batch()
    record = Call("a", NOON).record(7, NOON + 5)
    condemn(state, batch, USAGE_EVENTS, record, PlanTable(), NEVER, detail)
    ((key, row),) = batch.rows[USAGE_DEAD]
    letter = DeadLetter.model_validate_json(row)
    assert (letter.reason, letter.offset, key) == (Reason.PROCESSING_FAILED, 7, record.key)
    assert letter.detail == detail
    checkpoint = state.checkpoint
    assert (checkpoint.time_ms, checkpoint.inputs[USAGE_EVENTS].upto) == (NOON + 5, 8)
    counts = {name: n for name, n in checkpoint.outcomes[USAGE_EVENTS].items() if n}
    assert counts == {"read": 1, "dead": 1}


@pytest.mark.parametrize(
    ("value", "resolved", "refused"),
    [
        (b'{"kind":"readmit","late_seq":3}', 3, 0),
        (b'{"kind":"readmit","late_seq":4}', 2, 1),  # not its turn
        (b'{"kind":"duplicate","late_seq":2}', 2, 1),
        (b'{"kind":"forwarded"}', 2, 0),
        (b"no command", 2, 1),
        (None, 2, 1),
    ],
)
def test_a_condemned_command_keeps_no_late_row_waiting(
    value: bytes | None, resolved: int, refused: int
) -> None:
    state, batch = PartitionState(0, 1), Batch()
    checkpoint = state.checkpoint
    checkpoint.late_resolved, checkpoint.seq[USAGE_LATE] = 2, 3
    record = Record(WORKSPACE_COMMANDS, 0, 1, NOON, None, value, [])
    condemn(state, batch, WORKSPACE_COMMANDS, record, PlanTable(), NEVER, "why")
    assert (checkpoint.late_resolved, checkpoint.refused_commands) == (resolved, refused)
    assert checkpoint.outcomes[WORKSPACE_COMMANDS]["dead"] == 1

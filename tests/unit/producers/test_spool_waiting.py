"""Rows that wait, as ranges."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spendstream.producers.spool_waiting import WaitingRows


def test_interleaved_runs_become_one_range() -> None:
    waiting = WaitingRows([(1, 10)])
    for partition in range(12):
        for row in range(100 + partition, 5_000, 12):
            waiting.add(row)
    assert waiting.front(1_000) == list(range(1, 11))
    waiting.take(10)
    assert waiting.front(1_000) == list(range(100, 1_100))
    assert len(waiting._ranges) == 1


@given(
    st.lists(st.lists(st.integers(1, 40), unique=True)),
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9))),
)
def test_each_row_is_told_once_and_those_before_go_first(
    waves: list[list[int]], steps: list[tuple[int, int]]
) -> None:
    waiting, left = WaitingRows(), 0
    for number, wave in enumerate(waves):
        rows = [number * 100 + row for row in wave]
        for row in rows:
            waiting.add(row)
        left += len(rows)
    everything = sorted(number * 100 + row for number, wave in enumerate(waves) for row in wave)
    seen: list[int] = []
    for limit, taken in steps:
        front = waiting.front(limit)
        assert len(front) <= limit
        assert bool(front) == (len(waiting) > 0)
        seen += front[:taken]
        waiting.take(len(front[:taken]))
        assert len(waiting) == left - len(seen)
    while front := waiting.front(7):
        seen += front
        waiting.take(len(front))
    assert seen == everything

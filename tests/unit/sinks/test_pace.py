"""Whose turn it is to insert."""

from __future__ import annotations

from spendstream.sinks.clickhouse.pace import MAX_PAUSE_SECONDS, MAX_TURN_SECONDS, Pace


def test_who_has_waited_longest_begins_and_the_others_wait() -> None:
    pace = Pace()
    assert pace.turn(10.0, {}) is None
    assert pace.turn(10.0, {1: 9.0, 2: 8.0, 3: 9.5}) == 2
    assert pace.turn(10.1, {1: 9.0, 3: 9.5}) is None


def test_after_an_insert_nobody_begins_for_as_long_as_it_took_but_not_much_longer() -> None:
    pace = Pace()
    pace.turn(10.0, {1: 9.0})
    pace.ended(1, 10.02)
    assert pace.turn(10.03, {2: 9.0}) is None
    assert pace.turn(10.05, {2: 9.0}) == 2
    pace.ended(2, 11.11)
    assert pace.turn(11.11 + MAX_PAUSE_SECONDS - 0.01, {1: 10.0}) is None
    assert pace.turn(11.11 + MAX_PAUSE_SECONDS + 0.01, {1: 10.0}) == 1


def test_a_lane_that_hangs_hinders_the_others_for_a_while_only() -> None:
    pace = Pace()
    pace.turn(10.0, {1: 9.0})
    assert pace.turn(10.0 + MAX_TURN_SECONDS - 0.1, {2: 9.0}) is None
    assert pace.turn(10.0 + MAX_TURN_SECONDS, {2: 9.0}) == 2
    pace.ended(1, 12.1)  # its own turn is long over
    assert pace.turn(12.2, {1: 12.1}) is None


def test_a_full_batch_needs_no_turn() -> None:
    pace = Pace()
    pace.turn(10.0, {1: 9.0})
    pace.ended(2, 10.5)
    assert pace.turn(10.6, {2: 10.5}) is None

"""What of the late rows is sent next, and that each is resolved once whatever happens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.sinks.late.window import (
    MAX_ON_THE_WAY,
    MAX_RESEND_SECONDS,
    PAGE_ROWS,
    RESEND_SECONDS,
    LateRow,
    MissingRows,
    Sent,
    Window,
    ripe,
)


def late(seq: int, priced_seq: int = 0, event_id: str = "e") -> LateRow:
    return LateRow(seq, "usage.events", seq, seq, 0, event_id, "/test", priced_seq, "ws", "{}")


def send(window: Window, upto: int, now: float = 0.0) -> None:
    rows = [Sent(seq, "readmit", seq) for seq in range(window.sent + 1, upto + 1)]
    window.delivered(rows, now)


def test_nothing_is_sent_before_the_worker_was_heard() -> None:
    window = Window()
    assert not window.room(10)
    assert window.heard(4, 0.0) == ([], 0)
    assert window.room(10) == range(5, 11)


def test_what_was_sent_is_not_looked_at_again_and_ends_with_the_mark() -> None:
    window = Window()
    window.heard(0, 0.0)
    send(window, 3)
    assert window.room(5) == range(4, 6)
    resolved, again = window.heard(2, 1.0)
    assert ([row.seq for row in resolved], again) == ([1, 2], 0)
    assert window.oldest_ms == 3
    assert window.room(3) == range(4, 4)


def test_pages_and_what_is_on_the_way_are_bounded() -> None:
    window = Window()
    window.heard(0, 0.0)
    while seqs := window.room(10 * MAX_ON_THE_WAY):
        assert len(seqs) <= PAGE_ROWS
        send(window, seqs.stop - 1)
    assert window.sent == MAX_ON_THE_WAY


def test_a_mark_that_stands_still_lets_all_above_it_be_sent_again() -> None:
    window = Window()
    window.heard(0, 0.0)
    send(window, 3, 10.0)
    assert window.heard(1, 20.0).again == 0
    assert window.heard(1, 20.0 + RESEND_SECONDS - 1).again == 0
    assert window.heard(1, 20.0 + RESEND_SECONDS).again == 2
    assert window.room(3) == range(2, 4)


def test_it_is_sent_again_more_and_more_seldom_until_the_worker_gets_on() -> None:
    window = Window()
    window.heard(0, 0.0)
    now, pauses = 0.0, []
    for _ in range(8):
        send(window, 1, now)
        pauses.append(next(s for s in range(2_000) if window.heard(0, now + s).again))
        now += pauses[-1]
    assert pauses[:3] == [RESEND_SECONDS, 2 * RESEND_SECONDS, 4 * RESEND_SECONDS]
    assert pauses[-1] == MAX_RESEND_SECONDS
    window.heard(1, now)
    send(window, 2, now)
    assert window.heard(1, now + RESEND_SECONDS).again == 1


def test_new_rows_do_not_hide_that_the_mark_stands_still() -> None:
    window = Window()
    window.heard(0, 0.0)
    again = 0
    for second in range(1, round(RESEND_SECONDS) + 2):
        send(window, window.sent + 1, float(second))
        again += window.heard(0, float(second)).again
    assert again


def test_a_worker_that_is_not_heard_gets_nothing_again() -> None:
    window = Window()
    window.heard(0, 0.0)
    send(window, 3, 0.0)
    assert window.room(3) == range(4, 4)  # however late it is


def test_a_mark_that_goes_back_opens_what_is_above_it() -> None:
    window = Window()
    window.heard(5, 0.0)
    send(window, 8)
    assert window.heard(3, 1.0) == ([], 5)
    assert window.room(8) == range(4, 9)


def test_somebody_else_has_resolved_more_than_was_sent_from_here() -> None:
    window = Window()
    window.heard(0, 0.0)
    send(window, 2)
    assert [row.seq for row in window.heard(7, 1.0).resolved] == [1, 2]
    assert window.room(9) == range(8, 10)


def test_a_mark_above_what_is_stored_leaves_nothing_to_send() -> None:
    window = Window()
    window.heard(9, 0.0)
    assert not window.room(4)


def test_rows_wait_for_what_was_priced_before_them_and_for_each_other() -> None:
    rows = [late(4, 10), late(5, 12), late(6, 10)]
    assert ripe(rows, 3, 9) == []
    assert ripe(rows, 3, 11) == rows[:1]
    assert ripe(rows, 3, 12) == rows


@pytest.mark.parametrize("seqs", [(5, 6), (4, 6), (4, 4), (3, 4)])
def test_a_missing_row_is_never_skipped(seqs: Sequence[int]) -> None:
    with pytest.raises(MissingRows, match="is missing"):
        ripe([late(seq) for seq in seqs], 3, 99)


MEMORY = 3
"""The worker of the model remembers the ids of its last priced rows only, this many."""


@dataclass
class World:
    """A worker, its topics and ClickHouse, as far as late rows go. Lists are numbered from 1."""

    priced: list[str] = field(default_factory=list)
    late: list[LateRow] = field(default_factory=list)
    topic: list[tuple[int, bool, int]] = field(default_factory=list)
    taken: int = 0
    resolved: int = 0
    loaded_priced: int = 0
    loaded_late: int = 0
    now: float = 0.0
    lost: bool = False

    def counted(self, event_id: str) -> None:
        """An event of now: a repeat is known, whoever is older than the memory comes late."""
        if event_id not in self.priced:
            self.priced.append(event_id)
        elif event_id not in self.priced[-MEMORY:]:
            self.came_late(event_id)

    def came_late(self, event_id: str) -> None:
        self.late.append(late(len(self.late) + 1, len(self.priced), event_id))

    def load(self, priced: int, rows: int) -> None:
        self.loaded_priced = min(len(self.priced), self.loaded_priced + priced)
        self.loaded_late = min(len(self.late), self.loaded_late + rows)

    def take(self, commands: int) -> None:
        """The worker's side of the bargain."""
        for seq, counted, checked in self.topic[self.taken : self.taken + commands]:
            self.taken += 1
            if seq > self.resolved + 1:
                assert self.lost, "a gap"
            if seq != self.resolved + 1:
                continue
            self.resolved = seq
            event_id = self.late[seq - 1].event_id
            if counted or event_id in self.priced[-MEMORY:]:
                continue
            if checked < len(self.priced) - MEMORY:
                self.came_late(event_id)  # it may have been counted and forgotten since
            else:
                self.priced.append(event_id)

    def lose(self) -> None:
        """The broker forgets commands that were not taken: what no Kafka should ever do."""
        self.lost = self.lost or len(self.topic) > self.taken
        del self.topic[self.taken :]

    def resolve(self, window: Window, priced: int, delivered: int | None = None) -> None:
        """A turn of a resolver that knows of `priced` rows; only the first may be delivered."""
        seqs = window.room(self.loaded_late)
        rows = ripe(self.late[seqs.start - 1 : seqs.stop - 1], window.sent, priced)
        counted = set(self.priced[:priced])
        self.topic += [(row.seq, row.event_id in counted, priced) for row in rows[:delivered]]
        if rows and delivered is None:
            window.delivered([Sent(row.seq, "", 0) for row in rows], self.now)


IDS = st.sampled_from("abcdefgh")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("event"), IDS),
        st.tuples(st.just("late"), IDS),
        st.tuples(st.just("load"), st.integers(0, 4), st.integers(0, 4)),
        st.tuples(st.just("take"), st.integers(1, 4)),
        # two resolvers: one of them may be a zombie, and may know less than is loaded
        st.tuples(st.just("resolve"), st.integers(0, 1), st.integers(0, 3)),
        st.tuples(st.just("cut off"), st.integers(0, 1), st.integers(0, 3)),
        st.tuples(st.just("hear"), st.integers(0, 1)),
        st.tuples(st.just("die"), st.integers(0, 1)),
        st.tuples(st.just("time"), st.sampled_from((1, 30, 100))),
        st.just(("lose",)),
    ),
    max_size=80,
)


@given(STEPS)
def test_every_id_is_counted_once(steps: list[tuple[str | int, ...]]) -> None:
    world = World()
    windows = [Window(), Window()]
    sent: set[str] = set()
    for step in steps:
        match step:
            case "event", str(event_id):
                sent.add(event_id)
                world.counted(event_id)
            case "late", str(event_id):
                sent.add(event_id)
                world.came_late(event_id)
            case "load", int(priced), int(rows):
                world.load(priced, rows)
            case "take", int(commands):
                world.take(commands)
            case "resolve", int(which), int(unknown):
                world.resolve(windows[which], max(0, world.loaded_priced - unknown))
            case "cut off", int(which), int(delivered):
                world.resolve(windows[which], world.loaded_priced, delivered)
            case "hear", int(which):
                windows[which].heard(world.resolved, world.now)
            case "die", int(which):
                windows[which] = Window()
            case ("lose",):
                world.lose()
            case "time", int(seconds):
                world.now += seconds
    for _ in range(3 * len(world.late) + 3):
        world.load(len(world.priced), len(world.late))
        world.now += 2 * MAX_RESEND_SECONDS
        windows[0].heard(world.resolved, world.now)
        world.resolve(windows[0], world.loaded_priced)
        world.take(len(world.topic))
    assert world.resolved == len(world.late)
    assert sorted(world.priced) == sorted(sent)

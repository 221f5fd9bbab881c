"""Late events: set aside, resolved, counted once, whatever the resolver does meanwhile."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from spendstream.schemas.topics import (
    USAGE_DEAD,
    USAGE_EVENTS,
    USAGE_LATE,
    USAGE_PRICED,
    WORKSPACE_COMMANDS,
    WORKSPACE_IDS,
)
from spendstream.streams.accept import _go_on
from spendstream.streams.core.ids import IdIndex
from spendstream.streams.core.state import Moved
from spendstream.streams.errors import RetentionOvertook
from spendstream.streams.losses import Loss
from tests.support.core import Driver
from tests.support.oracle import DAY, HOUR
from tests.support.records import NOON, Call, Record

LATE = 30 * HOUR
TOPICS = (USAGE_EVENTS, WORKSPACE_COMMANDS)


def command(row: dict[str, Any], checked_seq: int, counted: bool) -> bytes:
    """What the resolver sends for a row of usage.late."""
    head = {"late_seq": row["seq"], "checked_seq": checked_seq}
    if counted:
        event = {"workspace_id": row["event"]["workspace_id"], "event_id": row["event_id"]}
        return json.dumps({"kind": "duplicate", **head, **event}).encode()
    kept = ("topic", "offset", "arrival_ms", "time_ms", "event_id", "source", "event")
    return json.dumps({"kind": "readmit", **head, **{n: row[n] for n in kept}}).encode()


@dataclass
class World:
    """A partition, what of its rows is loaded, and the commands that were ever decided."""

    driver: Driver = field(default_factory=Driver)
    now: int = NOON
    loaded: dict[str, int] = field(default_factory=lambda: {USAGE_PRICED: 0, USAGE_LATE: 0})
    sent: set[str] = field(default_factory=set)
    decided: list[list[bytes]] = field(default_factory=list)
    offsets: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TOPICS, 0))

    def __post_init__(self) -> None:
        self.driver.state.ids = IdIndex(settle_at=3)

    def take(self, record: Record) -> None:
        offset = self.offsets[record.topic]
        self.offsets[record.topic] += 1
        self.driver.take([record._replace(offset=offset, timestamp=self.now)], record.topic)
        self.driver.finish()
        self.check()

    def event(self, name: str, time_ms: int) -> None:
        self.sent.add(name)
        self.take(Call(name, time_ms).record(0, self.now))

    def command(self, value: bytes) -> None:
        self.take(Record(WORKSPACE_COMMANDS, 0, 0, self.now, b"ws-1", value, []))

    def rows(self, topic: str) -> list[dict[str, Any]]:
        return self.driver.decoded(topic)

    def load(self, topic: str, most: int) -> None:
        self.loaded[topic] = min(self.loaded[topic] + most, len(self.driver.rows[topic]))

    def decide(self, after: int, most: int) -> list[bytes]:
        """Commands for loaded late rows above a mark, by what is loaded of usage.priced now."""
        checked = self.loaded[USAGE_PRICED]
        stored = {row["event_id"] for row in self.rows(USAGE_PRICED)[:checked]}
        found = []
        for row in self.rows(USAGE_LATE)[after : self.loaded[USAGE_LATE]][:most]:
            if row["priced_seq"] > checked:
                break
            found.append(command(row, checked, row["event_id"] in stored))
        return found

    def settle(self) -> None:
        """The resolver is left in peace, and resolves whatever there is."""
        checkpoint = self.driver.state.checkpoint
        rounds = 0
        while checkpoint.late_pending:
            self.load(USAGE_PRICED, 10**6)
            self.load(USAGE_LATE, 10**6)
            for value in self.decide(checkpoint.late_resolved, 10**6):
                self.command(value)
            rounds += 1
            assert rounds < 10

    def check(self) -> None:
        """Everything that came in is counted, or known as a repeat, or on its way: once."""
        checkpoint = self.driver.state.checkpoint
        outcomes = checkpoint.outcomes
        ended: dict[str, int] = {}
        for counts in outcomes.values():
            assert counts["read"] == sum(n for name, n in counts.items() if name != "read")
            for name, count in counts.items():
                ended[name] = ended.get(name, 0) + count
        assert (
            ended["priced"] == checkpoint.seq[USAGE_PRICED] == len(self.driver.rows[USAGE_PRICED])
        )
        assert ended["late"] == checkpoint.seq[USAGE_LATE]
        assert ended["dead"] == checkpoint.seq[USAGE_DEAD] == checkpoint.refused_commands
        assert checkpoint.late_pending >= 0
        assert checkpoint.taken_over == 0
        assert outcomes[USAGE_EVENTS]["read"] == (
            ended["priced"] + ended["duplicate"] + checkpoint.late_pending
        )
        assert len(checkpoint.priced_marks) <= 27


ACTIONS = {
    "copy": 30, "wait": 8, "load priced": 10, "load late": 20, "decide": 20, "send": 12,
    "send last": 15,
}  # fmt: skip


@settings(
    deadline=None,
    max_examples=200,
    suppress_health_check=[HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # a hundred steps are slow to shrink
)
@given(st.randoms(use_true_random=False), st.integers(1, 8))
def test_once_whatever_the_resolver_does(random: Random, names: int) -> None:
    world = World()
    checkpoint = world.driver.state.checkpoint
    for action in random.choices([*ACTIONS], [*ACTIONS.values()], k=random.randrange(100)):
        if action == "copy":
            # a call is made every ten hours; a copy of one is late as soon as a day has passed
            calls = [NOON + number * 10 * HOUR for number in range(names)]
            made = [at for at in calls if world.now - 34 * DAY < at <= world.now]
            if made:
                at = random.choice(made)
                world.event(f"e{at}", at)
        elif action == "wait":
            world.now += random.choice((0, 61_000, HOUR, LATE, LATE, 3 * DAY))
        elif action == "load priced":
            world.load(USAGE_PRICED, random.randrange(1, 3))
        elif action == "load late":
            world.load(USAGE_LATE, random.randrange(1, 5))
        elif action == "decide":
            # by one that has just heard the mark, or by one whose mark is an old one
            after = max(0, checkpoint.late_resolved - random.choice((0, 0, 0, 1, 3)))
            world.decided.append(world.decide(after, random.randrange(1, 6)))
        elif action == "send" and world.decided:
            # at any later time, again, by one that was thought dead, killed at any step of it
            commands = random.choice(world.decided)
            for value in commands[random.choice((0, 0, 1)) : random.randrange(6)]:
                world.command(value)
        elif action == "send last" and world.decided:
            for value in world.decided[-1]:
                world.command(value)
    world.settle()
    assert sorted(row["event_id"] for row in world.rows(USAGE_PRICED)) == sorted(world.sent)
    total = world.driver.state.workspaces["ws-1"].total.requests if world.sent else 0
    assert total == len(world.sent)


def late_world() -> World:
    """One event counted and not loaded yet; a day later, two copies of another one come."""
    world = World()
    world.event("first", NOON)
    world.now += LATE
    for _ in range(2):
        world.event("other", NOON)
    world.load(USAGE_PRICED, 9)
    world.load(USAGE_LATE, 9)
    return world


def test_of_two_late_copies_the_ids_find_the_second() -> None:
    world = late_world()
    for value in world.decide(0, 9):
        assert b"readmit" in value
        world.command(value)
    outcomes = world.driver.state.checkpoint.outcomes[WORKSPACE_COMMANDS]
    assert (outcomes["priced"], outcomes["duplicate"]) == (1, 1)
    row = world.rows(USAGE_PRICED)[-1]
    late = world.rows(USAGE_LATE)[0]
    kept = ("arrival_ms", "time_ms", "event_id", "source", "event")
    assert [row[name] for name in kept] == [late[name] for name in kept]
    assert (row["topic"], row["counted_ms"]) == (WORKSPACE_COMMANDS, NOON)
    assert world.driver.published[-1]["late_resolved"] == 2


def test_a_repeat_of_the_resolver_changes_nothing() -> None:
    world = late_world()
    first, second = world.decide(0, 9)
    for value in (first, first, second, first, second):
        world.command(value)
    checkpoint = world.driver.state.checkpoint
    assert checkpoint.outcomes[WORKSPACE_COMMANDS]["repeated"] == 3
    assert (checkpoint.late_resolved, checkpoint.late_pending) == (2, 0)


@pytest.mark.parametrize("late_seq", [2, 3, 10**9], ids=["a gap", "no such row", "far off"])
def test_a_command_out_of_turn_is_dead_and_the_resend_heals(late_seq: int) -> None:
    world = late_world()
    row = world.rows(USAGE_LATE)[1] | {"seq": late_seq}
    world.command(command(row, world.loaded[USAGE_PRICED], False))
    (letter,) = world.rows(USAGE_DEAD)
    assert letter["reason"] == "invalid_command"
    assert letter["detail"] == f"late_seq: {late_seq}, but row 1 of usage.late is next, of 2"
    assert world.driver.state.checkpoint.late_resolved == 0
    world.settle()
    assert len(world.rows(USAGE_PRICED)) == 2


def test_what_may_be_forgotten_since_the_look_up_is_looked_up_again() -> None:
    world = World()
    world.event("e", NOON)  # counted, but not loaded when the resolver looks
    world.now += LATE
    world.event("e", NOON)
    late = world.rows(USAGE_LATE)[0]
    world.command(command(late, 0, False))  # looked up before "e" was loaded: a wrong decision
    assert len(world.rows(USAGE_PRICED)) == 1
    (_, again) = world.rows(USAGE_LATE)
    assert again["priced_seq"] == 1
    assert {n: again[n] for n in ("arrival_ms", "time_ms", "event_id", "source", "event")} == {
        n: late[n] for n in ("arrival_ms", "time_ms", "event_id", "source", "event")
    }
    checkpoint = world.driver.state.checkpoint
    assert (checkpoint.late_resolved, checkpoint.late_pending) == (1, 1)
    world.settle()
    assert checkpoint.outcomes[WORKSPACE_COMMANDS] == {
        "read": 2, "priced": 0, "duplicate": 1, "late": 1, "dead": 0, "forwarded": 0, "repeated": 0,
    }  # fmt: skip


def test_a_newer_row_that_is_remembered_does_not_vouch_for_an_older_one() -> None:
    world = World()
    world.event("first", NOON)
    world.now += LATE
    for _ in range(2):
        world.event("e", NOON)
    commands = [command(row, 1, False) for row in world.rows(USAGE_LATE)]
    world.command(commands[0])  # "e" is row 2, which nobody has looked through
    world.now += LATE
    world.event("fresh", world.now)  # and by now its id is forgotten, unlike this one's
    world.command(commands[1])
    assert [row["event_id"] for row in world.rows(USAGE_PRICED)] == ["first", "e", "fresh"]
    assert len(world.rows(USAGE_LATE)) == 3
    world.settle()
    assert len(world.rows(USAGE_PRICED)) == 3


def test_ids_that_an_operator_gave_up_vouch_for_nothing() -> None:
    world = late_world()
    first, second = world.decide(0, 9)
    world.command(first)  # "other" is counted, and its id is lost before the second copy's turn
    state = world.driver.state
    lost = Moved(WORKSPACE_IDS, "epoch", 0, "epoch", 5)
    _go_on(state.checkpoint, [Loss(RetentionOvertook, lost, "", "")], "operator", "")
    state.ids, state.next_mark_ms = IdIndex(), 0  # as recovery finds them
    world.command(second)
    assert [row["event_id"] for row in world.rows(USAGE_PRICED)] == ["first", "other"]
    world.settle()
    assert len(world.rows(USAGE_PRICED)) == 2
    world.event("fresh", world.now)
    assert state.checkpoint.priced_marks == [(world.now, 2)]


def test_booked_to_the_open_period_where_its_own_has_closed() -> None:
    world = late_world()
    row = world.rows(USAGE_LATE)[0]
    world.now += 32 * DAY
    world.command(command(row, 1, False))
    priced = world.rows(USAGE_PRICED)[-1]
    assert priced["event_id"] == "other"
    assert priced["billing_period"] > priced["origin_period"]
    months = world.driver.state.workspaces["ws-1"].months
    assert months[priced["origin_period"]].counted.requests == 2


def test_an_event_that_cannot_be_read_is_dead_and_does_not_hold_the_others_up() -> None:
    world = late_world()
    first, second = world.rows(USAGE_LATE)
    broken = first | {"event": first["event"] | {"unheard_of": 1}}
    checkpoint = world.driver.state.checkpoint
    value = command(broken, 1, False)
    world.driver.take([Record(WORKSPACE_COMMANDS, 0, 0, world.now, b"k", value, [])], TOPICS[1])
    world.driver.take(
        [Record(WORKSPACE_COMMANDS, 0, 1, world.now, b"k", command(second, 1, False), [])],
        TOPICS[1],
    )
    world.driver.finish()
    (letter,) = world.rows(USAGE_DEAD)
    assert letter["reason"] == "unknown_field"
    assert (checkpoint.late_resolved, checkpoint.refused_commands) == (2, 0)
    assert [row["event_id"] for row in world.rows(USAGE_PRICED)] == ["first", "other"]


def test_a_workspace_of_another_partition_is_refused() -> None:
    world = late_world()
    world.driver.state.partitions = 1_000
    row = world.rows(USAGE_LATE)[0]
    row["event"]["workspace_id"] = "ws-elsewhere"
    world.command(command(row, 1, False))
    (letter,) = world.rows(USAGE_DEAD)
    assert letter["detail"].startswith("its workspace belongs to partition ")
    assert world.driver.state.checkpoint.late_resolved == 0


def test_a_checkpoint_from_before_the_late_lane_goes_on() -> None:
    world = late_world()
    checkpoint = world.driver.state.checkpoint
    checkpoint.priced_marks = []
    for counts in checkpoint.outcomes.values():
        del counts["repeated"]
    assert checkpoint.taken_over == 0
    (value, _) = world.decide(0, 9)
    world.command(value)
    world.command(value)
    assert checkpoint.outcomes[WORKSPACE_COMMANDS]["repeated"] == 1

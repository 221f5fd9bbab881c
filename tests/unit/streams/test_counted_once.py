"""All that keeps an event from being counted twice, as one: the core, its ids over restarts and
outages, and the resolver of the sinks. Against a set of everything that ever came."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from confluent_kafka import Message
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from spendstream.schemas.topics import (
    BY_NAME,
    INPUT_RETENTION_MS,
    USAGE_EVENTS,
    USAGE_LATE,
    USAGE_PRICED,
    WORKSPACE_CHECKPOINT,
    WORKSPACE_COMMANDS,
    WORKSPACE_IDS,
)
from spendstream.sinks.late.commands import command
from spendstream.sinks.late.window import (
    MAX_RESEND_SECONDS,
    LateRow,
    Loaded,
    Sent,
    Window,
    ripe,
)
from spendstream.streams import recovery
from spendstream.streams.core.ids import IdIndex, Tag, pack
from spendstream.streams.core.outputs import Batch
from tests.support.core import Driver
from tests.support.oracle import DAY, HOUR
from tests.support.records import NOON, Call, Record

KEPT = ("seq", "topic", "offset", "arrival_ms", "time_ms", "event_id", "source", "priced_seq")


class World:
    """One partition. What is in Kafka or ClickHouse lasts; the rest dies with its process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(recovery, "read_to_end", lambda _, topic, *__: iter(self.log(topic)))
        monkeypatch.setattr(recovery, "find_losses", lambda *_: [])
        self.now = NOON
        self.came: set[str] = set()
        self.inputs: list[Record] = []  # both, in the order of their arrival
        self.checkpoints: list[Message] = []
        self.ids: list[tuple[int, Message]] = []  # and when each was written
        self.priced: list[str] = []
        self.late: list[LateRow] = []
        self.loaded = Loaded(0, 0)
        self.driver = Driver()
        self.driver.state.ids = IdIndex(settle_at=3)
        self.taken = 0
        self.windows = [Window(), Window()]  # one of the resolvers may be a zombie
        self.decided: list[list[bytes]] = []  # by any of them, at any time

    # ------------------------------------------------------------------------------- the input

    def copy(self, number: int) -> None:
        """Of one of the calls that end every ten hours; every other clock is an hour fast."""
        time_ms = NOON + number * 10 * HOUR + number % 2 * HOUR
        if -HOUR <= self.now - time_ms < 34 * DAY:
            self.came.add(f"e{number}")
            self.arrive(Call(f"e{number}", time_ms).record(0, self.now))

    def arrive(self, record: Record) -> None:
        offset = sum(other.topic == record.topic for other in self.inputs)
        self.inputs.append(record._replace(offset=offset))

    def wait(self, ms: int) -> None:
        """But not until records are deleted that were never read."""
        if self.taken < len(self.inputs):
            ms = min(ms, self.inputs[self.taken].timestamp + INPUT_RETENTION_MS - self.now)
        self.now += ms

    # ------------------------------------------------------------------------------ the worker

    def take(self, count: int, committed: bool = True) -> None:
        """A batch; where it is not committed, the worker died."""
        some = self.inputs[self.taken : self.taken + count]
        self.driver.take_mixed(some)
        if not committed:
            self.restart()
            return
        self.taken += len(some)
        if not some:  # time follows the clock
            self.driver.advance(self.now)
        self.commit()

    def commit(self) -> None:
        driver, checkpoint = self.driver, self.driver.state.checkpoint
        tag = Tag(checkpoint.era, checkpoint.upto, checkpoint.time_ms)
        self.ids.append((self.now, Message(value=pack(tag, driver.batch.digests))))
        closing = driver.finish()
        self.checkpoints += [Message(key=key, value=value) for key, value in closing.checkpoint]
        self.priced += [row["event_id"] for row in self.new_rows(USAGE_PRICED, len(self.priced))]
        for row in self.new_rows(USAGE_LATE, len(self.late)):
            event = row["event"]
            kept = {name: row[name] for name in KEPT}
            self.late.append(LateRow(**kept, workspace_id="ws-1", event=json.dumps(event)))

    def new_rows(self, topic: str, known: int) -> list[dict[str, Any]]:
        return [json.loads(value) for _, value in self.driver.rows[topic][known:]]

    def log(self, topic: str) -> list[Message]:
        if topic == WORKSPACE_CHECKPOINT:
            return self.checkpoints
        begin = self.now - BY_NAME[WORKSPACE_IDS].retention_ms
        return [message for written, message in self.ids if written >= begin]

    def restart(self) -> None:
        driver = self.driver
        driver.batch = Batch()
        if not self.checkpoints:
            driver.state = Driver().state
            return
        driver.state = recovery.recover(None, 0, 1, {}).state  # type: ignore[arg-type]

    # --------------------------------------------------------------------------------- the sink

    def load(self, late: int, priced: int) -> None:
        self.loaded = Loaded(
            min(len(self.late), self.loaded.late + late),
            min(len(self.priced), self.loaded.priced + priced),
        )

    def hear(self, which: int) -> None:
        self.windows[which].heard(self.driver.state.checkpoint.late_resolved, self.now / 1_000)

    def resolve(self, which: int, unknown: int = 0, delivered: int | None = None) -> None:
        """A turn of one that does not know the last of the loaded rows; or that was killed or fell
        asleep before all was delivered."""
        window, priced = self.windows[which], max(0, self.loaded.priced - unknown)
        seqs = window.room(self.loaded.late)
        rows = ripe(self.late[seqs.start - 1 : seqs.stop - 1], window.sent, priced)
        counted = set(self.priced[: self.loaded.priced])
        self.decided.append([command(row, priced, row.event_id in counted) for row in rows])
        self.send(self.decided[-1][:delivered])
        if delivered is not None:
            self.windows[which] = Window()
        elif rows:
            window.delivered([Sent(row.seq, "", 0) for row in rows], self.now / 1_000)

    def send(self, commands: list[bytes]) -> None:
        for value in commands:
            self.arrive(Record(WORKSPACE_COMMANDS, 0, 0, self.now, b"ws-1", value, []))

    def settle(self) -> None:
        """Everybody is left in peace."""
        for _ in range(20):
            self.take(len(self.inputs))
            self.load(len(self.late), len(self.priced))
            self.wait(round(2_000 * MAX_RESEND_SECONDS))
            self.hear(0)
            self.resolve(0)
        assert self.driver.state.checkpoint.late_pending == 0


ACTIONS = {
    "copy": 30, "wait": 15, "take": 30, "die": 3, "restart": 5, "load": 25, "resolve": 25,
    "cut off": 8, "wake up": 12,
}  # fmt: skip
WAITS = (0, 61_000, HOUR, 10 * HOUR, 20 * HOUR, 25 * HOUR, 25 * HOUR, 30 * HOUR, 7 * DAY)


@settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # so many steps are slow to shrink
)
@given(st.randoms(use_true_random=False), st.integers(1, 5))
def test_what_ever_came_is_counted_once(random: Random, names: int) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        world = World(monkeypatch)
        for action in random.choices([*ACTIONS], [*ACTIONS.values()], k=random.randrange(200)):
            which = random.choice((0, 0, 0, 1))
            if action == "copy":
                world.copy(random.randrange(names))
            elif action == "wait":
                world.wait(random.choice(WAITS))
            elif action == "take":
                world.take(random.choice((1, 2, 3, 100)))
            elif action == "die":
                world.take(random.randrange(1, 4), committed=False)
            elif action == "restart":
                world.restart()
            elif action == "load":
                world.load(random.choice((1, 2, 100)), random.choice((0, 1, 2, 100)))
            elif action == "resolve":
                if random.random() < 0.8:
                    world.hear(which)
                world.resolve(which, unknown=random.choice((0, 0, 1, 3)))
            elif action == "cut off":
                world.hear(which)
                world.resolve(which, delivered=random.randrange(3))
            elif action == "wake up" and world.decided:
                commands = random.choice(world.decided[-3:])
                world.send(commands[random.choice((0, 0, 1)) :])
        world.settle()
        assert sorted(world.priced) == sorted(world.came)
        counts = world.driver.state.checkpoint.outcomes[USAGE_EVENTS]
        assert counts["read"] == sum(record.topic == USAGE_EVENTS for record in world.inputs)
        requests = sum(ws.total.requests for ws in world.driver.state.workspaces.values())
        assert requests == len(world.came)


def test_an_outage_as_long_as_the_input_is_kept_then_a_backlog_with_repeats() -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        world = World(monkeypatch)
        world.copy(0)
        world.wait(10 * HOUR)
        world.copy(1)
        world.take(2)  # and the worker is away, for as long as it may be
        world.wait(10 * HOUR)
        for _ in range(4):
            world.copy(0)
            world.copy(1)
            world.wait(HOUR)
        world.wait(7 * DAY)
        assert world.now == NOON + 20 * HOUR + INPUT_RETENTION_MS
        for _ in range(8):
            world.restart()
            world.take(1)
        assert world.priced == ["e0", "e1"]
        assert not world.late
        assert world.driver.state.checkpoint.outcomes[USAGE_EVENTS]["duplicate"] == 8

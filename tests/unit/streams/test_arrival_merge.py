"""The two inputs of a partition as one: who waits for whom."""

from __future__ import annotations

import asyncio

import pytest

from spendstream.schemas.topics import USAGE_EVENTS, WORKSPACE_COMMANDS
from spendstream.streams.arrival_merge import ArrivalMerge
from spendstream.streams.core.state import PartitionState
from spendstream.streams.transport import End, Fetched
from tests.support.records import NOON, Record

GENERATION = 3
BRIEF_S = 0.01


class Reader:
    """The consumer, as far as the merge sees it: `end` is None while events are still to come."""

    def __init__(self) -> None:
        self.end: End | None = None
        self.held: list[bool] = []

    async def events_end(self, partition: int) -> End | None:
        return self.end

    def hold_commands(self, partition: int, hold: bool) -> None:
        self.held.append(hold)


class Rig:
    def __init__(self) -> None:
        self.reader = Reader()
        self.state = PartitionState(0, 1)
        self.merge = ArrivalMerge(0, self.reader)
        self.merge.start(self.state, GENERATION)

    async def offer(self, *batches: Fetched) -> None:
        for batch in batches:
            await self.merge.offer(batch)

    async def drain(self) -> list[tuple[str, int]]:
        """What comes out, as (topic, first offset), taken as the core would take it."""
        out = []
        for _ in range(20):
            batch = await self.merge.next(BRIEF_S)
            if batch is not None:
                out.append((batch.topic, batch.records[0].offset))
                last = batch.records[-1]
                self.state.checkpoint.time_ms = max(self.state.time_ms, last.timestamp)
                self.state.checkpoint.inputs[batch.topic].upto = last.offset + 1
        return out


def fetched(topic: str, offset: int, arrival_ms: int, generation: int = GENERATION) -> Fetched:
    return Fetched(topic, 0, generation, [Record(topic, 0, offset, arrival_ms, None, b"", [])])


def test_commands_wait_for_the_events_that_arrived_before_them() -> None:
    async def run() -> None:
        rig = Rig()
        await rig.offer(fetched(WORKSPACE_COMMANDS, 0, NOON + 500), fetched(USAGE_EVENTS, 0, NOON))
        assert await rig.drain() == [(USAGE_EVENTS, 0)]  # more events may be on their way
        await rig.offer(fetched(USAGE_EVENTS, 1, NOON + 1_000))
        assert await rig.drain() == [(USAGE_EVENTS, 1), (WORKSPACE_COMMANDS, 0)]

    asyncio.run(run())


@pytest.mark.parametrize(("handed_out", "waits"), [(0, False), (1, True)])
def test_at_the_end_of_the_events_commands_wait_for_no_more_than_was_handed_out(
    handed_out: int, waits: bool
) -> None:
    async def run() -> None:
        rig = Rig()
        rig.reader.end = End(5, handed_out, NOON)
        await rig.offer(fetched(WORKSPACE_COMMANDS, 0, NOON))
        assert await rig.drain() == ([] if waits else [(WORKSPACE_COMMANDS, 0)])

    asyncio.run(run())


def test_commands_stay_in_order_and_are_held_back_when_many_wait() -> None:
    async def run() -> None:
        rig = Rig()
        commands = [fetched(WORKSPACE_COMMANDS, i, NOON + i) for i in range(8)]
        await rig.offer(*commands)
        assert await rig.drain() == []
        assert rig.reader.held == [True]
        rig.reader.end = End(0, 0, NOON)
        assert await rig.drain() == [(WORKSPACE_COMMANDS, i) for i in range(8)]
        assert rig.reader.held == [True, False]

    asyncio.run(run())


def test_batches_from_before_the_seek_are_dropped_also_those_that_wait() -> None:
    async def run() -> None:
        rig = Rig()
        await rig.offer(fetched(USAGE_EVENTS, 0, NOON, GENERATION - 1))
        assert await rig.drain() == []
        await rig.offer(fetched(WORKSPACE_COMMANDS, 0, NOON + 500), fetched(USAGE_EVENTS, 0, NOON))
        await rig.merge.next(BRIEF_S)  # the commands are held now, the events still queued
        rig.merge.clear()
        await rig.offer(fetched(USAGE_EVENTS, 1, NOON))
        rig.merge.start(rig.state, GENERATION + 1)
        rig.reader.end = End(9, 0, NOON)
        assert await rig.drain() == []
        await rig.offer(fetched(USAGE_EVENTS, 7, NOON, GENERATION + 1))
        assert await rig.drain() == [(USAGE_EVENTS, 7)]

    asyncio.run(run())


def test_a_full_queue_holds_the_fetching_back() -> None:
    async def run() -> None:
        rig = Rig()
        await rig.offer(*(fetched(USAGE_EVENTS, i, NOON) for i in range(8)))
        ninth = asyncio.ensure_future(rig.offer(fetched(USAGE_EVENTS, 8, NOON)))
        await asyncio.sleep(BRIEF_S)
        assert not ninth.done()
        assert [offset for _, offset in await rig.drain()] == list(range(9))
        await ninth

    asyncio.run(run())

"""A partition's two inputs as one, by arrival: commands wait for the events that came before them.

After an outage the commands' newer time stamps would otherwise have the older backlog of events
judged by the wrong windows and booked to the wrong period.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Protocol

from spendstream.schemas.topics import USAGE_EVENTS, WORKSPACE_COMMANDS
from spendstream.streams.core.state import PartitionState
from spendstream.streams.transport import End, Fetched

_QUEUE: Final = 8
"""Fetched batches that wait: more would be memory, fewer would let the core wait for the broker."""


class MergedInputs(Protocol):
    """What the merge asks of the consumer."""

    async def events_end(self, partition: int) -> End | None: ...
    def hold_commands(self, partition: int, hold: bool) -> None: ...


class ArrivalMerge:
    """Takes fetched batches in any order, gives them out in turn.

    Only batches of the generation that `start` named are taken: others were read before the seek
    to where the state stands, and are read again.
    """

    def __init__(self, partition: int, inputs: MergedInputs) -> None:
        self._partition = partition
        self._inputs = inputs
        self._queue: asyncio.Queue[Fetched] = asyncio.Queue(_QUEUE)
        self._held: deque[Fetched] = deque()
        self._state: PartitionState | None = None
        self._generation = -1

    def start(self, state: PartitionState, generation: int) -> None:
        """Go on behind `state`, which knows partition time and what has been taken."""
        self._state = state
        self._generation = generation

    def clear(self) -> None:
        """Forget all batches, and take none until the next start."""
        self._state = None
        self._generation = -1
        self._held.clear()
        while not self._queue.empty():
            self._queue.get_nowait()

    async def offer(self, batch: Fetched) -> None:
        """Take a batch; waits while the queue is full, which holds the fetching back."""
        if batch.generation == self._generation:
            await self._queue.put(batch)

    async def next(self, timeout_s: float) -> Fetched | None:
        """The next batch whose turn it is, if there is one within the time."""
        state, held = self._state, self._held
        assert state is not None
        if held and await self._in_turn(state, held[0]):
            if len(held) == _QUEUE:
                self._inputs.hold_commands(self._partition, False)
            return held.popleft()
        try:
            batch = await asyncio.wait_for(self._queue.get(), timeout_s)
        except TimeoutError:
            return None
        if batch.generation != self._generation:
            return None
        if batch.topic == WORKSPACE_COMMANDS and (held or not await self._in_turn(state, batch)):
            held.append(batch)
            if len(held) == _QUEUE:
                self._inputs.hold_commands(self._partition, True)
            return None
        return batch

    async def _in_turn(self, state: PartitionState, commands: Fetched) -> bool:
        """Whether no event that arrived before these commands is still to come."""
        if commands.records[-1].timestamp <= state.time_ms:
            return True
        end = await self._inputs.events_end(self._partition)
        return end is not None and end.handed_out <= state.checkpoint.inputs[USAGE_EVENTS].upto

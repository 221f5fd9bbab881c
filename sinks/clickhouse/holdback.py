"""`workspace.checkpoint` on its way into its mirror: whole batches, after their rows. Pure.

A worker's batch is state records and, last, the checkpoint. The mirror is what a restarted broker
is filled from, so it must never hold a state without its checkpoint, nor a checkpoint whose rows
are not in ClickHouse. Records are held back until both are so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from spendstream.schemas.topics import INPUTS
from spendstream.sinks.clickhouse.errors import Unreadable

CHECKPOINT_KEY: Final = '["","checkpoint"]'


class _State(msgspec.Struct, gc=False):
    upto: tuple[int, ...]


class _Input(msgspec.Struct, gc=False):
    upto: int


class _Checkpoint(msgspec.Struct, gc=False):
    inputs: dict[str, _Input]
    seq: dict[str, int]

    @property
    def upto(self) -> tuple[int, ...]:
        return tuple(self.inputs[topic].upto for topic in INPUTS)


_decode_state = msgspec.json.Decoder(_State).decode
_decode_checkpoint = msgspec.json.Decoder(_Checkpoint).decode


@dataclass(frozen=True, slots=True)
class Held:
    """A record as the mirror keeps it."""

    key: str
    value: str
    offset: int


class HoldBack:
    """One partition's records, in the order of their offsets."""

    def __init__(self) -> None:
        self._batch: list[tuple[tuple[int, ...], Held]] = []
        self._groups: deque[tuple[Mapping[str, int], list[Held]]] = deque()
        self._released: Mapping[str, int] = {}

    def add(self, key: bytes | None, value: bytes | None, offset: int) -> None:
        """Take the next record. Raises Unreadable."""
        try:
            held = Held((key or b"").decode(), (value or b"").decode(), offset)
            if held.key != CHECKPOINT_KEY:
                self._batch.append((_decode_state(held.value).upto, held))
                return
            checkpoint = _decode_checkpoint(held.value)
            upto = checkpoint.upto
        except (ValueError, KeyError) as error:  # msgspec's errors are ValueErrors
            raise Unreadable(
                f"workspace.checkpoint@{offset} is neither state nor checkpoint: {error}. Only"
                " workers may write there; where the worker is of a newer version, update the sink"
            ) from None
        # where a reader also sees aborted batches, theirs are states of another `upto`
        group = [state for tagged, state in self._batch if tagged == upto]
        self._groups.append((checkpoint.seq, [*group, held]))
        self._batch.clear()

    def release(self, loaded: Mapping[str, int]) -> list[Held]:
        """The newest record of each key of all batches whose rows are loaded; then forget them."""
        newest: dict[str, Held] = {}
        while self._groups and _covers(loaded, self._groups[0][0]):
            self._released, group = self._groups.popleft()
            for held in group:
                newest[held.key] = held
        return list(newest.values())

    def reached(self, topic: str, seq: int) -> Mapping[str, int]:
        """`seq` of every topic at the newest whole batch of which `topic` is there up to `seq`."""
        reached = self._released
        for after, _ in self._groups:
            if after.get(topic, 0) > seq:
                break
            reached = after
        return reached


def _covers(loaded: Mapping[str, int], wanted: Mapping[str, int]) -> bool:
    return all(loaded.get(topic, 0) >= seq for topic, seq in wanted.items())

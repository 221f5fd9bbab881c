"""Deduplication: which (workspace, event id) pairs have been counted within the horizon.

An id is remembered by its arrival, whatever time its event claims, for the horizon plus the hour
that a claimed time may lie ahead: any later repeat claims to be older than the horizon and goes to
the late lane. Exact: a full 128-bit digest is compared, there is no filter that could take a new
event for an old one.

Budget: events a second × horizon × bytes an id.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Final

from spendstream.schemas.event import FUTURE_LIMIT_MS
from spendstream.schemas.topics import ID_HORIZON_MS

DIGEST_BYTES: Final = 16
REMEMBER_MS: Final = ID_HORIZON_MS + FUTURE_LIMIT_MS
_MINUTE_MS: Final = 60_000
_HEADER: Final = struct.Struct(">qqq")


def digest(workspace_id: str, event_id: str) -> bytes:
    """16 bytes that stand for the pair; the length prefix keeps ("a", "bc") from ("ab", "c")."""
    return blake2b(
        f"{len(workspace_id)}:{workspace_id}{event_id}".encode(), digest_size=DIGEST_BYTES
    ).digest()


class IdIndex:
    """The live ids of a partition, kept by the minute of their arrival."""

    __slots__ = ("_minutes", "_next_ms", "seen")

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._next_ms = 0
        self._minutes: deque[tuple[int, list[bytes]]] = deque()

    def __len__(self) -> int:
        return len(self.seen)

    def add(self, id_digest: bytes, partition_ms: int) -> None:
        """Remember an id that is not in `seen`; partition time never goes back."""
        self.seen.add(id_digest)
        minute = partition_ms // _MINUTE_MS
        if not self._minutes or self._minutes[-1][0] < minute:
            self._minutes.append((minute, []))
        self._minutes[-1][1].append(id_digest)

    def forget(self, partition_ms: int) -> None:
        """Drop the minutes that ended more than the horizon (and an hour) ago."""
        if partition_ms < self._next_ms:
            return
        self._next_ms = (partition_ms // _MINUTE_MS + 1) * _MINUTE_MS
        minutes = self._minutes
        while minutes and (minutes[0][0] + 1) * _MINUTE_MS + REMEMBER_MS <= partition_ms:
            self.seen.difference_update(minutes.popleft()[1])


def pack(upto: tuple[int, int], partition_ms: int, digests: Iterable[bytes]) -> bytes:
    """A record of `workspace.ids`: the batch's `upto`, its partition time, and its ids.

    All ids of a batch carry the batch's last partition time: they are kept a little longer after
    a recovery than before it, never shorter.
    """
    return _HEADER.pack(*upto, partition_ms) + b"".join(digests)


def unpack(value: bytes) -> tuple[tuple[int, int], int, Iterator[bytes]]:
    """The three things that `pack` put together."""
    events, commands, partition_ms = _HEADER.unpack_from(value)
    digests = (
        value[start : start + DIGEST_BYTES]
        for start in range(_HEADER.size, len(value), DIGEST_BYTES)
    )
    return (events, commands), partition_ms, digests

"""Deduplication: which (workspace, event id) pairs have been counted within the horizon.

An id is remembered by its arrival, whatever time its event claims, for the horizon plus the hour
that a claimed time may lie ahead: any later repeat claims to be older than the horizon and goes to
the late lane. Exact: a full 128-bit digest is compared, there is no filter that could take a new
event for an old one.

Budget: events a second × 25 hours × 22 bytes, of which 18 are digest and minute (sorted_ids.py).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

from spendstream.schemas.event import FUTURE_LIMIT_MS
from spendstream.schemas.topics import ID_HORIZON_MS
from spendstream.streams.core.sorted_ids import MAX_MINUTES, NEVER, SortedIds

DIGEST_BYTES: Final = 16
REMEMBER_MS: Final = ID_HORIZON_MS + FUTURE_LIMIT_MS
MINUTE_MS: Final = 60_000
NEVER_SEEN: Final = NEVER
_RECENT_SHARE: Final = 48
_HEADER: Final = struct.Struct(">qqHHI")  # a time has 48 bits; the era stands above it


def digest(workspace_id: str, event_id: str) -> bytes:
    """16 bytes that stand for the pair; the length prefix keeps ("a", "bc") from ("ab", "c")."""
    return blake2b(
        f"{len(workspace_id)}:{workspace_id}{event_id}".encode(), digest_size=DIGEST_BYTES
    ).digest()


class IdIndex:
    """The live ids of a partition, each with the minute of its arrival.

    An id is forgotten when the horizon has passed since the end of that minute. What was added
    lately is in a dict, the rest in a sorted array; the dict is merged into it before a look-up,
    whenever it has grown to a 48th of it.
    """

    __slots__ = ("_next_ms", "_oldest", "_recent", "_remember_ms", "_settle_at", "_settled")

    def __init__(self, remember_ms: int = REMEMBER_MS, settle_at: int = 4_096) -> None:
        """
        Args:
            remember_ms: how long after its arrival an id is kept; at most 45 days.
            settle_at: fewer are not worth a merge.
        """
        if remember_ms // MINUTE_MS + 2 > MAX_MINUTES:
            raise ValueError(f"ids can be kept {MAX_MINUTES} minutes, not {remember_ms} ms")
        self._remember_ms = remember_ms
        self._settle_at = settle_at
        self._recent: dict[bytes, int] = {}
        self._settled = SortedIds()
        self._next_ms = 0
        self._oldest = NEVER + 1

    def remembers(self, partition_ms: int) -> bool:
        """Whether an id that was added then is live now."""
        return partition_ms // MINUTE_MS >= self._oldest

    def __len__(self) -> int:
        """Ids that are held, the expired ones that are not dropped yet included."""
        return len(self._settled) + len(self._recent)

    def look_up(self, digests: Sequence[bytes]) -> list[int]:
        """Of each the minute in which it was last added, as `seen` wants it.

        The answer holds until the next `look_up` or `add_all`, whatever is added in between.
        """
        self._settle()
        return self._settled.minutes_of(digests)

    def seen(self, id_digest: bytes, minute: int) -> bool:
        """Whether an id is live now; `minute` is what `look_up` said of it."""
        return self._recent.get(id_digest, minute) >= self._oldest

    def add(self, id_digest: bytes, partition_ms: int) -> None:
        """Remember an id that is not live; partition time never goes back."""
        self._recent[id_digest] = partition_ms // MINUTE_MS

    def add_all(self, digests: Iterable[bytes], partition_ms: int) -> None:
        """Remember ids, live or not, as of a partition time."""
        self._recent.update(dict.fromkeys(digests, partition_ms // MINUTE_MS))
        self._settle()

    def forget(self, partition_ms: int) -> None:
        """Let the minutes expire that ended longer than the horizon (and an hour) ago."""
        if partition_ms < self._next_ms:
            return
        self._oldest = (partition_ms - self._remember_ms) // MINUTE_MS
        self._next_ms = (self._oldest + 1) * MINUTE_MS + self._remember_ms

    def _settle(self) -> None:
        recent = self._recent
        if len(recent) >= max(self._settle_at, len(self._settled) // _RECENT_SHARE):
            # whoever adds may not have told the time for long
            self.forget(max(recent.values()) * MINUTE_MS)
            self._settled.merge(recent.keys(), recent.values(), self._oldest)
            self._recent = {}


class Tag(NamedTuple):
    """Which batch a record of `workspace.ids` is of."""

    era: int
    upto: tuple[int, int]
    partition_ms: int


def pack(tag: Tag, digests: Iterable[bytes]) -> bytes:
    """A record of `workspace.ids`: the batch's tag, and its ids.

    All ids of a batch carry the batch's last partition time: they are kept a little longer after
    a recovery than before it, never shorter.
    """
    high_ms, low_ms = divmod(tag.partition_ms, 1 << 32)
    return _HEADER.pack(*tag.upto, tag.era, high_ms, low_ms) + b"".join(digests)


def unpack(value: bytes) -> tuple[Tag, Iterator[bytes]]:
    """The two things that `pack` put together."""
    events, commands, era, high_ms, low_ms = _HEADER.unpack_from(value)
    digests = (
        value[start : start + DIGEST_BYTES]
        for start in range(_HEADER.size, len(value), DIGEST_BYTES)
    )
    return Tag(era, (events, commands), (high_ms << 32) + low_ms), digests

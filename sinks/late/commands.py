"""The two commands that resolve a late row, as the worker reads them from `workspace.commands`."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from spendstream.sinks.late.window import LateRow

READMIT: Final = "readmit"
DUPLICATE: Final = "duplicate"


class Readmit(msgspec.Struct, gc=False):
    """Nothing of this id was counted up to `checked_seq` of `usage.priced`: take the event."""

    kind: Literal["readmit"]
    late_seq: int
    checked_seq: int
    topic: str
    offset: int
    arrival_ms: int
    time_ms: int
    event_id: str
    source: str
    event: msgspec.Raw


class Duplicate(msgspec.Struct, gc=False):
    """The event has been counted before."""

    kind: Literal["duplicate"]
    late_seq: int
    checked_seq: int
    workspace_id: str
    event_id: str


_encode: Final = msgspec.json.Encoder().encode


def command(row: LateRow, checked_seq: int, counted: bool) -> bytes:
    """What becomes of a row: `counted` says whether its id was found among those priced up to
    `checked_seq`. The event goes on with the bytes that it came with."""
    if counted:
        return _encode(Duplicate(DUPLICATE, row.seq, checked_seq, row.workspace_id, row.event_id))
    return _encode(
        Readmit(
            READMIT,
            row.seq,
            checked_seq,
            row.topic,
            row.offset,
            row.arrival_ms,
            row.time_ms,
            row.event_id,
            row.source,
            msgspec.Raw(row.event.encode()),
        )
    )

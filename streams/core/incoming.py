"""A record, decoded: an event, a word on a late event, or what cannot be taken.

Everything that can be said of a record without the partition's state is said here, so that a whole
batch's ids are known, and looked up at once, before its first event is counted.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import msgspec

from spendstream.schemas.event import FUTURE_LIMIT_MS, OLD_LIMIT_MS
from spendstream.schemas.period import from_ms
from spendstream.schemas.reasons import InvalidEvent, Reason
from spendstream.streams.core.decode import decode_event
from spendstream.streams.core.envelope import envelope
from spendstream.streams.core.forwarding import origin_of
from spendstream.streams.core.ids import digest
from spendstream.streams.core.input_record import InputRecord
from spendstream.streams.core.outputs import DuplicateStruct, ForwardedStruct, ReadmitStruct


class Incoming(msgspec.Struct, gc=False):
    """An event. `record` is the one it came by now, `origin` the one it first came in by."""

    record: InputRecord
    origin: InputRecord
    arrival_ms: int
    time_ms: int
    event_id: str
    source: str
    event: Any
    data: bytes
    digest: bytes


class Resolution(msgspec.Struct, gc=False):
    """What the resolver found out about a late row.

    Attributes:
        again: the event, where it was not found; None where it was counted before.
        invalid: why the event cannot be read.
    """

    record: InputRecord
    late_seq: int
    checked_seq: int
    again: Incoming | None = None
    invalid: InvalidEvent | None = None


class Refused(msgspec.Struct, gc=False):
    """A record that cannot be taken; `command`: because it is no command, or not its turn."""

    record: InputRecord
    invalid: InvalidEvent
    command: bool = False
    again: None = None


Item: TypeAlias = Incoming | Resolution | Refused


def event_of(record: InputRecord, origin: InputRecord | None = None) -> Incoming | Refused:
    """A record of `usage.events`, or one that was forwarded, which came in by `origin`."""
    if origin is None:
        origin = record
    try:
        if origin.value is None:
            raise InvalidEvent(Reason.TOMBSTONE, "the record has no value")
        event_id, source, time_ms, data = envelope(origin.headers, origin.value)
        event, data = decode_event(data)
        arrival_ms = origin.timestamp
        age = arrival_ms - time_ms
        if age > OLD_LIMIT_MS:
            raise InvalidEvent(
                Reason.TOO_OLD,
                f"ce_time: {from_ms(time_ms).isoformat()} is more than"
                f" {OLD_LIMIT_MS // 86_400_000} days before its arrival",
            )
        if -age > FUTURE_LIMIT_MS:
            raise InvalidEvent(
                Reason.IN_THE_FUTURE,
                f"ce_time: {from_ms(time_ms).isoformat()} is over an hour ahead of its arrival",
            )
    except InvalidEvent as invalid:
        return Refused(origin, invalid)
    return Incoming(
        record,
        origin,
        arrival_ms,
        time_ms,
        event_id,
        source,
        event,
        data,
        digest(event.workspace_id, event_id),
    )


def command_of(record: InputRecord) -> Item:
    """A record of `workspace.commands`."""
    try:
        command = _decode(record.value or b"")
        if type(command) is ForwardedStruct:
            origin = origin_of(command)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return Refused(record, InvalidEvent(Reason.INVALID_COMMAND, str(error)), command=True)
    if type(command) is ForwardedStruct:
        return event_of(record, origin)
    resolution = Resolution(record, command.late_seq, command.checked_seq)
    if type(command) is ReadmitStruct:
        try:
            event, data = decode_event(bytes(command.event))
        except InvalidEvent as invalid:
            resolution.invalid = invalid
            return resolution
        resolution.again = Incoming(
            record,
            record,
            command.arrival_ms,
            command.time_ms,
            command.event_id,
            command.source,
            event,
            data,
            digest(event.workspace_id, command.event_id),
        )
    return resolution


_decode: Final = msgspec.json.Decoder(ForwardedStruct | ReadmitStruct | DuplicateStruct).decode

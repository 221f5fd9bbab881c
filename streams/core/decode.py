"""From a record's data to a usage event: fast where it is plainly right, else by the reference.

The compiled Struct accepts a subset of what the public model accepts, with the same values: types,
bounds and unknown fields are its own work; the rules between fields are called here. What it
cannot see (duplicate keys, control characters, metadata) shows in the bytes:

- encoding the decoded event gives back the same bytes only if no key stood twice;
- without a backslash and a DEL in the bytes there is no control character in any string.

Anything else goes to `schemas.parse`, whose verdict and wording are final.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from spendstream.schemas.event import MAX_EVENT_BYTES, UsageEvent, check_consistent
from spendstream.schemas.parse import parse_event
from spendstream.schemas.reasons import InvalidEvent, Reason
from spendstream.schemas.usage import check_subsets
from spendstream.streams.core.structs import NO_RAW, struct_of

EventStruct: Final[Any] = struct_of(UsageEvent, raw=frozenset({"metadata"}))
_decode: Final = msgspec.json.Decoder(EventStruct).decode
_encode: Final = msgspec.json.Encoder().encode


Decoded = tuple[Any, bytes]
"""(event with the fields of UsageEvent, its JSON in normal form)."""


def decode_event(data: bytes) -> Decoded:
    """Decode and check the data of a usage event.

    Raises:
        InvalidEvent: with the reason and the field.
    """
    if len(data) > MAX_EVENT_BYTES:
        raise InvalidEvent(Reason.TOO_LARGE, f"{len(data)} bytes > {MAX_EVENT_BYTES}")
    try:
        event = _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _by_reference(data)
    if event.metadata is not NO_RAW or b"\\" in data or b"\x7f" in data or _encode(event) != data:
        return _by_reference(data)
    usage = event.usage
    if usage is not None:
        check_subsets(usage)
        for other in usage.other_models:
            check_subsets(other)
    if (
        event.response_model is None
        or event.status == "blocked"
        or event.usage_quality == "conflicting"
        or event.provider_usage is not None
    ):
        check_consistent(
            event.request_model,
            event.response_model,
            event.status,
            usage is not None,
            event.usage_quality,
            event.provider_usage is not None,
        )
    return event, data


def _by_reference(data: bytes) -> Decoded:
    """The public model decides, and its own JSON is the normal form from here on."""
    normal = parse_event(data).model_dump_json(exclude_defaults=True).encode()
    return _decode(normal), normal

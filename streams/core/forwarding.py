"""An event that came to another partition than its workspace's: sent home, with origin and bytes.

It travels in `workspace.commands`. At home it is judged as if it had come there at once: by its
first arrival, and buried, if need be, as the record that it first was.
"""

from __future__ import annotations

from typing import Any

from spendstream.schemas.reasons import InvalidEvent, Reason
from spendstream.streams.core.input_record import InputRecord, Origin
from spendstream.streams.core.outputs import (
    MAX_RECORD_BYTES,
    Batch,
    ForwardedStruct,
    encode,
)
from spendstream.streams.core.verbatim import (
    base64_or_none,
    bytes_or_none,
    headers_from_json,
    headers_to_json,
)


def forward(batch: Batch, origin: InputRecord, home: int, workspace_id: str) -> None:
    """Send an event to partition `home`.

    Raises:
        InvalidEvent: it is too large to be sent on.
    """
    command = ForwardedStruct(
        topic=origin.topic,
        partition=origin.partition,
        offset=origin.offset,
        arrival_ms=origin.timestamp,
        key_base64=base64_or_none(origin.key),
        value_base64=base64_or_none(origin.value),
        headers=headers_to_json(origin.headers),
    )
    encoded = encode(command)
    if len(encoded) > MAX_RECORD_BYTES:
        raise InvalidEvent(Reason.TOO_LARGE, f"key and headers make {len(encoded)} bytes of it")
    batch.forwarded.append((home, workspace_id.encode(), encoded))


def origin_of(command: Any) -> Origin:
    """The record that `forward` was given. Raises ValueError where its bytes are no base64."""
    return Origin(
        command.topic,
        command.partition,
        command.offset,
        command.arrival_ms,
        bytes_or_none(command.key_base64),
        bytes_or_none(command.value_base64),
        headers_from_json(command.headers),
    )

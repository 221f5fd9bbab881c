"""Dead letters: a refused record, verbatim, with the reason."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from spendstream.schemas.reasons import InvalidEvent
from spendstream.schemas.topics import USAGE_DEAD
from spendstream.streams.core.input_record import InputRecord
from spendstream.streams.core.outputs import (
    MAX_RECORD_BYTES,
    Batch,
    DeadStruct,
    encode,
)
from spendstream.streams.core.state import PartitionState
from spendstream.streams.core.verbatim import base64_or_none, headers_to_json

KEEP_VALUE_BYTES: Final = 2_000_000
"""Of a record whose letter would be too large; and `KEEP_KEY_BYTES` of its key, no headers."""
KEEP_KEY_BYTES: Final = 100_000


def bury(state: PartitionState, batch: Batch, record: InputRecord, invalid: InvalidEvent) -> None:
    """Write the record's letter to `usage.dead`, under the record's own key."""
    checkpoint = state.checkpoint
    checkpoint.seq[USAGE_DEAD] += 1
    letter = DeadStruct(
        seq=checkpoint.seq[USAGE_DEAD],
        partition=checkpoint.partition,
        topic=record.topic,
        offset=record.offset,
        arrival_ms=record.timestamp,
        reason=invalid.reason,
        detail=invalid.detail,
        key_base64=base64_or_none(record.key),
        value_base64=base64_or_none(record.value),
        headers=headers_to_json(record.headers),
    )
    encoded = encode(letter)
    key = record.key
    if len(encoded) > MAX_RECORD_BYTES:
        # Compressed, it was within the input's limit; a letter that the broker refuses would stop
        # the partition for ever.
        key, value = (record.key or b"")[:KEEP_KEY_BYTES], record.value or b""
        letter.detail = (
            f"{invalid.detail} [cut: a key of {len(record.key or b'')} bytes, a value of"
            f" {len(value)} with SHA-256 {sha256(value).hexdigest()},"
            f" {len(record.headers)} headers]"
        )
        letter.key_base64 = base64_or_none(key)
        letter.value_base64 = base64_or_none(value[:KEEP_VALUE_BYTES])
        letter.headers = ()
        encoded = encode(letter)
    batch.rows[USAGE_DEAD].append((key, encoded))
    batch.dead[invalid.reason] += 1

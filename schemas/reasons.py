"""Why an event was refused: the reason codes of `usage.dead`, in the order they are tested.

A code is stable (dashboards and scripts match on it); the `detail` beside it is for people and
names the field. One class, because the core does one thing with all of them: dead-letter.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Reason code of a dead letter."""

    TOMBSTONE = "tombstone"  # record without a value
    TOO_LARGE = "too_large"  # value above MAX_EVENT_BYTES
    UNSUPPORTED_CONTENT_TYPE = "unsupported_content_type"
    MISSING_HEADER = "missing_header"  # a required CloudEvents attribute is absent
    INVALID_HEADER = "invalid_header"  # CloudEvents attribute malformed or out of bounds
    UNSUPPORTED_TYPE = "unsupported_type"  # ce_type or ce_specversion is not ours
    INVALID_TIME = "invalid_time"  # `time` is not RFC 3339 with an offset
    INVALID_UTF8 = "invalid_utf8"
    INVALID_JSON = "invalid_json"  # also NaN, Infinity, truncation, lone surrogates
    DUPLICATE_KEY = "duplicate_key"  # JSON readers disagree on which one counts
    TOO_DEEP = "too_deep"
    NOT_AN_OBJECT = "not_an_object"
    UNKNOWN_FIELD = "unknown_field"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    OUT_OF_RANGE = "out_of_range"
    TOO_LONG = "too_long"
    CONTROL_CHARACTER = "control_character"
    INVALID_VALUE = "invalid_value"
    SUBSET_EXCEEDS_TOTAL = "subset_exceeds_total"
    IN_THE_FUTURE = "in_the_future"  # claims to be > 1 h ahead of its arrival
    TOO_OLD = "too_old"  # claims to be > 35 days before its arrival
    INVALID_COMMAND = "invalid_command"  # in workspace.commands, which only our parts write
    PROCESSING_FAILED = "processing_failed"  # the worker's own fault; `detail` is the traceback


class InvalidEvent(ValueError):
    """An event breaks the schema; the next step is always its dead letter.

    Attributes:
        reason: stable code.
        detail: one sentence that names the field and what is wrong with it.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

"""From bytes to a `UsageEvent`, or to the reason why not: the reference verdict.

The workers' hot path decodes with a compiled twin of the model and comes here for everything that
is not plainly right, so that there is one verdict and one wording. Tools and other producers may
use it as it is.
"""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

from pydantic import ValidationError

from spendstream.schemas.event import MAX_EVENT_BYTES, UsageEvent
from spendstream.schemas.reasons import InvalidEvent, Reason

MAX_DEPTH: Final = 32
"""Of any JSON we read; metadata has a tighter bound of its own."""

_BY_PYDANTIC_TYPE: Final = {
    "extra_forbidden": Reason.UNKNOWN_FIELD,
    "missing": Reason.MISSING_FIELD,
    "greater_than_equal": Reason.OUT_OF_RANGE,
    "less_than_equal": Reason.OUT_OF_RANGE,
    "int_parsing_size": Reason.OUT_OF_RANGE,
    "string_too_long": Reason.TOO_LONG,
    "too_long": Reason.TOO_LONG,
    "string_too_short": Reason.INVALID_VALUE,
    "string_pattern_mismatch": Reason.INVALID_VALUE,
    "literal_error": Reason.INVALID_VALUE,
    "json_invalid": Reason.INVALID_JSON,
}


def parse_event(data: bytes) -> UsageEvent:
    """Parse and check the data of a usage event.

    Raises:
        InvalidEvent: the first thing wrong with it, with the field named.
    """
    if len(data) > MAX_EVENT_BYTES:
        raise InvalidEvent(Reason.TOO_LARGE, f"{len(data)} bytes > {MAX_EVENT_BYTES}")
    check_json(data)
    try:
        return UsageEvent.model_validate_json(data)
    except ValidationError as error:
        raise invalid_from(error) from None


def check_json(data: bytes) -> dict[str, Any]:
    """Refuse what JSON readers disagree on: encodings, duplicate keys, NaN, bottomless nesting."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise InvalidEvent(
            Reason.INVALID_UTF8, f"byte {error.start} is not UTF-8: {error.reason}"
        ) from None
    check_depth(text)
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except InvalidEvent:
        raise
    except json.JSONDecodeError as error:
        raise InvalidEvent(Reason.INVALID_JSON, f"{error.msg} at character {error.pos}") from None
    except ValueError as error:  # an integer of more digits than Python converts
        raise InvalidEvent(Reason.OUT_OF_RANGE, str(error)) from None
    if not isinstance(value, dict):
        raise InvalidEvent(Reason.NOT_AN_OBJECT, f"a JSON object is expected, got {_kind(value)}")
    return value


def check_depth(text: str) -> None:
    """Bound the nesting before any recursive parser sees it."""
    depth = 0
    quoted = escaped = False
    for character in text:
        if quoted:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                quoted = False
        elif character == '"':
            quoted = True
        elif character in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise InvalidEvent(Reason.TOO_DEEP, f"nested more than {MAX_DEPTH} deep")
        elif character in "]}":
            depth -= 1


def invalid_from(error: ValidationError) -> InvalidEvent:
    """The first error of pydantic's list, as ours."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, InvalidEvent):
        detail = f"{field}: {cause.detail}" if field and field != "usage" else cause.detail
        return InvalidEvent(cause.reason, detail)
    reason = _BY_PYDANTIC_TYPE.get(first["type"], Reason.WRONG_TYPE)
    return InvalidEvent(reason, f"{field}: {first['msg']}" if field else first["msg"])


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise InvalidEvent(Reason.DUPLICATE_KEY, f"{key!r:.80} stands twice in one object")
            seen.add(key)
    return value


def _no_constant(name: str) -> NoReturn:
    raise InvalidEvent(Reason.INVALID_JSON, f"{name} is not JSON")


def _kind(value: object) -> str:
    return {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}.get(
        type(value), "a number"
    )

"""What pydantic finds wrong, in words for whoever wrote it."""

from __future__ import annotations

from pydantic_core import ErrorDetails

from spendstream.schemas.reasons import InvalidEvent

Place = tuple[int | str, ...]


def place_and_reason(error: ErrorDetails) -> tuple[Place, str]:
    """Where the mistake is, and what is wrong there."""
    where, why, given = error["loc"], error["msg"], error["input"]
    if error["type"] == "string_type" and isinstance(given, float):
        why = f"{given} is a float, which cannot hold money exactly; put it in quotes"
    elif error["type"] == "string_pattern_mismatch":
        why = f"{given!r} is none ({error['ctx']['pattern']})"
    elif error["type"] == "value_error":
        raised = error["ctx"]["error"]
        why = str(raised)
        field, colon, reason = why.partition(": ")
        # a rule between fields names the field itself
        if colon and " " not in field and not isinstance(raised, InvalidEvent):
            where, why = (*where, field), reason
    return where, why


def path(place: Place) -> str:
    """`limits[0].amount`."""
    return "".join(
        f"[{step}]" if isinstance(step, int) else f".{step}" for step in place
    ).removeprefix(".")

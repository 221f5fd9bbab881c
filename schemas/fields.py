"""Field types shared by the models: bounded, strict, without control characters.

Each is an `Annotated` type whose constraints are read twice: by pydantic (the public models) and
by the hot path's decoder, which is compiled from the same declaration (`streams/core/decode.py`).
"""

from __future__ import annotations

from typing import Annotated, Final

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import AfterValidator, BaseModel, ConfigDict

from spendstream.schemas.reasons import InvalidEvent, Reason

MAX_NAME: Final = 128
MAX_TEXT: Final = 256
MAX_COUNT: Final = 1_000_000_000
"""Tokens, images, … of one call. A billion is far above any context window, and keeps every
product with a unit price within 128 bits."""
MAX_MS: Final = 7 * 86_400_000
"""Durations: a week in milliseconds (the longest batch jobs take a day)."""
MAX_EPOCH_MS: Final = 4_102_444_800_000
"""2100-01-01: a later time is a unit mistake (microseconds sent as milliseconds)."""


class Model(BaseModel):
    """Base of all public models: frozen, strict types, unknown fields refused."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", validate_default=False)


def no_control_characters(text: str) -> str:
    """Return `text`; raise InvalidEvent where it holds a control character."""
    for character in text:
        if character < " " or character == "\x7f":
            raise InvalidEvent(Reason.CONTROL_CHARACTER, f"holds {character!r}")
    return text


Name = Annotated[str, MinLen(1), MaxLen(MAX_NAME), AfterValidator(no_control_characters)]
Text = Annotated[str, MinLen(1), MaxLen(MAX_TEXT), AfterValidator(no_control_characters)]
Count = Annotated[int, Ge(0), Le(MAX_COUNT)]
Milliseconds = Annotated[int, Ge(0), Le(MAX_MS)]
EpochMs = Annotated[int, Ge(0), Le(MAX_EPOCH_MS)]

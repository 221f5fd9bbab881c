"""A fixture: a payload of a provider as its own SDK's objects, and what it used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

Expected = dict[str, Any] | None
"""Every field of ExtractedUsage that is not its default; None: there is no usage in it."""


@dataclass(frozen=True)
class Case:
    row: str
    what: str
    provider: str
    api: str
    payload: object
    expected: Expected
    documented: bool = False
    """No SDK that is installed has types for it: built by the documentation, of OpenAI's types with
    extra fields where it fits. Counted apart."""

    def __str__(self) -> str:
        return f"{self.row}, {self.what}" + (" (documented only)" if self.documented else "")


def unknown_names(value: object) -> Iterator[str]:
    """What a fixture has that the SDK's type does not know: a slip of the pen, most likely."""
    if isinstance(value, BaseModel):
        for name in value.model_extra or ():
            yield f"{type(value).__name__}.{name}"
        for item in vars(value).values():
            yield from unknown_names(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from unknown_names(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from unknown_names(item)


def sdk_objects(value: object) -> Iterator[BaseModel]:
    """The outermost ones: a batch's line is a plain object around one."""
    if isinstance(value, BaseModel):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from sdk_objects(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from sdk_objects(item)

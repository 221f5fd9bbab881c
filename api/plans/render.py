"""A plan as the file says it, by the rules of `fields`."""

from __future__ import annotations

from typing import Final, cast

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from spendstream.api.plans.fields import Field, fields_of
from spendstream.schemas.money import usd_string
from spendstream.schemas.period import from_ms

_NOTHING: Final[tuple[object, ...]] = (None, [], {})


def render(model: BaseModel) -> dict[str, object]:
    """Every default is written out; `parse` reads it back."""
    return {field.written: render_field(field, model) for field in fields_of(type(model))}


def render_field(field: Field, model: BaseModel) -> object:
    value = getattr(model, field.name)
    if value is None:
        return None
    match field.sort_beside(getattr(model, "measure", None)):
        case "money":
            return usd_string(value)
        case "moment":
            return cast("str", to_jsonable_python(from_ms(value)))
        case _:
            return _plain(value)


def _plain(value: object) -> object:
    """What holds nothing, as it does by default, is left out of what stands within the plan."""
    if isinstance(value, BaseModel):
        said = ((field, render_field(field, value)) for field in fields_of(type(value)))
        return {
            field.written: one
            for field, one in said
            if one not in _NOTHING or not field.is_default(value)
        }
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return cast("object", to_jsonable_python(value))

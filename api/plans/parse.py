"""A plan from what a file says, by the rules of `fields`; every mistake is named."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from spendstream.api.plans.fields import Field, fields_of, is_model, item_of, value_of
from spendstream.api.yaml_file import kind
from spendstream.schemas.mistakes import Place, place_and_reason
from spendstream.schemas.money import pico_from_usd
from spendstream.schemas.period import to_ms
from spendstream.schemas.prices.overrides import read_moment

M = TypeVar("M", bound=BaseModel)


class Mistake(NamedTuple):
    """Where, by the names of the file, and what is wrong there."""

    place: Place
    reason: str


def parse(model: type[M], body: object, where: Place = ()) -> tuple[M | None, list[Mistake]]:
    """The inverse of `render`. None where there are mistakes; those are all that there are."""
    mistakes: list[Mistake] = []
    values = _fields(model, body, where, mistakes)
    found = None
    try:
        # through JSON, where a list is a tuple and a text a date also to a strict model
        found = model.model_validate_json(to_json(values))
    except ValidationError as error:
        known = [mistake.place for mistake in mistakes]
        for item in error.errors():
            place, reason = place_and_reason(item)
            place = (*where, *_as_written(model, place))
            if not any(place[: len(other)] == other for other in known):
                mistakes.append(Mistake(place, reason))
    except ValueError as error:  # what JSON cannot hold
        mistakes.append(Mistake(where, str(error)))
    return (None if mistakes else found), mistakes


def _fields(of: type[BaseModel], body: object, where: Place, mistakes: list[Mistake]) -> object:
    """The model's own names and values, as far as they can be read."""
    if not isinstance(body, dict):
        mistakes.append(Mistake(where, f"a mapping is required, found {kind(body)}"))
        return body
    known = fields_of(of)
    names = [field.written for field in known]
    mistakes += (
        Mistake((*where, str(key)), f"unknown field (there are {', '.join(names)})")
        for key in body
        if key not in names
    )
    return {
        field.name: _value(field, body, (*where, field.written), mistakes)
        for field in known
        if field.written in body
    }


def _value(field: Field, body: Mapping[Any, object], where: Place, mistakes: list[Mistake]) -> Any:
    value = body[field.written]
    if value is None and field.optional:
        return None
    try:
        match field.sort_beside(body.get("measure")):
            case "money":
                return _money(value)
            case "moment":
                return _moment(value)
            case "percent":
                return _percent(value)
    except ValueError as error:
        mistakes.append(Mistake(where, str(error)))
        return value
    return _typed(field.type, value, where, mistakes)


def _typed(of: Any, value: object, where: Place, mistakes: list[Mistake]) -> object:
    if is_model(of):
        return _fields(of, value, where, mistakes)
    item = item_of(of)
    if item is not None:
        if isinstance(value, list):
            return [_typed(item, one, (*where, n), mistakes) for n, one in enumerate(value)]
        mistakes.append(Mistake(where, f"a list is required, found {kind(value)}"))
    elif (item := value_of(of)) is not None:
        return _mapping(item, value, where, mistakes)
    elif of is int and isinstance(value, float):
        mistakes.append(Mistake(where, f"{value} is a float; a whole number is required"))
    elif of is str and not isinstance(value, str):
        quoted = "" if value is None else f'; put it in quotes: "{value}"'
        mistakes.append(Mistake(where, f"text is required, YAML reads {kind(value)}{quoted}"))
    return value


def _mapping(item: Any, value: object, where: Place, mistakes: list[Mistake]) -> object:
    if not isinstance(value, dict):
        mistakes.append(Mistake(where, f"a mapping is required, found {kind(value)}"))
        return value
    found = {}
    for key, one in value.items():
        if isinstance(key, str):
            found[key] = _typed(item, one, (*where, key), mistakes)
        else:
            reason = f"YAML reads this name as {kind(key)}; put it in quotes"
            mistakes.append(Mistake((*where, str(key)), reason))
    return found


def _money(value: object) -> int:
    """Pico-USD. Raises ValueError."""
    if isinstance(value, float):
        raise ValueError(
            f'{value} is a float, which cannot hold money exactly; put it in quotes: "{value}"'
        )
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"an amount of USD is required, found {kind(value)}")
    pico = pico_from_usd(str(value))
    if pico < 0:
        raise ValueError(f"{value} is below 0")
    return pico


def _moment(value: object) -> int:
    """Milliseconds since 1970. Raises ValueError."""
    if not isinstance(value, date | str):
        raise ValueError(f"a date or a time is required, found {kind(value)}")
    moment = read_moment(value if isinstance(value, str) else value.isoformat())
    if moment.microsecond % 1000:
        raise ValueError(f"{value} is finer than a millisecond")
    return to_ms(moment)


def _percent(value: object) -> str:
    """Raises ValueError."""
    if isinstance(value, float):
        raise ValueError(f'{value} is a float; put it in quotes: "{value}"')
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"a decimal percentage is required, found {kind(value)}")
    return str(value)


def _as_written(model: type[BaseModel], place: Place) -> Place:
    """A place by the names of the model, by those of the file."""
    of: Any = model
    names: list[int | str] = []
    for step in place:
        if is_model(of):
            field = next((one for one in fields_of(of) if one.name == step), None)
            of, step = (None, step) if field is None else (field.type, field.written)
        elif isinstance(step, int):
            of = item_of(of)
        else:
            of = value_of(of)
        names.append(step)
    return tuple(names)

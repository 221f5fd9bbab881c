"""How the fields of a plan are written in a file, worked out from the model.

A field that is added to the model can be written at once, under the same names and by the same
rules:

- money, `credit_pico`, is `credit`: USD, a whole number or a quoted decimal; so is the `amount` of
  what measures `charge`;
- a moment, `expires_ms`, is `expires`: a date or a time, in UTC where it names no other zone;
- a percentage that is a string is a whole number or a quoted decimal;
- all else is as it is in JSON.
"""

from __future__ import annotations

import types
from collections.abc import Iterable
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple, TypeGuard, Union, get_args, get_origin

from annotated_types import Le
from pydantic import BaseModel

from spendstream.schemas.fields import MAX_EPOCH_MS

Sort = Literal["money", "moment", "percent", "plain"]


class Field(NamedTuple):
    """One of a model's. `type` is without None, which may be said where it is `optional`."""

    name: str
    written: str
    type: Any
    optional: bool
    default: object
    description: str
    sort: Sort

    def sort_beside(self, measure: object) -> Sort:
        """What it is in a model that measures that."""
        return "money" if self.name == "amount" and measure == "charge" else self.sort

    def is_default(self, model: BaseModel) -> bool:
        """Whether it says what holds where nothing is said."""
        return bool(getattr(model, self.name) == self.default)


@lru_cache(maxsize=64)
def fields_of(model: type[BaseModel]) -> tuple[Field, ...]:
    """In the order of the model. One that is required has PydanticUndefined as its default."""
    fields = []
    for name, info in model.model_fields.items():
        of, optional, limits = bare(info.annotation)
        written, sort = _named(name, of, (*info.metadata, *limits))
        default = info.get_default(call_default_factory=True)
        fields.append(Field(name, written, of, optional, default, info.description or "", sort))
    return tuple(fields)


def bare(annotation: Any) -> tuple[Any, bool, tuple[object, ...]]:
    """The type without `None` and without its limits; whether it takes None; its limits."""
    optional, limits = False, ()
    while True:
        arguments = get_args(annotation)
        if get_origin(annotation) is Annotated:
            limits += arguments[1:]
            annotation = arguments[0]
        elif get_origin(annotation) in (Union, types.UnionType) and type(None) in arguments:
            optional = True
            others = [one for one in arguments if one is not type(None)]
            if len(others) > 1:
                return annotation, optional, limits
            annotation = others[0]
        else:
            return annotation, optional, limits


def is_model(of: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(of, type) and issubclass(of, BaseModel)


def item_of(of: Any) -> Any:
    """What a list of this type holds; None where it is no list."""
    arguments = get_args(of)
    listed = get_origin(of) is tuple and len(arguments) == 2 and arguments[1] is Ellipsis
    return bare(arguments[0])[0] if listed else None


def value_of(of: Any) -> Any:
    """What a mapping of this type holds; None where it is no mapping."""
    return bare(get_args(of)[1])[0] if get_origin(of) is dict else None


def choices(of: Any) -> tuple[str, ...]:
    """The words that a field takes; none where it takes any."""
    words = get_args(of) if get_origin(of) is Literal else ()
    return tuple(word for word in words if isinstance(word, str))


def _named(name: str, of: Any, limits: Iterable[object]) -> tuple[str, Sort]:
    if of is int and name.endswith("_pico"):
        return name.removesuffix("_pico"), "money"
    if of is int and name.endswith("_ms") and Le(MAX_EPOCH_MS) in limits:
        return name.removesuffix("_ms"), "moment"
    if of is str and name.endswith("_percent"):
        return name, "percent"
    return name, "plain"

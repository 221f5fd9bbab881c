"""The fields of an SDK's usage types, by their names on the wire."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from botocore.model import ListShape, Shape, StructureShape  # type: ignore[import-untyped]
from pydantic import BaseModel
from typing_extensions import TypeAliasType


def leaves(model: type[BaseModel], elsewhere: frozenset[type] = frozenset()) -> set[str]:
    """`details.cached_tokens`, `entries[].count`: of the type and all within it, but for types that
    are looked at elsewhere, which are a leaf. A field that can have one value only says nothing."""
    return set(_leaves(model, "", elsewhere - {model}))


def _leaves(annotation: Any, path: str, elsewhere: frozenset[type]) -> Iterator[str]:
    origin, args = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, TypeAliasType):
        yield from _leaves(annotation.__value__, path, elsewhere)
    elif origin is Annotated:
        yield from _leaves(args[0], path, elsewhere)
    elif origin in (Union, UnionType) or isinstance(origin, TypeAliasType):
        for arg in args:
            if arg is not type(None):
                yield from _leaves(arg, path, elsewhere)
    elif origin is list:
        yield from _leaves(args[0], f"{path}[]", elsewhere)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation in elsewhere:
            yield path
            return
        for name, field in annotation.model_fields.items():
            wire = field.alias or name
            yield from _leaves(field.annotation, f"{path}.{wire}" if path else wire, elsewhere)
    elif origin is not Literal or len(args) > 1:
        yield path


def shape_leaves(shape: Shape, path: str = "") -> Iterator[str]:
    """The same of a shape in a service's model of botocore."""
    if isinstance(shape, StructureShape):
        for name, member in shape.members.items():
            yield from shape_leaves(member, f"{path}.{name}" if path else name)
    elif isinstance(shape, ListShape):
        yield from shape_leaves(shape.member, f"{path}[]")
    else:
        yield path


_CLASS = re.compile(r"^class (\w*(?:Usage|BilledUnits)\w*)\((?=[^)]*BaseModel)", flags=re.MULTILINE)


def usage_types(package: str) -> Iterator[str]:
    """`folder/file.py:Class` of every class of a package with usage in its name; read, not
    imported, since a package has hundreds of modules."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    root = Path(spec.submodule_search_locations[0])
    for file in sorted(root.rglob("*.py")):
        for name in _CLASS.findall(file.read_text()):
            yield f"{file.relative_to(root)}:{name}"


def within(model: type[BaseModel]) -> set[type[BaseModel]]:
    """A type and the types of its fields."""
    found: set[type[BaseModel]] = {model}
    for field in model.model_fields.values():
        for inner in _models(field.annotation):
            if inner not in found:
                found |= within(inner)
    return found


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, TypeAliasType):
        annotation = annotation.__value__
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for arg in get_args(annotation):
        yield from _models(arg)

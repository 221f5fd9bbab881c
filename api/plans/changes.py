"""What two plans differ in, field by field, by the names of the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

from spendstream.api.plans.render import render
from spendstream.schemas import Plan


class Change(NamedTuple):
    """One difference; None where there was, or is, nothing."""

    field: str
    before: object
    after: object


def changes_between(before: Plan, after: Plan) -> list[Change]:
    """In the order of the fields. Empty where the plans are equal."""
    return list(_mappings("", render(before), render(after)))


def _mappings(
    where: str, before: Mapping[str, object], after: Mapping[str, object]
) -> Iterator[Change]:
    for name in dict.fromkeys((*before, *after)):
        place = f"{where}.{name}" if where else name
        yield from _values(place, before.get(name), after.get(name))


def _values(where: str, before: object, after: object) -> Iterator[Change]:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _mappings(where, before, after)
    elif isinstance(before, list) and isinstance(after, list):
        named = _by_name(before), _by_name(after)
        if named[0] is None or named[1] is None:
            yield from _items(where, before, after)
        else:
            yield from _named(where, named[0], named[1])
    else:
        yield Change(where, before, after)


def _by_name(items: list[Any]) -> dict[str, object] | None:
    """The items by their names; None where some have none, or the same."""
    named = {one["name"]: one for one in items if isinstance(one, dict) and "name" in one}
    return cast("dict[str, object]", named) if len(named) == len(items) else None


def _named(where: str, before: dict[str, object], after: dict[str, object]) -> Iterator[Change]:
    for name in dict.fromkeys((*before, *after)):
        yield from _values(f"{where}[{name}]", before.get(name), after.get(name))
    yield from _order(
        where,
        [name for name in before if name in after],
        [name for name in after if name in before],
    )


def _items(where: str, before: list[object], after: list[object]) -> Iterator[Change]:
    yield from (Change(where, one, None) for one in before if before.count(one) > after.count(one))
    yield from (Change(where, None, one) for one in after if after.count(one) > before.count(one))
    yield from _order(
        where, [one for one in before if one in after], [one for one in after if one in before]
    )


def _order(where: str, before: list[Any], after: list[Any]) -> Iterator[Change]:
    if before != after:
        yield Change(f"{where}, order", before, after)

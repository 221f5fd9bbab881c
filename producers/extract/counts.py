"""Reading counts out of a provider's usage block, strictly: a count is a whole number or absent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from spendstream.producers.extract.plain import Object, Unreadable
from spendstream.schemas.fields import MAX_COUNT, MAX_MS
from spendstream.schemas.money import PICO_PER_USD

NOTHING: Final[Object] = {}


def block(parent: Object, *path: str) -> Object:
    """The object at `path`; an empty one where it is absent or null. Raises Unreadable."""
    for name in path:
        value = parent.get(name)
        if value is None:
            return NOTHING
        if not isinstance(value, Mapping):
            raise Unreadable(f"{'.'.join(path)} is no object but {type(value).__name__}")
        parent = value
    return parent


def inner(parent: Object, name: str) -> Object:
    """The object of that name, or an empty one: what is no usage need not be well formed."""
    value = parent.get(name)
    return value if isinstance(value, Mapping) else NOTHING


def objects(parent: Object, name: str) -> list[Object]:
    """The objects of an array; none where it is absent or null. Raises Unreadable."""
    value = parent.get(name)
    if value is None:
        return []
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise Unreadable(f"{name} is no array but {type(value).__name__}")
    return [item for item in value if isinstance(item, Mapping)]


def count(parent: Object, *names: str) -> int | None:
    """The first of `names` that is there; None: none is. Raises Unreadable.

    28.0 is a whole number; 0.25, "28", true and -1 are none.
    """
    for name in names:
        value = parent.get(name)
        if value is None:
            continue
        if type(value) is int and 0 <= value <= MAX_COUNT:  # nearly always
            return value
        whole = _whole(value)
        if whole is None or not 0 <= whole <= MAX_COUNT:
            raise Unreadable(f"{name} is no count: {value!r:.80}")
        return whole
    return None


def number(parent: Object, *names: str) -> int:
    """As `count`; 0 where it is absent, which is what an absent *subset* means."""
    return count(parent, *names) or 0


def text(parent: Object, *names: str) -> str | None:
    """The first of `names` that is text and not empty."""
    for name in names:
        value = parent.get(name)
        if isinstance(value, str) and value:
            return value
    return None


_ENVELOPES: Final = ("response", "message", "interaction", "data")
_SAME: Final = {"model": ("model", "modelVersion"), "id": ("id", "responseId")}


def named(parts: Sequence[Object], name: str) -> str | None:
    """The first `model`, `id` or other text of a stream, in its chunks or in what they wrap."""
    names = _SAME.get(name, (name,))
    for part in parts:
        for envelope in _ENVELOPES:
            inner = part.get(envelope)
            if isinstance(inner, Mapping) and (found := text(inner, *names)):
                return found
        if found := text(part, *names):
            return found
    return None


def milliseconds(parent: Object, *names: str) -> int:
    """Of a figure in seconds, rounded half up; 0 where it is absent. Raises Unreadable."""
    for name in names:
        value = parent.get(name)
        if value is None:
            continue
        seconds = _decimal(value)
        if seconds is None or not 0 <= seconds * 1000 <= MAX_MS:
            raise Unreadable(f"{name} is no number of seconds: {value!r:.80}")
        return int(seconds * 1000 + Decimal("0.5"))
    return 0


def pico(value: object) -> int | None:
    """Pico-USD of a figure in USD, as JSON gave it; None: no amount. Finer parts are rounded.

    SDKs have read it as a double by then. Its shortest text is the literal that the provider sent,
    up to 15 digits, and from there on it is decimal.
    """
    usd = _decimal(value)
    if usd is None or not 0 <= usd < 1_000_000:
        return None
    return int((usd * PICO_PER_USD).to_integral_value())


def numbers(usage: Object) -> dict[str, int]:
    """The whole numbers of a block, by dotted path: what is kept where it contradicts itself."""
    return {path: value for path, value in _walk(usage, "") if 0 <= value <= MAX_COUNT}


def _walk(value: Any, path: str) -> Iterator[tuple[str, int]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _walk(item, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _walk(item, f"{path}.{position}")
    elif (whole := _whole(value)) is not None:
        yield path, whole


def _whole(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return None


def _decimal(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None

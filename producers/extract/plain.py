"""Whatever a caller holds of a response, as plain JSON objects: SDK objects, dicts, raw JSON, SSE.

Nothing here knows a provider. What cannot be read raises Unreadable with the reason.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Any, Final

from pydantic import BaseModel

Object = Mapping[str, Any]

_MAX_DEPTH: Final = 64
_SCALARS: Final = frozenset({float, int, str, bool, type(None)})
_DONE: Final = "[DONE]"  # ends an OpenAI-style event stream


class Unreadable(ValueError):
    """There is no usage that could be trusted; the text says what is wrong with which field."""


def parts_of(payload: object) -> tuple[list[Object], bool]:
    """The JSON objects of a payload, in order, and whether it is a stream of several.

    A response is one object. A stream is a sequence of chunks, the text of server-sent events, or
    one JSON object a line. Chunks that are no objects are left out (`[DONE]`, pings).
    """
    if isinstance(payload, bytes | bytearray | memoryview):
        try:
            payload = bytes(payload).decode()
        except UnicodeDecodeError as error:
            raise Unreadable(f"the payload is not UTF-8: {error}") from None
    value = _parsed(payload) if isinstance(payload, str) else _chunks(payload)
    if isinstance(value, list):
        return [item for chunk in value for item in _objects(_chunk(chunk))], True
    plain = value if isinstance(payload, str) else _plain(value, 0)
    if isinstance(plain, list):  # an object that is a sequence of its own kind
        return _objects(plain), True
    if not isinstance(plain, Mapping):
        raise Unreadable(f"the payload is no JSON object but {type(plain).__name__}")
    return [plain], False


def _chunks(payload: object) -> object:
    """A list where the payload is several chunks, else the payload."""
    if isinstance(payload, Mapping) or _dump(payload) is not None:
        return payload
    return list(payload) if isinstance(payload, Iterable) else payload


def _objects(value: object) -> list[Object]:
    """The object, or the objects of a list: a chunk of text may hold several lines."""
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, Mapping)]


def _chunk(chunk: object) -> object:
    if isinstance(chunk, bytes | bytearray):
        chunk = bytes(chunk).decode(errors="replace")
    if not isinstance(chunk, str):
        return _plain(chunk, 0)
    try:
        return _parsed(chunk)
    except Unreadable:  # half a line of a stream that was cut off
        return None


def _parsed(text: str) -> object:
    """JSON, one JSON object a line, or server-sent events."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        pass
    else:
        # what JSON has made is plain, and needs only its depth checked, if it could be too deep
        deep = text.count("{") + text.count("[") > _MAX_DEPTH
        return _plain(value, 0) if deep else value
    lines = [_data(line) for line in text.splitlines()]
    found = []
    for line in lines:
        if not line or line == _DONE:
            continue
        try:
            found.append(json.loads(line))
        except (ValueError, RecursionError):
            continue
    if not found:
        raise Unreadable("the payload is neither JSON nor a stream of JSON objects")
    return _plain(found, 0)


def _data(line: str) -> str:
    """The data of a line of server-sent events, or the line."""
    line = line.strip()
    return line.removeprefix("data:").strip() if line.startswith("data:") else line


def _dump(value: object) -> Any:
    """The method by which an SDK's object becomes plain, if it has one."""
    if isinstance(value, type):
        return None
    for name in ("model_dump", "to_dict"):
        method = getattr(value, name, None)
        if callable(method):
            return method
    return None


def _plain(value: object, depth: int) -> Any:
    if type(value) in _SCALARS:
        return value
    if depth > _MAX_DEPTH:
        raise Unreadable(f"the payload is nested more than {_MAX_DEPTH} deep")
    if isinstance(value, BaseModel):
        return _dumped(value.model_dump, depth + 1)
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        if _SCALARS.issuperset(map(type, value)):
            return list(value)  # an embedding's thousands of numbers
        return [_plain(item, depth + 1) for item in value]
    if (dump := _dump(value)) is not None:
        return _dumped(dump, depth + 1)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _plain(getattr(value, field.name, None), depth + 1)
            for field in dataclasses.fields(value)
        }
    if isinstance(value, bytes | bytearray):
        return _bytes(bytes(value), depth)
    if (message := _protobuf(value)) is not None:
        return {field.name: _plain(item, depth + 1) for field, item in message.ListFields()}
    fields = getattr(value, "__dict__", None)
    if isinstance(fields, dict) and fields:
        return {
            name: _plain(item, depth + 1)
            for name, item in fields.items()
            if not name.startswith("_")
        }
    if isinstance(value, Iterable) and not isinstance(value, Iterator):  # protobuf's repeated
        return [_plain(item, depth + 1) for item in value]
    return None  # time stamps and the like: no count is in them


def _bytes(value: bytes, depth: int) -> Any:
    """The JSON in it, as Bedrock's event streams have it; else it is audio or the like."""
    if not value.startswith(b"{"):
        return None
    try:
        return _plain(json.loads(value), depth + 1)
    except (ValueError, RecursionError):
        return None


def _protobuf(value: object) -> Any:
    """A protobuf message, or the one that xAI's SDK keeps behind `proto`."""
    for message in (value, getattr(value, "proto", None)):
        if callable(getattr(message, "ListFields", None)):
            return message
    return None


def _dumped(dump: Any, depth: int) -> Any:
    """By the names of the wire; with the SDK's own fields only where it takes no options."""
    try:
        # a null that was sent is kept: it may say that usage is still to come
        return dump(mode="json", by_alias=True, exclude_unset=True, warnings=False)
    except (TypeError, ValueError, RecursionError):  # no pydantic, or it holds what JSON has not
        pass
    for options in (
        {"by_alias": True, "exclude_unset": True, "warnings": False},
        {"by_alias": True, "exclude_unset": True},
        {},
    ):
        try:
            return _plain(dump(**options), depth)
        except TypeError:
            continue
    raise Unreadable(f"{dump!r} takes none of the options that are known")

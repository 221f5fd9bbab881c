"""A record's bytes in the JSON of dead letters and forwarded events, to come out as they went in.

Key, value and headers' values are base64. A header's name stands as it is, but for `%` and what is
no UTF-8: these bytes are percent-encoded, so that `urllib.parse.unquote_to_bytes` gives the bytes
of any name back. (Such a byte is a lone surrogate in the core, which JSON cannot hold.)
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from spendstream.schemas.records import Header
from spendstream.streams.core.envelope import Headers
from spendstream.streams.core.structs import struct_of

_HeaderStruct: Final[Any] = struct_of(Header)


def base64_or_none(data: bytes | None) -> str | None:
    return None if data is None else b64encode(data).decode()


def bytes_or_none(text: str | None) -> bytes | None:
    """Raises ValueError where the text is no base64."""
    return None if text is None else b64decode(text, validate=True)


def headers_to_json(headers: Headers) -> tuple[Any, ...]:
    return tuple(
        _HeaderStruct(name=_percent_encoded(name), value_base64=base64_or_none(value))
        for name, value in headers
    )


def headers_from_json(headers: Iterable[Any]) -> Headers:
    """What `headers_to_json` was given. Raises ValueError where a value is no base64."""
    return tuple(
        (
            unquote_to_bytes(header.name).decode(errors="surrogateescape"),
            bytes_or_none(header.value_base64),
        )
        for header in headers
    )


def _percent_encoded(name: str) -> str:
    if name.isascii() and "%" not in name:
        return name
    return "".join(
        f"%{ord(c) & 0xFF:02X}" if c == "%" or "\udc80" <= c <= "\udcff" else c for c in name
    )

"""CloudEvents attributes of a record: binary mode from its headers, structured mode from its value.

Source: CloudEvents 1.0, Kafka protocol binding. Attributes we do not use are allowed and ignored,
as the specification demands of extensions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, NoReturn

import msgspec

from spendstream.schemas.event import (
    CONTENT_TYPE,
    EVENT_TYPE,
    MAX_ID,
    SPEC_VERSION,
    STRUCTURED_CONTENT_TYPE,
)
from spendstream.schemas.parse import check_json
from spendstream.schemas.period import to_ms
from spendstream.schemas.reasons import InvalidEvent, Reason

Headers = Sequence[tuple[str, bytes | None]]
"""Names are UTF-8, says Kafka's protocol, and nobody checks it: producers send any bytes, brokers
store them. A byte that is no UTF-8 is a lone surrogate here (`surrogateescape`, PEP 383)."""

Envelope = tuple[str, str, int, bytes]
"""(event id, source, end of the call in milliseconds since 1970, JSON of the event). A plain tuple:
a named one costs a fifth of the parsing."""


_RFC3339: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")

# Events of one second share their first 19 characters, so most time stamps are a look-up
_seconds: dict[bytes, int] = {}
_MAX_SECONDS: Final = 100_000


def envelope(headers: Headers, value: bytes) -> Envelope:
    """Attributes and data of a record.

    Raises:
        InvalidEvent: an attribute is missing, malformed, or not ours.
    """
    attributes = dict(headers)
    if len(headers) > _OURS:
        _check_names(attributes)
    try:
        # What our own emitter sends, in as few steps as there are checks
        time = attributes["ce_time"]
        if (
            attributes["content-type"] == b"application/json"
            and attributes["ce_type"] == _TYPE
            and attributes["ce_specversion"] == b"1.0"
            and (base := _seconds.get(time[:19])) is not None  # type: ignore[index]
            and len(time) == 24  # type: ignore[arg-type]
            and time[20:23].isdigit()  # type: ignore[index]
            and time[19::4] == b".Z"  # type: ignore[index]
        ):
            event_id = attributes["ce_id"].decode()  # type: ignore[union-attr]
            source = attributes["ce_source"].decode()  # type: ignore[union-attr]
            if (
                0 < len(event_id) <= MAX_ID
                and 0 < len(source) <= MAX_ID
                and event_id.isprintable()
                and source.isprintable()
            ):
                return event_id, source, base + int(time[20:23]), value  # type: ignore[index]
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError):
        pass  # something is missing or malformed: below it gets its name
    return _named(attributes, value)


def _named(attributes: dict[str, bytes | None], value: bytes) -> Envelope:
    """The same, one attribute after the other, with an error for each."""
    _check_names(attributes)
    content_type = attributes.get("content-type")
    if content_type is not None and content_type != b"application/json":
        media_type = content_type.decode("latin-1").split(";")[0].strip().lower()
        if media_type == STRUCTURED_CONTENT_TYPE:
            return _structured(value)
        if media_type != CONTENT_TYPE:
            raise InvalidEvent(
                Reason.UNSUPPORTED_CONTENT_TYPE, f"content-type: {media_type!r:.100} is not JSON"
            )
    if attributes.get("ce_specversion") != b"1.0" or attributes.get("ce_type") != _TYPE:
        _check_kind(_text(attributes, "ce_specversion"), _text(attributes, "ce_type"))
    time = attributes.get("ce_time")
    return (
        _identifier("ce_id", _text(attributes, "ce_id")),
        _identifier("ce_source", _text(attributes, "ce_source")),
        rfc3339_ms(time) if time is not None else _missing("ce_time"),
        value,
    )


_TYPE: Final = EVENT_TYPE.encode()
_OURS: Final = 6
"""Headers that our own emitter sends: where these are found and no more, all names are known."""


def _check_names(names: Iterable[str]) -> None:
    if "".join(names).isascii():
        return
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raw = name.encode(errors="surrogateescape")
            raise InvalidEvent(
                Reason.INVALID_HEADER, f"{raw[:40]!r}: a header's name that is not UTF-8"
            ) from None


_MAX_DROPPED: Final = 2**31 - 1  # an integer of CloudEvents has 32 bits


def dropped_before(headers: Headers) -> int:
    """How many events the emitter says it has dropped since its last report (extension attribute
    `ce_dropped`); 0 where it says nothing, or nothing that is a number."""
    for name, value in headers:
        if name == "ce_dropped" and value is not None and len(value) <= 10 and value.isdigit():
            return min(int(value), _MAX_DROPPED)
    return 0


def rfc3339_ms(text: bytes) -> int:
    """Milliseconds since 1970 of an RFC 3339 time stamp, rounded down. Raises InvalidEvent."""
    if len(text) == 24 and text.endswith(b"Z") and text[19:20] == b".":
        base = _seconds.get(text[:19])
        if base is not None and text[20:23].isdigit():
            return base + int(text[20:23])
    try:
        written = text.decode("ascii")
        if not _RFC3339.fullmatch(written):
            raise ValueError("RFC 3339 with an offset is expected")
        fraction = re.search(r"\.(\d+)", written)
        whole = written.replace(fraction.group(), "") if fraction else written
        # as UTC: an offset may carry the last day of year 9999 past what a datetime holds
        base = to_ms(datetime.fromisoformat(whole.upper()).astimezone(UTC))
    except (ValueError, OverflowError) as error:
        raise InvalidEvent(Reason.INVALID_TIME, f"ce_time: {text[:40]!r}: {error}") from None
    if base < 0:
        raise InvalidEvent(Reason.INVALID_TIME, f"ce_time: {written} is before 1970")
    if written.endswith("Z"):
        if len(_seconds) >= _MAX_SECONDS:
            _seconds.clear()
        _seconds[text[:19]] = base
    return base + (int(fraction.group(1)[:3].ljust(3, "0")) if fraction else 0)


class _StructuredEvent(msgspec.Struct, gc=False):
    """The attributes that we use of a structured event; extensions are ignored."""

    data: msgspec.Raw = msgspec.Raw(b"")


_structured_decoder = msgspec.json.Decoder(_StructuredEvent)


def _structured(value: bytes) -> Envelope:
    attributes = check_json(value)
    for name in ("specversion", "type", "id", "source", "time"):
        if name not in attributes:
            _missing(name)
        if not isinstance(attributes[name], str):
            raise InvalidEvent(Reason.INVALID_HEADER, f"{name}: a string is expected")
    _check_kind(attributes["specversion"], attributes["type"])
    if attributes.get("datacontenttype", CONTENT_TYPE) != CONTENT_TYPE:
        raise InvalidEvent(Reason.UNSUPPORTED_CONTENT_TYPE, f"datacontenttype: not {CONTENT_TYPE}")
    if not isinstance(attributes.get("data"), dict):
        raise InvalidEvent(Reason.MISSING_FIELD, "data: a JSON object is expected")
    try:
        data = bytes(_structured_decoder.decode(value).data)
        source = attributes["source"].encode().decode()
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise InvalidEvent(Reason.INVALID_JSON, str(error)) from None
    return (
        _identifier("id", attributes["id"]),
        _identifier("source", source),
        rfc3339_ms(attributes["time"].encode("ascii", "replace")),
        data,
    )


def _check_kind(specversion: str, event_type: str) -> None:
    if specversion != SPEC_VERSION:
        raise InvalidEvent(
            Reason.UNSUPPORTED_TYPE, f"specversion: {specversion!r:.40} is not {SPEC_VERSION}"
        )
    if event_type != EVENT_TYPE:
        raise InvalidEvent(Reason.UNSUPPORTED_TYPE, f"type: {event_type!r:.80} is not {EVENT_TYPE}")


def _text(attributes: dict[str, bytes | None], name: str) -> str:
    value = attributes.get(name)
    try:
        return value.decode() if value is not None else _missing(name)
    except UnicodeDecodeError:
        raise InvalidEvent(Reason.INVALID_HEADER, f"{name}: not UTF-8") from None


def _identifier(name: str, value: str) -> str:
    if not value or len(value) > MAX_ID:
        raise InvalidEvent(
            Reason.INVALID_HEADER,
            f"{name}: 1 to {MAX_ID} characters are expected, got {len(value)}",
        )
    if not value.isprintable() and _CONTROL.search(value):
        raise InvalidEvent(Reason.CONTROL_CHARACTER, f"{name}: holds a control character")
    return value


def _missing(name: str) -> NoReturn:
    raise InvalidEvent(Reason.MISSING_HEADER, f"{name} is required")

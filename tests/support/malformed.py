"""Records that must be refused: one of each kind, with the reason that must be given.

`base` is a call that would be accepted; each kind spoils it in one way. Strings in `HOSTILE` are
names like any other and must be accepted.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from tests.support.records import Call, Headers, rfc3339

DAY = 86_400_000
HOUR = 3_600_000

HOSTILE = (
    "'; DROP TABLE usage_raw; --",
    '" OR 1=1 --',
    "{{7*7}}${7*7}#{7*7}",
    "<script>alert(1)</script>",
    "../../etc/passwd",
    "%00%0d%0a",
    "\\'\\\"\\",
    "=cmd|' /C calc'!A0",
    '["","checkpoint"]',
    "Robert`); {} \u202e \ufeff \u2028 𝔘𝔫𝔦",
    "NULL",
    "\\N",
    "[/red]",
    "[bold]name[/bold]",
    "ws:smile:",
)


class Malformed(NamedTuple):
    """A record to send, and the reason code its dead letter must carry."""

    name: str
    reason: str
    key: bytes | None
    value: bytes | None
    headers: Headers


def kinds(base: Call) -> list[Malformed]:
    """One of each."""
    return [*_headers(base), *_times(base), *_bytes(base), *_fields(base), *_structured(base)]


def _of(
    base: Call, name: str, reason: str, value: bytes | None, **headers: bytes | None
) -> Malformed:
    return Malformed(name, reason, base.workspace_id.encode(), value, base.headers(**headers))


def _headers(base: Call) -> list[Malformed]:
    good = base.value()

    def bad(name: str, reason: str, **headers: bytes | None) -> Malformed:
        return _of(base, name, reason, good, **headers)

    return [
        bad("no id", "missing_header", ce_id=None),
        bad("no time", "missing_header", ce_time=None),
        bad("no source", "missing_header", ce_source=None),
        bad("no specversion", "missing_header", ce_specversion=None),
        bad("no type", "missing_header", ce_type=None),
        bad("empty id", "invalid_header", ce_id=b""),
        bad("long id", "invalid_header", ce_id=b"x" * 257),
        bad("id not UTF-8", "invalid_header", ce_id=b"\xff\xfe"),
        bad("control character in id", "control_character", ce_id=b"a\x00b"),
        bad("DEL in source", "control_character", ce_source=b"a\x7f"),
        bad("another type", "unsupported_type", ce_type=b"com.example.other"),
        bad("another specversion", "unsupported_type", ce_specversion=b"0.3"),
        bad("type not UTF-8", "invalid_header", ce_type=b"\xc3\x28"),
        bad("not JSON by its content type", "unsupported_content_type", content_type=b"text/html"),
        Malformed(
            "a header's name is not UTF-8",
            "invalid_header",
            b"ws",
            good,
            [*base.headers(), ("caf\udce9 100%", b"\xff")],
        ),
        Malformed(
            "a header's name is not UTF-8, in place of another",
            "invalid_header",
            b"ws",
            good,
            [*base.headers(content_type=None), ("\udcff", None)],
        ),
        Malformed("no headers at all", "missing_header", b"ws", good, []),
        Malformed("no key, no headers", "missing_header", None, good, []),
        Malformed("a null header", "missing_header", b"ws", good, [("ce_id", None)]),
    ]


def _times(base: Call) -> list[Malformed]:
    good = base.value()

    def at(name: str, reason: str, time: bytes) -> Malformed:
        return _of(base, name, reason, good, ce_time=time)

    return [
        at("not a time", "invalid_time", b"yesterday"),
        at("time without an offset", "invalid_time", b"2026-11-22T10:00:00"),
        at("time in seconds", "invalid_time", b"1795348800"),
        at("30th of February", "invalid_time", b"2026-02-30T10:00:00Z"),
        at("time not ASCII", "invalid_time", "２026-11-22T10:00:00Z".encode()),
        at("before 1970", "invalid_time", b"1969-12-31T23:59:59.999Z"),
        at("past year 9999", "invalid_time", b"9999-12-31T23:59:59-23:59"),
        at("before year 1", "invalid_time", b"0001-01-01T00:00:00+23:59"),
        at("in the future", "in_the_future", rfc3339(base.time_ms + 2 * HOUR).encode()),
        at("far in the future", "in_the_future", b"9999-12-31T23:59:59.999Z"),
        at("too old", "too_old", rfc3339(base.time_ms - 36 * DAY).encode()),
        at("1970", "too_old", b"1970-01-01T00:00:00Z"),
    ]


def _bytes(base: Call) -> list[Malformed]:
    good = base.value()
    value = base.data()

    def bad(name: str, reason: str, data: bytes | None) -> Malformed:
        return _of(base, name, reason, data)

    def spoilt(old: bytes, new: bytes) -> bytes:
        assert old in good
        return good.replace(old, new, 1)

    tokens = b'"input_tokens":%d' % (base.input_tokens or 0)
    deep = b"[" * 60_000
    metadata = json.dumps(value | {"metadata": "?"}, separators=(",", ":")).encode()
    return [
        bad("tombstone", "tombstone", None),
        bad("empty", "invalid_json", b""),
        bad("white space", "invalid_json", b"  \n"),
        bad("truncated", "invalid_json", good[:-7]),
        bad("trailing bytes", "invalid_json", good + b"}"),
        bad("trailing NUL", "invalid_json", good + b"\x00"),
        bad("two documents", "invalid_json", good + good),
        bad("byte order mark", "invalid_json", b"\xef\xbb\xbf" + good),
        bad("UTF-16", "invalid_utf8", good.decode().encode("utf-16")),
        bad("latin-1", "invalid_utf8", spoilt(b'"gpt-4o"', b'"gpt-\xe94o"')),
        bad("overlong UTF-8", "invalid_utf8", spoilt(b'"gpt-4o"', b'"gpt\xc0\xaf"')),
        bad("encoded surrogate", "invalid_utf8", spoilt(b'"gpt-4o"', b'"\xed\xa0\x80"')),
        bad("lone surrogate", "invalid_json", spoilt(b'"gpt-4o"', b'"\\ud800"')),
        bad("random bytes", "invalid_utf8", bytes(range(128, 256))),
        bad("gzip", "invalid_utf8", b"\x1f\x8b\x08\x00\x00\x00\x00\x00"),
        bad("an array", "not_an_object", b"[" + good + b"]"),
        bad("a string", "not_an_object", json.dumps(good.decode()).encode()),
        bad("a number", "not_an_object", b"28"),
        bad("null", "not_an_object", b"null"),
        bad("NaN", "invalid_json", spoilt(tokens, b'"input_tokens":NaN')),
        bad("Infinity", "invalid_json", spoilt(tokens, b'"input_tokens":-Infinity')),
        bad("leading zero", "invalid_json", spoilt(tokens, b'"input_tokens":007')),
        bad("hexadecimal", "invalid_json", spoilt(tokens, b'"input_tokens":0x10')),
        bad("single quotes", "invalid_json", good.replace(b'"', b"'")),
        bad("comment", "invalid_json", b"/* */" + good),
        bad("trailing comma", "invalid_json", good[:-1] + b",}"),
        bad("raw control character", "invalid_json", spoilt(b'"gpt-4o"', b'"gpt\x01"')),
        bad("duplicate key", "duplicate_key", good[:-1] + b',"provider":"openai"}'),
        bad("duplicate key, escaped", "duplicate_key", good[:-1] + b',"\\u0070rovider":"x"}'),
        bad("duplicate key, nested", "duplicate_key", spoilt(tokens, tokens + b"," + tokens)),
        bad(
            "duplicate key in metadata",
            "duplicate_key",
            metadata.replace(b'"?"', b'{"a":{"b":1,"b":2}}'),
        ),
        bad("deep nesting", "too_deep", deep),
        bad(
            "deep metadata",
            "too_deep",
            metadata.replace(b'"?"', b'{"a":' + b"[" * 9 + b"]" * 9 + b"}"),
        ),
        bad("too large", "too_large", json.dumps(value | {"x": "y" * 70_000}).encode()),
        bad("huge number", "out_of_range", spoilt(tokens, b'"input_tokens":' + b"9" * 5_000)),
    ]


def _fields(base: Call) -> list[Malformed]:
    def with_(name: str, reason: str, **more: Any) -> Malformed:
        data = {k: v for k, v in (base.data() | more).items() if v is not ...}
        return _of(base, name, reason, json.dumps(data).encode())

    def used(name: str, reason: str, **usage: Any) -> Malformed:
        return with_(name, reason, usage=base.data()["usage"] | usage)

    return [
        used("negative count", "out_of_range", input_tokens=-1),
        used("count above a billion", "out_of_range", output_tokens=10**9 + 1),
        used("2^63", "out_of_range", input_tokens=2**63),
        used("2^64", "out_of_range", input_tokens=2**64),
        used("10^100", "out_of_range", input_tokens=10**100),
        used("float count", "wrong_type", input_tokens=28.5),
        used("string count", "wrong_type", input_tokens="28"),
        used("bool count", "wrong_type", input_tokens=True),
        used("null count", "wrong_type", input_tokens=None),
        used("array count", "wrong_type", input_tokens=[1]),
        used("unknown usage field", "unknown_field", prompt_tokens=1),
        used("cached above input", "subset_exceeds_total", cache_read_input_tokens=10**6),
        used("reasoning above output", "subset_exceeds_total", reasoning_output_tokens=10**6),
        with_("unknown field", "unknown_field", prompt="tell me a secret"),
        with_("no workspace", "missing_field", workspace_id=...),
        with_("null workspace", "wrong_type", workspace_id=None),
        with_("number for a workspace", "wrong_type", workspace_id=7),
        with_("empty workspace", "invalid_value", workspace_id=""),
        with_("long workspace", "too_long", workspace_id="w" * 129),
        with_("huge workspace", "too_long", workspace_id="w" * 60_000),
        with_("newline in workspace", "control_character", workspace_id="a\nb"),
        with_("NUL in user", "control_character", user_id="a\x00"),
        with_("DEL in model", "control_character", response_model="gpt\x7f"),
        with_("no provider", "missing_field", provider=...),
        with_("no model", "missing_field", response_model=...),
        with_("unknown status", "invalid_value", status="maybe"),
        with_("blocked with usage", "invalid_value", status="blocked"),
        with_("conflicting without figures", "invalid_value", usage_quality="conflicting"),
        with_("float cost", "wrong_type", reported_cost_pico=1.5),
        with_("negative cost", "invalid_value", reported_cost_pico="-1"),
        with_("usage is a list", "wrong_type", usage=[]),
        with_("too many tags", "too_long", tags={f"t{i}": "x" for i in range(33)}),
        with_("number for a tag", "wrong_type", tags={"a": 1}),
        with_("large metadata", "too_long", metadata={"a": "x" * 8_200}),
        with_("started in microseconds", "out_of_range", started_at_ms=base.time_ms * 1000),
        with_("negative duration", "out_of_range", duration_ms=-1),
        with_("batch is a number", "wrong_type", batch=1),
    ]


def _structured(base: Call) -> list[Malformed]:
    whole: dict[str, Any] = {
        "specversion": "1.0",
        "type": "spendstream.usage.v1",
        "id": base.id,
        "source": "tests",
        "time": rfc3339(base.time_ms),
        "data": base.data(),
    }
    headers = [("content-type", b"application/cloudevents+json")]

    def bad(name: str, reason: str, **changed: Any) -> Malformed:
        event = {k: v for k, v in (whole | changed).items() if v is not ...}
        value = json.dumps(event).encode()
        return Malformed(f"structured: {name}", reason, base.workspace_id.encode(), value, headers)

    return [
        bad("no id", "missing_header", id=...),
        bad("number for an id", "invalid_header", id=7),
        bad("surrogate in id", "invalid_json", id="\ud800"),
        bad("no data", "missing_field", data=...),
        bad("data is a string", "missing_field", data="{}"),
        bad("data in base64", "missing_field", data=..., data_base64="e30="),
        bad("bad data", "wrong_type", data=base.data() | {"workspace_id": 7}),
        bad("another type", "unsupported_type", type="x"),
        bad("data is XML", "unsupported_content_type", datacontenttype="application/xml"),
    ]


def structured(call: Call) -> tuple[bytes, bytes, Headers]:
    """A good event in structured mode, with an extension that is to be ignored."""
    event = {
        "specversion": "1.0",
        "type": "spendstream.usage.v1",
        "id": call.id,
        "source": "tests",
        "time": rfc3339(call.time_ms),
        "traceparent": "00-1-2-03",
        "data": call.data(),
    }
    headers = [("content-type", b"application/cloudevents+json; charset=utf-8")]
    return call.workspace_id.encode(), json.dumps(event).encode(), headers

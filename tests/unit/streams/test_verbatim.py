"""A record's bytes come out of dead letters and forwarded events as they went in."""

from __future__ import annotations

import json
from base64 import b64decode
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.schemas.topics import USAGE_DEAD, USAGE_EVENTS
from spendstream.streams.core.outputs import encode
from spendstream.streams.core.verbatim import headers_from_json, headers_to_json
from tests.support.core import Driver
from tests.support.records import NOON, Call, Headers

BAD = b"caf\xe9 100%"
NAMES = st.one_of(
    st.binary(max_size=12), st.text(max_size=12).map(lambda text: text.encode(errors="replace"))
)


def read_name(raw: bytes) -> str:
    """As the transport reads it."""
    return raw.decode(errors="surrogateescape")


@given(st.lists(st.tuples(NAMES, st.none() | st.binary(max_size=5)), max_size=5))
def test_any_names_bytes_can_be_had_back(raw: list[tuple[bytes, bytes | None]]) -> None:
    headers: Headers = tuple((read_name(name), value) for name, value in raw)
    shown = headers_to_json(headers)
    assert headers_from_json(shown) == headers
    written = json.loads(encode(shown))
    assert [unquote_to_bytes(header["name"]) for header in written] == [name for name, _ in raw]


@pytest.mark.parametrize("name", ["ce_id", "é", "x-𝔘\x00\n\\", ""])
def test_names_that_are_text_stand_as_they_are(name: str) -> None:
    (header,) = headers_to_json([(name, None)])
    assert header.name == name


@pytest.mark.parametrize("left_out", [(), ("content-type",), ("ce_id",)], ids=str)
@pytest.mark.parametrize("structured", [False, True])
def test_a_name_that_is_no_utf8_is_refused_and_kept(
    left_out: tuple[str, ...], structured: bool
) -> None:
    call = Call("e1", NOON)
    headers = [(name, value) for name, value in call.headers() if name not in left_out]
    if structured:
        headers = [("content-type", b"application/cloudevents+json")]
    headers.append((read_name(BAD), b"\xff"))
    driver = Driver().run([call.record(7)._replace(headers=headers)])
    (letter,) = driver.decoded(USAGE_DEAD)
    assert (letter["reason"], letter["offset"]) == ("invalid_header", 7)
    assert letter["detail"] == "b'caf\\xe9 100%': a header's name that is not UTF-8"
    last = letter["headers"][-1]
    assert (last["name"], b64decode(last["value_base64"])) == ("caf%E9 100%25", b"\xff")
    assert unquote_to_bytes(last["name"]) == BAD
    assert driver.state.checkpoint.outcomes[USAGE_EVENTS]["dead"] == 1


def test_it_is_kept_also_where_something_else_is_wrong() -> None:
    record = Call("e1", NOON).record()._replace(value=None, headers=[(read_name(BAD), None)])
    (letter,) = Driver().run([record]).decoded(USAGE_DEAD)
    assert (letter["reason"], letter["headers"][0]["name"]) == ("tombstone", "caf%E9 100%25")


def test_headers_of_others_are_no_reason_to_refuse() -> None:
    call = Call("e1", NOON)
    headers = [*call.headers(), ("é", b"1"), ("traceparent", b"00"), ("100%", None)]
    driver = Driver().run([call.record()._replace(headers=headers)])
    assert driver.state.checkpoint.outcomes[USAGE_EVENTS]["priced"] == 1

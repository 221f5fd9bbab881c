"""The fast decoder against the reference parser: the same verdict, value and normal form."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from spendstream.schemas import InvalidEvent, UsageEvent
from spendstream.schemas.parse import parse_event
from spendstream.streams.core.decode import decode_event
from tests.support.malformed import HOSTILE, kinds
from tests.support.records import NOON, Call

PLAIN = Call("e", NOON).value()


def same(data: bytes) -> bool:
    """Whether both accept; fails where they disagree on anything."""
    try:
        expected: UsageEvent | InvalidEvent = parse_event(data)
    except InvalidEvent as error:
        expected = error
    if isinstance(expected, InvalidEvent):
        with pytest.raises(InvalidEvent) as refused:
            decode_event(data)
        assert refused.value.reason == expected.reason
        return False
    event, normal = decode_event(data)
    reference = expected.model_dump_json(exclude_defaults=True).encode()
    assert json.loads(normal) == json.loads(reference)
    assert msgspec.json.decode(normal) == msgspec.json.decode(reference)
    for name in UsageEvent.model_fields:
        if name != "metadata":
            assert plain(getattr(event, name)) == plain(getattr(expected, name))
    # the normal form is a fixed point, and so are its value and verdict
    assert decode_event(normal)[1] == normal
    assert parse_event(normal) == expected
    return True


def plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return msgspec.to_builtins({name: getattr(value, name) for name in value.__struct_fields__})
    return value.model_dump() if hasattr(value, "model_dump") else value


def with_tokens(text: str) -> bytes:
    return PLAIN.replace(b'"input_tokens":1000', b'"input_tokens":' + text.encode())


NUMBERS = {
    "28": True, "28.0": None, "1e2": None, "-0": True, "-0.0": None, "0": True, "1E+2": None,
    '"28"': False, "true": False, "null": False, "-1": False, "1000000000": True,
    "1000000001": False, "9223372036854775807": False, "9223372036854775808": False,
    "18446744073709551616": False, "1e400": False, "0.5": False, "01": False, "+1": False,
    "NaN": False, "[]": False, "1_000": False, ".5": False, "5.": False,
}  # fmt: skip


@pytest.mark.parametrize(("text", "accepted"), NUMBERS.items())
def test_numbers(text: str, accepted: bool | None) -> None:
    verdict = same(with_tokens(text))
    assert accepted is None or verdict is accepted


ODD = {
    "as the emitter writes it": (PLAIN, True),
    "white space": (json.dumps(json.loads(PLAIN), indent=2).encode(), True),
    "trailing new line": (PLAIN + b"\n", True),
    "another order": (json.dumps(dict(reversed(json.loads(PLAIN).items()))).encode(), True),
    "defaults written out": (PLAIN[:-1] + b',"status":"ok","tags":{},"batch":false}', True),
    "nulls written out": (PLAIN[:-1] + b',"user_id":null,"metadata":null}', True),
    "escaped solidus": (PLAIN.replace(b"gpt-4o", b"a\\/b"), True),
    "escaped letter": (PLAIN.replace(b"gpt-4o", b"\\u0067pt-4o"), True),
    "escaped key": (PLAIN.replace(b'"provider"', b'"\\u0070rovider"'), True),
    "surrogate pair": (PLAIN.replace(b"gpt-4o", b"\\ud83d\\ude00"), True),
    "emoji": (PLAIN.replace(b"gpt-4o", "😀".encode()), True),
    "C1 control character": (PLAIN.replace(b"gpt-4o", "a\x85b".encode()), True),
    "escaped NUL": (PLAIN.replace(b"gpt-4o", b"a\\u0000"), False),
    "escaped DEL": (PLAIN.replace(b"gpt-4o", b"a\\u007f"), False),
    "DEL": (PLAIN.replace(b"gpt-4o", b"a\x7f"), False),
    "DEL in a tag's name": (PLAIN[:-1] + b',"tags":{"a\x7f":"b"}}', False),
    "new line in metadata's value": (PLAIN[:-1] + b',"metadata":{"a":"b\\nc"}}', True),
    "new line in metadata's key": (PLAIN[:-1] + b',"metadata":{"a\\n":"b"}}', False),
    "metadata is empty": (PLAIN[:-1] + b',"metadata":{}}', True),
    "metadata is a list": (PLAIN[:-1] + b',"metadata":[]}', False),
    "metadata with numbers": (
        PLAIN[:-1] + b',"metadata":{"a":[-0.0,1e22,1.0,123456789012345678901234567890,5e-324]}}',
        True,
    ),
    "metadata beyond a double": (PLAIN[:-1] + b',"metadata":{"a":1e999}}', False),
    "lone surrogate in metadata": (PLAIN[:-1] + b',"metadata":{"a":"\\udc00"}}', False),
    "lone surrogate in metadata's key": (PLAIN[:-1] + b',"metadata":{"\\udc00":1}}', False),
    "same key twice, same value": (PLAIN[:-1] + b',"provider":"openai"}', False),
    "same key twice, escaped": (PLAIN[:-1] + b',"\\u0070rovider":"openai"}', False),
    "same tag twice": (PLAIN[:-1] + b',"tags":{"a":"b","a":"b"}}', False),
    "same key twice in metadata": (PLAIN[:-1] + b',"metadata":{"x":[{"a":1,"\\u0061":1}]}}', False),
    "cost with a new line": (PLAIN[:-1] + b',"reported_cost_pico":"12\\n"}', False),
    "cost in other digits": (PLAIN[:-1] + ',"reported_cost_pico":"١٢"}'.encode(), False),
    "cost": (PLAIN[:-1] + b',"reported_cost_pico":"0012"}', True),
    "128 characters of four bytes": (
        Call("e", NOON, "😀" * 128).value(),
        True,
    ),
    "129 characters": (Call("e", NOON, "x" * 129).value(), False),
    "decomposed": (Call("e", NOON, "é").value(), True),
    "figures of the provider": (
        PLAIN[:-1] + b',"usage_quality":"conflicting","provider_usage":{"a":1,"b":0}}',
        True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_odd_but_decided(name: str) -> None:
    data, accepted = ODD[name]
    assert same(data) is accepted


def test_of_the_malformed_kinds_both_refuse_the_same() -> None:
    for kind in kinds(Call("e", NOON)):
        same(kind.value or b"")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_strings(text: str) -> None:
    assert same(Call("e", NOON, text, more={"metadata": {text: text}}).value())


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2**65),
    st.sampled_from([0, 1, 10**9, 10**9 + 1, 2**63, 1.0, 28.0, 0.5, 1e308]),
    st.text(max_size=5),
    st.sampled_from(["ok", "blocked", "conflicting", "openai", "12", "\x7f", "\x00", "x" * 257]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
USAGE = st.dictionaries(
    st.sampled_from(
        ["input_tokens", "output_tokens", "cache_read_input_tokens", "reasoning_output_tokens", "x"]
    ),
    st.integers(0, 5) | SCALARS,
)
EVENTS = st.fixed_dictionaries(
    {},
    optional={
        name: VALUES
        | {"usage": USAGE, "metadata": st.dictionaries(st.text(max_size=3), VALUES)}.get(
            name, VALUES
        )
        for name in [*UsageEvent.model_fields, "unknown"]
    },
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(EVENTS, st.booleans(), st.sampled_from([None, (",", ":")]))
def test_any_event(
    more: dict[str, Any], ascii_only: bool, separators: tuple[str, str] | None
) -> None:
    text = json.dumps(json.loads(PLAIN) | more, ensure_ascii=ascii_only, separators=separators)
    same(text.encode("utf-8", "surrogatepass"))


@given(st.integers(0, len(PLAIN)), st.integers(0, 12), st.binary(max_size=6))
@example(0, 0, b"\xef\xbb\xbf")
def test_any_damage(start: int, length: int, inserted: bytes) -> None:
    same(PLAIN[:start] + inserted + PLAIN[start + length :])

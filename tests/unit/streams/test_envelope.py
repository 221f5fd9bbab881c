"""Attributes of a record, by the short way and by the long one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.schemas import InvalidEvent, Reason
from spendstream.streams.core.envelope import envelope, rfc3339_ms
from tests.support.records import NOON, Call, rfc3339

CALL = Call("e1", NOON + 7)


def test_binary_mode() -> None:
    # twice: the second time its second is known
    for _ in range(2):
        assert envelope(CALL.headers(), b"data") == ("e1", "tests", NOON + 7, b"data")


def test_extensions_are_ignored() -> None:
    headers = [("ce_traceparent", b"\xff"), ("ce_partitionkey", None), *CALL.headers()]
    assert envelope(headers, b"")[0] == "e1"


@pytest.mark.parametrize(
    "content_type", [None, b"application/json", b"Application/JSON; charset=utf-8"]
)
def test_content_types_of_json(content_type: bytes | None) -> None:
    assert envelope(CALL.headers(content_type=content_type), b"")[0] == "e1"


@pytest.mark.parametrize(
    "content_type", [b"", b"text/plain", b"application/avro", b"\xff", b"json"]
)
def test_other_content_types(content_type: bytes) -> None:
    with pytest.raises(InvalidEvent) as refused:
        envelope(CALL.headers(content_type=content_type), b"")
    assert refused.value.reason is Reason.UNSUPPORTED_CONTENT_TYPE


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("2026-11-22T12:00:00Z", NOON),
        ("2026-11-22t12:00:00z", NOON),
        ("2026-11-22T12:00:00.5Z", NOON + 500),
        ("2026-11-22T12:00:00.123456789Z", NOON + 123),
        ("2026-11-22T12:00:00.999Z", NOON + 999),
        ("2026-11-22T14:30:00.001+02:30", NOON + 1),
        ("2026-11-22T11:00:00-01:00", NOON),
        ("1970-01-01T00:00:00.000Z", 0),
        ("1970-01-01T00:00:00-00:00", 0),
    ],
)
def test_times(text: str, time_ms: int) -> None:
    for _ in range(2):
        assert rfc3339_ms(text.encode()) == time_ms
        assert envelope(CALL.headers(ce_time=text.encode()), b"")[2] == time_ms


@given(
    st.datetimes(datetime(1970, 1, 2), datetime(2999, 1, 1)),
    st.integers(-23 * 60, 23 * 60),
    st.integers(0, 9),
)
def test_any_time(moment: datetime, offset: int, digits: int) -> None:
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=offset)))
    fraction = f"{moment.microsecond:06d}000"[:digits]
    sign, minutes = "-+"[offset >= 0], abs(offset)
    text = f"{moment:%Y-%m-%dT%H:%M:%S}{'.' * bool(digits)}{fraction}"
    text += f"{sign}{minutes // 60:02d}:{minutes % 60:02d}"
    whole = aware.replace(microsecond=0) - datetime(1970, 1, 1, tzinfo=UTC)
    ms = int(fraction[:3].ljust(3, "0"))
    assert rfc3339_ms(text.encode()) == whole // timedelta(milliseconds=1) + ms


@given(st.integers(0, 4_102_444_800_000), st.integers(0, 23), st.binary(min_size=1, max_size=1))
def test_a_known_second_lets_nothing_through(time_ms: int, place: int, byte: bytes) -> None:
    good = rfc3339(time_ms).encode()
    rfc3339_ms(good)  # now it is known
    spoilt = good[:place] + byte + good[place + 1 :]
    by_either: list[int | Reason] = []
    for read in (rfc3339_ms, lambda text: envelope(CALL.headers(ce_time=text), b"")[2]):
        try:
            by_either.append(read(spoilt))
        except InvalidEvent as error:
            by_either.append(error.reason)
    assert by_either[0] == by_either[1]
    try:
        expected: int | Reason = to_ms(spoilt)
    except ValueError:
        expected = Reason.INVALID_TIME
    assert by_either[0] == expected


def to_ms(text: bytes) -> int:
    """As the standard library reads it, where it has RFC 3339's shape."""
    written = text.decode("ascii")
    if "T" not in written.upper() or " " in written or written[-1] not in "zZ" or "," in written:
        raise ValueError(written)
    if not all(c.isdigit() for i, c in enumerate(written) if i not in (4, 7, 10, 13, 16, 19, 23)):
        raise ValueError(written)
    if written[19:20] not in (".", "Z", "z"):
        raise ValueError(written)  # the standard library takes a colon for a point
    moment = datetime.fromisoformat(written.upper())
    ms = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    if ms < 0:
        raise ValueError(written)
    return ms

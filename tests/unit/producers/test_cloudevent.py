"""The message that a service puts on Kafka."""

from __future__ import annotations

import json
import time

import pytest

from spendstream.producers import cloudevent
from spendstream.schemas import Usage, UsageEvent

EVENT = UsageEvent(
    provider="openai",
    request_model="gpt-4o",
    usage=Usage(input_tokens=10, output_tokens=2),
    workspace_id="ws-1",
)


def test_defaults_are_left_out_and_order_is_the_declaration() -> None:
    assert cloudevent.encode(EVENT) == (
        b'{"provider":"openai","request_model":"gpt-4o",'
        b'"usage":{"input_tokens":10,"output_tokens":2},"workspace_id":"ws-1"}'
    )


def test_what_is_left_out_comes_back() -> None:
    assert UsageEvent.model_validate_json(cloudevent.encode(EVENT)) == EVENT


def test_nulls_inside_metadata_are_the_callers() -> None:
    event = EVENT.model_copy(update={"metadata": {"a": None, "b": [None]}})
    assert json.loads(cloudevent.encode(event))["metadata"] == {"a": None, "b": [None]}


@pytest.mark.parametrize(
    ("time_ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_795_341_600_123, "2026-11-22T10:00:00.123Z"),
        (1_795_341_600_124, "2026-11-22T10:00:00.124Z"),
        (1_795_341_601_001, "2026-11-22T10:00:01.001Z"),
        (4_102_444_800_000, "2100-01-01T00:00:00.000Z"),
    ],
)
def test_times(time_ms: int, text: str) -> None:
    assert cloudevent.rfc3339(time_ms) == text


def test_now_is_in_milliseconds() -> None:
    assert abs(cloudevent.checked_time(None) - time.time() * 1000) < 1000


@pytest.mark.parametrize("value", [True, 1.0, "1", b"1"])
def test_a_time_of_another_type_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="time_ms must be an integer"):
        cloudevent.checked_time(value)


@pytest.mark.parametrize("value", [-1, 4_102_444_800_001, 1_795_341_600_123_000])
def test_a_time_in_another_unit_is_refused(value: int) -> None:
    with pytest.raises(ValueError, match="milliseconds since 1970"):
        cloudevent.checked_time(value)


@pytest.mark.parametrize("value", ["", "x" * 257, "a\nb", "a\x7f", "\ud800"])
def test_an_unusable_id_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        cloudevent.checked_id(value, "id")


@pytest.mark.parametrize("value", ["a", "x" * 256, "späße 中\u2028", "a b"])
def test_a_usable_id_is_kept(value: str) -> None:
    assert cloudevent.checked_id(value, "id") == value.encode()


def test_new_ids_differ() -> None:
    assert len({cloudevent.new_id() for _ in range(1000)}) == 1000


def test_headers_are_the_attributes_of_binary_mode() -> None:
    assert dict(cloudevent.headers(b"id-1", b"svc", 1_795_341_600_123)) == {
        "ce_specversion": b"1.0",
        "ce_id": b"id-1",
        "ce_source": b"svc",
        "ce_type": b"spendstream.usage.v1",
        "ce_time": b"2026-11-22T10:00:00.123Z",
        "content-type": b"application/json",
    }

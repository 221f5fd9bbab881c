"""Every rule of an event: what breaks it gets the right reason, with the field named."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from spendstream.schemas.event import (
    MAX_METADATA_BYTES,
    MAX_METADATA_DEPTH,
    MAX_TAGS,
    UsageEvent,
)
from spendstream.schemas.fields import MAX_COUNT, MAX_EPOCH_MS, MAX_MS, MAX_NAME, MAX_TEXT
from spendstream.schemas.parse import MAX_DEPTH, parse_event
from spendstream.schemas.reasons import InvalidEvent, Reason

GOOD: dict[str, Any] = {
    "provider": "openai",
    "response_model": "gpt-4o",
    "workspace_id": "acme",
    "usage": {"input_tokens": 10, "output_tokens": 5},
}
LEFT_OUT = object()


def changed(path: str, value: Any) -> bytes:
    """The good event with one field changed, or left out; `usage.input_tokens` goes inside."""
    event = json.loads(json.dumps(GOOD))
    *parents, name = path.split(".")
    node = event
    for parent in parents:
        node = node.setdefault(parent, {})
    if value is LEFT_OUT:
        del node[name]
    else:
        node[name] = value
    return json.dumps(event).encode()


def refusal(data: bytes) -> InvalidEvent:
    with pytest.raises(InvalidEvent) as caught:
        parse_event(data)
    return caught.value


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


def test_the_smallest_event() -> None:
    event = parse_event(b'{"provider":"p","request_model":"m","workspace_id":"w"}')
    assert (event.operation, event.status, event.usage_quality) == ("chat", "ok", "measured")
    assert event.usage is None
    assert event.tags == {}
    assert event.model == "m"


def test_the_model_that_answered_is_the_one_priced() -> None:
    assert parse_event(changed("request_model", "gpt-4")).model == "gpt-4o"


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("provider", LEFT_OUT, Reason.MISSING_FIELD),
        ("workspace_id", LEFT_OUT, Reason.MISSING_FIELD),
        ("response_model", LEFT_OUT, Reason.MISSING_FIELD),
        ("usage.output_tokens", LEFT_OUT, Reason.MISSING_FIELD),
        ("trackable", {"type": "ticket"}, Reason.MISSING_FIELD),
        ("prompt", "text", Reason.UNKNOWN_FIELD),
        ("usage.total_tokens", 15, Reason.UNKNOWN_FIELD),
        ("workspace_id", 7, Reason.WRONG_TYPE),
        ("workspace_id", None, Reason.WRONG_TYPE),
        ("usage", [], Reason.WRONG_TYPE),
        ("usage.input_tokens", "10", Reason.WRONG_TYPE),
        ("usage.input_tokens", True, Reason.WRONG_TYPE),
        ("usage.input_tokens", 10.5, Reason.WRONG_TYPE),
        ("usage.input_tokens", 10.0, Reason.WRONG_TYPE),
        ("usage.input_tokens", None, Reason.WRONG_TYPE),
        ("batch", "true", Reason.WRONG_TYPE),
        ("batch", 1, Reason.WRONG_TYPE),
        ("tags", {"team": 3}, Reason.WRONG_TYPE),
        ("reported_cost_pico", 12, Reason.WRONG_TYPE),
        ("usage.input_tokens", -1, Reason.OUT_OF_RANGE),
        ("usage.input_tokens", MAX_COUNT + 1, Reason.OUT_OF_RANGE),
        ("usage.input_tokens", 2**63, Reason.OUT_OF_RANGE),
        ("usage.output_tokens", 10**400, Reason.OUT_OF_RANGE),
        ("duration_ms", -1, Reason.OUT_OF_RANGE),
        ("duration_ms", MAX_MS + 1, Reason.OUT_OF_RANGE),
        ("time_to_first_token_ms", MAX_MS + 1, Reason.OUT_OF_RANGE),
        ("started_at_ms", MAX_EPOCH_MS + 1, Reason.OUT_OF_RANGE),
        ("workspace_id", "w" * (MAX_NAME + 1), Reason.TOO_LONG),
        ("response_model", "m" * (MAX_TEXT + 1), Reason.TOO_LONG),
        ("tags", {str(n): "v" for n in range(MAX_TAGS + 1)}, Reason.TOO_LONG),
        ("tags", {"team": "v" * (MAX_TEXT + 1)}, Reason.TOO_LONG),
        ("metadata", {"text": "x" * MAX_METADATA_BYTES}, Reason.TOO_LONG),
        ("metadata", nested(MAX_METADATA_DEPTH + 1), Reason.TOO_DEEP),
        ("workspace_id", "", Reason.INVALID_VALUE),
        ("status", "fine", Reason.INVALID_VALUE),
        ("usage_quality", "guessed", Reason.INVALID_VALUE),
        ("reported_cost_pico", "0.5", Reason.INVALID_VALUE),
        ("reported_cost_pico", "-1", Reason.INVALID_VALUE),
        ("reported_cost_pico", "1" * 20, Reason.INVALID_VALUE),
        ("workspace_id", "a\x00b", Reason.CONTROL_CHARACTER),
        ("user_id", "a\x7f", Reason.CONTROL_CHARACTER),
        ("tags", {"te\nam": "v"}, Reason.CONTROL_CHARACTER),
        ("metadata", {"a": [{"b\t": 1}]}, Reason.CONTROL_CHARACTER),
        ("usage.cache_read_input_tokens", 11, Reason.SUBSET_EXCEEDS_TOTAL),
        ("usage.cache_write_input_tokens", 11, Reason.SUBSET_EXCEEDS_TOTAL),
        ("usage.reasoning_output_tokens", 6, Reason.SUBSET_EXCEEDS_TOTAL),
    ],
)
def test_a_broken_field_is_named(path: str, value: Any, reason: Reason) -> None:
    invalid = refusal(changed(path, value))
    assert invalid.reason == reason, invalid.detail
    # too many digits are refused before anything has a name
    if value != 10**400:
        assert path.split(".")[-1] in invalid.detail


def test_subsets_are_judged_together() -> None:
    usage = {
        "input_tokens": 10,
        "output_tokens": 0,
        "cache_read_input_tokens": 6,
        "cache_write_input_tokens": 5,
    }
    invalid = refusal(changed("usage", usage))
    assert invalid.reason == Reason.SUBSET_EXCEEDS_TOTAL
    assert "6" in invalid.detail
    usage["cache_write_input_tokens"] = 4
    assert parse_event(changed("usage", usage)).usage is not None


def test_a_blocked_call_has_no_usage() -> None:
    invalid = refusal(changed("status", "blocked"))
    assert invalid.reason == Reason.INVALID_VALUE
    assert "usage" in invalid.detail
    event = json.loads(changed("status", "blocked"))
    del event["usage"]
    assert parse_event(json.dumps(event).encode()).status == "blocked"


def test_the_providers_figures_come_with_a_conflict_and_only_then() -> None:
    assert "provider_usage" in refusal(changed("usage_quality", "conflicting")).detail
    assert "provider_usage" in refusal(changed("provider_usage", {"total": 3})).detail
    event = {**GOOD, "usage_quality": "conflicting", "provider_usage": {"total": 3}}
    assert parse_event(json.dumps(event).encode()).provider_usage == {"total": 3}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"provider":"p\xff"}', Reason.INVALID_UTF8),
        (b'{"provider":"p', Reason.INVALID_JSON),
        (b"", Reason.INVALID_JSON),
        (b'{"usage":NaN}', Reason.INVALID_JSON),
        (b'{"usage":-Infinity}', Reason.INVALID_JSON),
        (b'{"provider":"a","provider":"b"}', Reason.DUPLICATE_KEY),
        (b'{"usage":{"input_tokens":1,"input_tokens":2}}', Reason.DUPLICATE_KEY),
        (b"[]", Reason.NOT_AN_OBJECT),
        (b"null", Reason.NOT_AN_OBJECT),
        (b"[" * (MAX_DEPTH + 1), Reason.TOO_DEEP),
    ],
)
def test_what_json_readers_disagree_on_is_refused(data: bytes, reason: Reason) -> None:
    assert refusal(data).reason == reason


def test_lone_surrogates_are_refused() -> None:
    data = json.dumps(GOOD).replace("acme", "\\ud800").encode()
    assert refusal(data).reason == Reason.INVALID_JSON


def test_bounds_are_inclusive() -> None:
    event = {
        **GOOD,
        "workspace_id": "w" * MAX_NAME,
        "response_model": "m" * MAX_TEXT,
        "usage": {"input_tokens": MAX_COUNT, "output_tokens": 0},
        "tags": {str(n): "v" for n in range(MAX_TAGS)},
        "metadata": nested(MAX_METADATA_DEPTH),
        "duration_ms": MAX_MS,
        "started_at_ms": MAX_EPOCH_MS,
        "reported_cost_pico": "9" * 19,
    }
    assert parse_event(json.dumps(event).encode()).tags == event["tags"]


def test_metadata_may_be_as_large_as_its_bound() -> None:
    room = MAX_METADATA_BYTES - len(b'{"text":""}')
    assert parse_event(changed("metadata", {"text": "x" * room})).metadata is not None
    assert refusal(changed("metadata", {"text": "x" * (room + 1)})).reason == Reason.TOO_LONG


def test_metadata_holds_only_numbers_that_a_double_holds() -> None:
    invalid = refusal(changed("metadata", {"a": [1]}).replace(b"[1]", b"[1e400]"))
    assert invalid.reason == Reason.OUT_OF_RANGE
    assert "metadata" in invalid.detail


def test_models_are_frozen_and_refuse_unknown_arguments() -> None:
    event = parse_event(json.dumps(GOOD).encode())
    with pytest.raises(ValidationError):
        event.workspace_id = "other"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        UsageEvent.model_validate({**GOOD, "completion": "text"})


NAME = st.text(
    st.characters(codec="utf-8", exclude_characters=[chr(n) for n in (*range(32), 127)]),
    min_size=1,
    max_size=MAX_NAME,
)


@given(
    workspace=NAME,
    user=st.none() | NAME,
    tags=st.dictionaries(NAME, NAME, max_size=4),
    figures=st.tuples(*[st.integers(0, 10**8)] * 5),
)
def test_an_event_survives_the_way_through_json(
    workspace: str, user: str | None, tags: dict[str, str], figures: tuple[int, ...]
) -> None:
    uncached, read, write, output, reasoning = figures
    event = UsageEvent.model_validate(
        {
            **GOOD,
            "workspace_id": workspace,
            "user_id": user,
            "tags": tags,
            "usage": {
                "input_tokens": uncached + read + write,
                "cache_read_input_tokens": read,
                "cache_write_input_tokens": write,
                "output_tokens": output + reasoning,
                "reasoning_output_tokens": reasoning,
            },
        }
    )
    assert parse_event(event.model_dump_json().encode()) == event
    assert parse_event(event.model_dump_json(exclude_defaults=True).encode()) == event

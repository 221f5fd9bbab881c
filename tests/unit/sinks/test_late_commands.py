"""What the worker is told about a late row, to the letter."""

from __future__ import annotations

import json

import pytest

from spendstream.sinks.late.commands import command
from spendstream.sinks.late.window import LateRow

EVENTS = (
    '{"workspace_id":"acme"}',
    '{ "usage" : {"input_tokens":18446744073709551615},\n"x": 1.50, "workspace_id":"a\\u00e9" }',
    '{"metadata":{"k":"\u2028 \U0001f600 \\"; DROP"},"workspace_id":"кошка"}',
)


def row(event: str, event_id: str = "e-1", workspace_id: str = "acme") -> LateRow:
    return LateRow(7, "usage.events", 12, 1_000, 500, event_id, "/svc", 3, workspace_id, event)


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_goes_on_with_its_own_bytes(event: str) -> None:
    told = command(row(event), 40, counted=False)
    assert event.encode() in told
    assert json.loads(told) == {
        "kind": "readmit",
        "late_seq": 7,
        "checked_seq": 40,
        "topic": "usage.events",
        "offset": 12,
        "arrival_ms": 1_000,
        "time_ms": 500,
        "event_id": "e-1",
        "source": "/svc",
        "event": json.loads(event),
    }


@pytest.mark.parametrize("text", ["plain", "\"\\'; --", "\u2028é\U0001f600"])
def test_a_duplicate_names_the_event_only(text: str) -> None:
    told = command(row("{}", text, text), 40, counted=True)
    assert json.loads(told) == {
        "kind": "duplicate",
        "late_seq": 7,
        "checked_seq": 40,
        "workspace_id": text,
        "event_id": text,
    }

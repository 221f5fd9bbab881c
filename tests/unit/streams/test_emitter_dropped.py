"""What emitters report as dropped is counted for a metric, and is no state."""

from __future__ import annotations

import pytest

from tests.support.core import Driver
from tests.support.records import NOON, Call, Record


def record(event_id: str, dropped: bytes | None, offset: int) -> Record:
    made = Call(event_id, NOON).record(offset)
    return made._replace(headers=[*made.headers, ("ce_dropped", dropped)])


def test_a_repeat_of_an_event_has_a_report_of_its_own() -> None:
    driver = Driver()
    driver.take([record("a", None, 0), record("b", b"2", 1), record("a", b"5", 2)])
    assert driver.batch.emitter_dropped == 7
    assert driver.state.checkpoint.outcomes["usage.events"]["duplicate"] == 1
    driver.finish()
    assert driver.batch.emitter_dropped == 0


@pytest.mark.parametrize("value", [None, b"", b"-1", b"1.5", b"many", b"9" * 11, b"\xff"])
def test_what_is_no_number_is_harmless(value: bytes | None) -> None:
    driver = Driver()
    driver.take([record("a", value, 0)])
    assert driver.batch.emitter_dropped == 0
    assert driver.state.checkpoint.outcomes["usage.events"]["priced"] == 1

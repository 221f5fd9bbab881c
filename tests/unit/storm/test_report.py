"""What a storm's report must not keep to itself."""

from __future__ import annotations

from tests.storm.plan import plan
from tests.storm.rage import Outcome, Struck
from tests.storm.report import report
from tests.storm.traffic import Traffic


def outcome() -> Outcome:
    """Two faults landed and nothing differs."""
    one, other = plan(1, 2, ["worker killed", "sink killed"])
    struck = [Struck(one, 1, "seen", 2.0), Struck(other, 2, "seen", None)]
    made = Outcome(Traffic(1, 100), struck)
    made.differences.compare("rows", {1: 1}, {1: 1})
    return made


def test_all_that_is_well_passes() -> None:
    assert report(outcome()).endswith("\n1 passed, 0 failed")


def test_a_kind_that_never_landed_fails() -> None:
    made = outcome()
    made.struck[1].evidence = None
    kind = made.struck[1].planned.kind.kind
    assert made.missed == [kind]
    said = report(made)
    assert f"FAILED: {kind} never landed" in said
    assert said.endswith("\n1 passed, 1 failed")
    made.struck.append(Struck(made.struck[1].planned, 1, "seen", 1.0))
    assert not made.missed


def test_complaints_and_differences_fail() -> None:
    made = outcome()
    made.complaints.append("no recovery")
    made.differences.compare("amounts", {1: 1}, {1: 2})
    assert not made.exact
    said = report(made)
    assert "FAILED: no recovery" in said
    assert "1: 2 instead of 1" in said
    assert said.endswith("\n1 passed, 2 failed")

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from spendstream.schemas.plan import DEFAULT_PLAN, Limit, Plan, PlanVersion


def test_defaults() -> None:
    assert DEFAULT_PLAN.credit_pico == 10_000_000_000_000
    assert [(each.percent, each.severity) for each in DEFAULT_PLAN.thresholds] == [
        (75, "warning"),
        (80, "warning"),
        (90, "danger"),
        (95, "danger"),
        (100, "exceeded"),
    ]
    assert DEFAULT_PLAN.limits == ()
    assert DEFAULT_PLAN.overage is False
    assert DEFAULT_PLAN.exhausted_action == "warn"


def test_a_limit_warns_unless_it_says_block() -> None:
    limit = Limit(name="rpm", measure="requests", window="minute", amount=60)
    assert limit.action == "warn"


@pytest.mark.parametrize(
    "wrong",
    [
        {"credit_pico": -1},
        {"credit_pico": 10**21 + 1},
        {"credit_pico": 1.5},
        {"credit_pico": "10"},
        {"overage": 1},
        {"thresholds": [{"percent": 0, "severity": "info"}]},
        {"thresholds": [{"percent": 80, "severity": "mild"}]},
        {"limits": [{"name": "", "measure": "requests", "window": "minute", "amount": 1}]},
        {"limits": [{"name": "rpm", "measure": "calls", "window": "minute", "amount": 1}]},
        {"limits": [{"name": "rpm", "measure": "requests", "window": "hour", "amount": 1}]},
        {"limits": [{"name": "rpm", "measure": "requests", "window": "minute"}]},
        {"colour": "red"},
    ],
    ids=str,
)
def test_what_is_not_a_plan(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Plan.model_validate(wrong)


def test_a_version_survives_the_way_through_json() -> None:
    version = PlanVersion(
        version=1,
        workspace_id=None,
        plan=Plan(limits=(Limit(name="rpm", measure="requests", window="minute", amount=60),)),
        effective_from_ms=1,
        written_at_ms=0,
        author="ops",
    )
    assert PlanVersion.model_validate_json(version.model_dump_json()) == version
    assert PlanVersion.model_validate_json(version.model_dump_json(exclude_defaults=True)) == (
        version
    )

"""Plans as people write them: money is exact, and all mistakes come at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from spendstream.api.plans.file import PlansError, parse_plans, read_plans, render_plan
from spendstream.schemas import DEFAULT_PLAN, Plan

GOOD = """
plans:
  default: {credit: "10.10"}
  ws-1:
    credit: 25
    overage: true
    exhausted_action: block
    thresholds: [{percent: 80, severity: warning}, {percent: 100, severity: exceeded}]
    limits:
      - {name: rpm, measure: requests, window: minute, amount: 60, action: warn}
      - {name: spend, measure: charge, window: month, amount: "100.000000000001", action: block}
"""


def errors_of(text: str) -> list[str]:
    with pytest.raises(PlansError) as caught:
        parse_plans(text)
    return caught.value.errors


def test_money_becomes_pico_usd() -> None:
    plans = parse_plans(GOOD)
    own, default = plans["ws-1"], plans[None]
    assert default.credit_pico == 10_100_000_000_000
    assert own.credit_pico == 25 * 10**12
    assert [t.percent for t in own.thresholds] == [80, 100]
    assert own.limits[0].amount == 60
    assert own.limits[1].amount == 100 * 10**12 + 1
    assert own.overage
    assert own.exhausted_action == "block"


def test_what_is_not_given_is_the_default() -> None:
    assert parse_plans("plans: {ws-1: {}}") == {"ws-1": DEFAULT_PLAN}


def test_a_rendered_plan_reads_back_as_the_same_plan() -> None:
    plans = parse_plans(GOOD)
    rendered = {name or "default": render_plan(plan) for name, plan in plans.items()}
    assert parse_plans(yaml.safe_dump({"plans": rendered})) == plans


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        ("{credit: 10.10}", "plans.w.credit", "float"),
        ("{credit: .inf}", "plans.w.credit", "float"),
        ("{credit: true}", "plans.w.credit", "true or false"),
        ('{credit: "ten"}', "plans.w.credit", "not a decimal"),
        ('{credit: "NaN"}', "plans.w.credit", "not a finite"),
        ('{credit: "0.0000000000001"}', "plans.w.credit", "finer than a pico-USD"),
        ("{credit: -1}", "plans.w.credit", "below 0"),
        ('{credit: "2000000000"}', "plans.w.credit", "less than or equal"),
        ("{credit: }", "plans.w.credit", "nothing"),
        ("{credits: 1}", "plans.w.credits", "unknown field"),
        ("{credit_pico: 1}", "plans.w.credit_pico", "unknown field"),
        ("{overage: 1}", "plans.w.overage", "boolean"),
        ("{exhausted_action: stop}", "plans.w.exhausted_action", "'block' or 'warn'"),
        ("{thresholds: 80}", "plans.w.thresholds", "a list is required"),
        (
            "{thresholds: [{percent: 0, severity: info}]}",
            "plans.w.thresholds[0].percent",
            "greater",
        ),
        (
            "{thresholds: [{percent: 8, severity: info}, {percent: 8, severity: info}]}",
            "plans.w.thresholds",
            "given 2 times",
        ),
        ("{limits: 5}", "plans.w.limits", "a list is required"),
        ("{limits: [5]}", "plans.w.limits[0]", "a mapping is required"),
        (
            "{limits: [{name: a, measure: charge, window: month, amount: 9.5}]}",
            "plans.w.limits[0].amount",
            "float",
        ),
        (
            "{limits: [{name: a, measure: tokens, window: month, amount: 9.5}]}",
            "plans.w.limits[0].amount",
            "float",
        ),
        (
            "{limits: [{name: a, measure: tokens, window: year, amount: 9}]}",
            "plans.w.limits[0].window",
            "'minute' or 'month'",
        ),
        (
            "{limits: [{name: a, measure: tokens, window: month, amount: 9, per: 1}]}",
            "plans.w.limits[0].per",
            "unknown field",
        ),
        ("{markup_percent: 12.5}", "plans.w.markup_percent", 'quotes: "12.5"'),
        ("{markup_percent: true}", "plans.w.markup_percent", "true or false"),
        ('{markup_percent: "-1"}', "plans.w.markup_percent", "is none"),
        ('{markup_percent: "1000.1"}', "plans.w.markup_percent", "is none"),
        ("{counted_cost: theirs}", "plans.w.counted_cost", "'computed' or 'reported'"),
        ("{prices: 5}", "plans.w.prices", "a list is required"),
        (
            "{prices: [{provider: a, model: b, valid_from: 2026-01-01, prices: {input: 0.1}}]}",
            "plans.w.prices[0].prices.input",
            "float",
        ),
        ("5", "plans.w", "a mapping is required"),
    ],
)
def test_a_mistake_names_field_and_reason(body: str, field: str, reason: str) -> None:
    errors = errors_of(f"plans: {{w: {body}}}")
    assert any(e.startswith(f"{field}: ") and reason in e for e in errors), errors


def test_all_mistakes_come_at_once() -> None:
    errors = errors_of(
        """
        plans:
          a: {credit: 1.5, limits: [{name: l, measure: charge, window: month, amount: 2.5}]}
          b: {overage: maybe, colour: red}
          3: {}
        extra: 1
        """
    )
    for place in (
        "plans.a.credit",
        "plans.a.limits[0].amount",
        "plans.b.colour",
        "plans.3",
        "extra",
    ):
        assert any(error.startswith(f"{place}: ") for error in errors), (place, errors)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("plans: {a: {credit: 1}, a: {credit: 2}}", "'a' is given twice"),
        ("plans: {a: {credit: 1, credit: 2}}", "'credit' is given twice"),
        ("plans: [", "not YAML"),
        ("", "plans: required"),
        ("plans: []", "plans: required"),
        ("plans: !!python/object/apply:os.system [id]", "not YAML"),
        ('plans: {"": {}}', "at least 1 character"),
        ('plans: {"a\\nb": {}}', "control_character"),
    ],
)
def test_files_that_cannot_be_read_at_all(text: str, reason: str) -> None:
    assert any(reason in error for error in errors_of(text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlansError, match=r"nowhere\.yaml"):
        read_plans(tmp_path / "nowhere.yaml")


def test_the_empty_mapping_changes_nothing() -> None:
    empty: dict[str | None, Plan] = {}
    assert parse_plans("plans: {}") == empty


def test_what_is_charged_is_read_and_written_alike() -> None:
    text = """
        plans:
          w:
            markup_percent: 12
            counted_cost: reported
            prices:
              - {provider: openai, model: gpt-4o, valid_from: 2026-01-01, when: {batch: true},
                 prices: {input: "3"}}
    """
    plan = parse_plans(text)["w"]
    assert (plan.markup_percent, plan.counted_cost) == ("12", "reported")
    assert plan.prices[0].prices == {"input": "3"}
    assert parse_plans(json.dumps({"plans": {"w": render_plan(plan)}}))["w"] == plan

"""Plans as text for an editor: what is written reads back as the same plan, whatever it holds."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Annotated, Literal

import pytest
from annotated_types import Ge, Le, MaxLen
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from spendstream.api.plans.changes import changes_between
from spendstream.api.plans.file import PlansError, parse_plans
from spendstream.api.plans.parse import parse
from spendstream.api.plans.render import render
from spendstream.api.plans.text import WIDTH, flow, plan_text
from spendstream.api.yaml_file import load_yaml
from spendstream.schemas import DEFAULT_PLAN, Plan
from spendstream.schemas.fields import EpochMs, Milliseconds, Model, Name
from spendstream.schemas.plan import Amount
from tests.support.any_plan import any_of

ids = st.text(
    st.characters(exclude_categories=["Cc", "Cs"]) | st.just("\x85"), min_size=1, max_size=128
)


@given(any_of(Plan), ids.filter(lambda name: name != "default"), st.lists(st.text()))
def test_a_plan_reads_back_as_the_same_plan(plan: Plan, name: str, about: list[str]) -> None:
    assert parse_plans(plan_text(name, plan, about)) == {name: plan}


class Later(Plan):
    """Fields of kinds that a plan will have, and that no code here names."""

    class Gift(Model):
        name: Name
        amount_pico: Amount
        priority: Annotated[int, Ge(0), Le(1000)] = 100
        expires_ms: EpochMs | None = None

    class Carried(Model):
        share_percent: Annotated[str, Field(pattern=r"^[0-9]{1,2}(\.[0-9])?$")] = "0"
        cap_pico: Amount

    class Count(Model):
        name: Name
        measure: Literal["requests", "charge"]
        amount: Amount | None = None
        only: Annotated[tuple[Name, ...], MaxLen(100)] | None = None
        thresholds: tuple[Annotated[int, Ge(1), Le(99)], ...] | None = None

    zone: Name = "UTC"
    budget_pico: Amount | None = 10**13
    wait_ms: Milliseconds = 60_000
    gifts: Annotated[tuple[Gift, ...], MaxLen(20)] = ()
    carried: Carried | None = None
    counts: tuple[Count, ...] = ()
    messages: dict[Name, Annotated[str, MaxLen(500)]] = Field(default_factory=dict)


@given(any_of(Later))
def test_so_does_one_with_fields_that_nobody_has_thought_of(plan: Later) -> None:
    document = load_yaml(plan_text("w", plan))
    assert parse(Later, document["plans"]["w"]) == (plan, [])
    assert parse(Later, load_yaml(flow(render(plan)))) == (plan, [])


@given(any_of(Later), any_of(Later))
def test_plans_that_differ_say_so(before: Later, after: Later) -> None:
    assert bool(changes_between(before, after)) == (before != after)
    assert not changes_between(before, before)


def test_new_kinds_of_fields_are_written_as_people_write_them() -> None:
    gift = Later.Gift(name="welcome", amount_pico=5 * 10**12, expires_ms=1_795_348_800_000)
    counts = (
        Later.Count(name="a", measure="charge", amount=15 * 10**11),
        Later.Count(name="b", measure="requests", amount=15),
    )
    plan = Later(budget_pico=None, gifts=(gift,), counts=counts)
    said = render(plan)
    assert said["budget"] is None
    assert said["gifts"] == [
        {"name": "welcome", "amount": "5", "priority": 100, "expires": "2026-11-22T12:00:00Z"}
    ]
    assert said["counts"] == [
        {"name": "a", "measure": "charge", "amount": "1.5"},
        {"name": "b", "measure": "requests", "amount": 15},
    ]


@pytest.mark.parametrize(
    "said",
    [
        date(2026, 11, 22),
        "2026-11-22",
        "2026-11-22T01:00+01:00",
        datetime(2026, 11, 22, tzinfo=UTC),
    ],
)
def test_moments_are_dates_or_times(said: object) -> None:
    body = {"gifts": [{"name": "g", "amount": 1, "expires": said}]}
    plan, mistakes = parse(Later, body)
    assert plan is not None, mistakes
    assert plan.gifts[0].expires_ms == 1_795_305_600_000


def test_mistakes_in_new_fields_are_named_as_they_are_written() -> None:
    body = {
        "budget": 1.5,
        "zone": 7,
        "wait_ms": -1,
        "carried": {"cap": "much", "share_percent": 2.5},
        "gifts": [{"amount": -1, "expires": 3}, {"name": "b", "amount": 10**13, "prio": 1}],
        "messages": {1: "one", "two": True},
        "counts": [{"name": "a", "measure": "charge", "amount": 2.5, "only": "x"}],
    }
    plan, mistakes = parse(Later, body)
    assert plan is None
    assert {mistake.place: mistake.reason for mistake in mistakes} == {
        ("budget",): '1.5 is a float, which cannot hold money exactly; put it in quotes: "1.5"',
        ("zone",): 'text is required, YAML reads a whole number; put it in quotes: "7"',
        ("wait_ms",): "Input should be greater than or equal to 0",
        ("carried", "cap"): "not a decimal amount of USD: 'much'",
        ("carried", "share_percent"): '2.5 is a float; put it in quotes: "2.5"',
        ("gifts", 0, "name"): "Field required",
        ("gifts", 0, "amount"): "-1 is below 0",
        ("gifts", 0, "expires"): "a date or a time is required, found a whole number",
        ("gifts", 1, "amount"): "Input should be less than or equal to 1000000000000000000000",
        ("gifts", 1, "prio"): "unknown field (there are name, amount, priority, expires)",
        ("messages", "1"): "YAML reads this name as a whole number; put it in quotes",
        ("messages", "two"): (
            'text is required, YAML reads true or false; put it in quotes: "True"'
        ),
        ("counts", 0, "amount"): (
            '2.5 is a float, which cannot hold money exactly; put it in quotes: "2.5"'
        ),
        ("counts", 0, "only"): "a list is required, found text",
    }


def test_defaults_are_comments_that_say_what_there_is() -> None:
    text = plan_text("acme", Plan(credit_pico=25 * 10**12, overage=True), ["Plan of acme."])
    lines = text.splitlines()
    assert lines[:4] == [
        "# Plan of acme.",
        "plans:",
        "  acme:",
        '    credit: "25"  # included credit a calendar month; USD',
    ]
    assert "    overage: true  # bill what goes beyond the credit" in lines
    assert "    #limits: []" in lines
    assert max(map(len, lines)) <= WIDTH
    words = text.replace("\n    # ", " ")
    assert all(told in words for told in ("measure (requests, tokens, charge)", "block or warn"))


def test_a_default_is_set_by_taking_its_mark_away() -> None:
    text = plan_text("acme", DEFAULT_PLAN)
    settings = re.sub(r"^    #(?=\w|  )", "    ", text, flags=re.MULTILINE)
    assert settings != text
    assert parse_plans(settings) == {"acme": DEFAULT_PLAN}
    changed = text.replace("#exhausted_action: warn", "exhausted_action: block")
    assert parse_plans(changed)["acme"].exhausted_action == "block"


@pytest.mark.parametrize("hostile", ["a\nplans: {x: {}}", "a\u2028plans:", "\x9b31m", "\u202e"])
def test_nothing_ends_a_comment_or_steers_a_terminal(hostile: str) -> None:
    plan = parse_plans('plans: {w: {limits: [{name: "\\u202e\\x85", measure: tokens, window: month,'
                       " amount: 1}]}}")["w"]  # fmt: skip
    text = plan_text("w", plan, [hostile])
    assert parse_plans(text) == {"w": plan}
    assert text.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    "body", [r'{credit: "\ud800"}', '{limits: [{name: "\\ud800"}]}', "&a [*a]"]
)
def test_what_json_cannot_hold_is_a_mistake(body: str) -> None:
    with pytest.raises(PlansError):
        parse_plans(f"plans: {{w: {body}}}")

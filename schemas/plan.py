"""Plans: what a workspace may spend, and what happens then.

A plan holds a monthly credit, thresholds on it, limits, whether spend beyond the credit is overage,
and what the workspace is charged for what its calls cost. A workspace without a plan of its own has
`DEFAULT_PLAN`. Plans travel in `control.plans` as numbered versions; a change is in force from its
`effective_from_ms` or from the first batch that saw it, whichever is later, and every priced row
names the version that it was judged by.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Final, Literal

from annotated_types import Ge, Le, MaxLen
from pydantic import Field, field_validator

from spendstream.schemas.charge import MarkupPercent
from spendstream.schemas.fields import EpochMs, Model, Name, Text
from spendstream.schemas.money import PICO_PER_USD
from spendstream.schemas.prices.overrides import Entry

Measure = Literal["requests", "tokens", "charge"]
Window = Literal["minute", "month"]
"""`minute` slides: the 60 whole seconds that end with now. `month` is a calendar month in UTC."""
Action = Literal["block", "warn"]
CountedCost = Literal["computed", "reported"]
"""By our prices, or by what the provider or the caller has reported, where one has."""
Severity = Literal["info", "warning", "danger", "exceeded"]

Amount = Annotated[int, Ge(0), Le(10**21)]
"""Requests or tokens as they are; charge in pico-USD (10²¹ is a billion USD)."""


class Threshold(Model):
    """Crossed when used ≥ percent of the amount."""

    percent: Annotated[int, Ge(1), Le(1000)]
    severity: Severity


class Limit(Model):
    """So much of a measure per window; more than that is a violation."""

    name: Name = Field(description="unique in its plan; part of the alert's identity")
    measure: Measure
    window: Window
    amount: Amount
    action: Action = "warn"


DEFAULT_THRESHOLDS: Final = (
    Threshold(percent=75, severity="warning"),
    Threshold(percent=80, severity="warning"),
    Threshold(percent=90, severity="danger"),
    Threshold(percent=95, severity="danger"),
    Threshold(percent=100, severity="exceeded"),
)


RESERVED_NAMES: Final = ("credit", "overage")
MAX_OWN_PRICES: Final = 500
"""Of a plan: a version is one record, and must fit into it."""


class Plan(Model):
    """Amounts of money in pico-USD. Every default of the product stands here."""

    credit_pico: Amount = Field(10 * PICO_PER_USD, description="included credit a calendar month")
    thresholds: Annotated[tuple[Threshold, ...], MaxLen(20)] = Field(
        DEFAULT_THRESHOLDS, description="alerts on the way through the credit"
    )
    limits: Annotated[tuple[Limit, ...], MaxLen(50)] = Field(
        (), description="so much a window; more than that is a violation"
    )
    overage: bool = Field(False, description="bill what goes beyond the credit")
    exhausted_action: Action = Field("warn", description="without overage, when the credit is gone")
    markup_percent: MarkupPercent = Field("0", description="on the cost, where `prices` has none")
    prices: Annotated[tuple[Entry, ...], MaxLen(MAX_OWN_PRICES)] = Field(
        (), description="the workspace is charged these, without markup, where every model has one"
    )
    counted_cost: CountedCost = Field("computed", description="where a cost was reported as well")

    @field_validator("thresholds")
    @classmethod
    def _percents_are_unique(cls, thresholds: tuple[Threshold, ...]) -> tuple[Threshold, ...]:
        for percent, count in Counter(each.percent for each in thresholds).items():
            if count > 1:
                raise ValueError(f"percent {percent} is given {count} times")
        return thresholds

    @field_validator("limits")
    @classmethod
    def _names_are_unique(cls, limits: tuple[Limit, ...]) -> tuple[Limit, ...]:
        for name, count in Counter(limit.name for limit in limits).items():
            if name in RESERVED_NAMES:
                raise ValueError(f"the name {name!r} is taken by alerts on the credit")
            if count > 1:
                raise ValueError(f"name {name!r} is given {count} times")
        return limits


DEFAULT_PLAN: Final = Plan()


class PlanVersion(Model):
    """A record of `control.plans`; key = workspace id, empty for the default plan.

    `version` counts the records of the topic from 1: it is the edit's identity and what a later
    edit must name to be accepted.
    """

    version: Annotated[int, Ge(1)]
    workspace_id: Name | None = Field(description="null: the plan of all workspaces without one")
    plan: Plan
    effective_from_ms: EpochMs
    written_at_ms: EpochMs
    author: Name
    reason: Text | None = Field(None, description="why, for whoever reads it later")

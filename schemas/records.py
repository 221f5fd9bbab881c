"""What the workers write: priced rows, alerts, overage, late and dead records; and commands.

Rows of the five sequenced topics carry `partition` and `seq`; ClickHouse takes these JSON objects
as they are, so a field's name here is what its column is made from. Amounts of money are strings
of integer pico-USD, times are milliseconds since 1970 UTC.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from annotated_types import Ge
from pydantic import Field

from spendstream.schemas.event import UsageEvent
from spendstream.schemas.fields import Count, Model
from spendstream.schemas.plan import Action, Measure, Severity, Window
from spendstream.schemas.prices.units import LeafName
from spendstream.schemas.reasons import Reason

Integer = Annotated[int, Ge(0)]
Money = Annotated[str, Field(pattern=r"^-?[0-9]{1,38}$")]
CostQuality = Literal["measured", "provider_reported", "estimated", "conflicting", "unpriced"]
AlertKind = Literal["limit_violation", "credit_threshold", "overage_started"]


class Leaf(Model):
    """A disjoint part of the usage with its own price; the quantities never overlap.

    Another model's tokens inside a response are leaves of their own after the call's, of the same
    names: a name may stand more than once.
    """

    leaf: LeafName
    quantity: Count = Field(
        description="tokens, characters, searches, …; milliseconds for `…_time`; 1 for `requests`"
    )
    price_atto: Money = Field(
        description="atto-USD a token, character, search, …; an hour for `…_time`"
    )
    cost_pico: Money = Field(description="quantity × price, rounded half-even once")


class PricedUsage(Model):
    """A row of `usage.priced`: the event, what it cost, and how it was judged."""

    seq: Integer
    partition: Integer
    topic: str = Field(description="input it came by")
    offset: Integer = Field(description="in that input")
    arrival_ms: Integer = Field(description="the record's Kafka time stamp")
    time_ms: Integer = Field(description="ce_time: the end of the call as its service says")
    counted_ms: Integer = Field(description="the earlier of the two: the windows use it")
    judged_ms: Integer = Field(description="partition time when it was counted: never goes back")
    event_id: str
    source: str
    event: UsageEvent
    leaves: tuple[Leaf, ...]
    computed_cost_pico: Money | None = Field(description="by our prices; null: unpriced")
    cost_pico: Money | None = Field(
        description="the one that counts: the computed one, or `reported_cost_pico` of the event"
        " where the plan says so, and `cost_quality` then `provider_reported`; null: unpriced"
    )
    charge_pico: Money | None = Field(description="the workspace is charged it; null: unknown")
    cost_quality: CostQuality
    price_rule: str | None
    price_version: str
    plan_version: Integer
    billing_period: str = Field(description="`2026-11`: where the charge is booked")
    origin_period: str | None = Field(description="its own period, where that had closed")


class Alert(Model):
    """A row of `usage.alerts`. Consumers drop repeats by `id`."""

    seq: Integer
    partition: Integer
    id: str
    kind: AlertKind
    workspace_id: str
    at_ms: Integer = Field(description="partition time of the crossing")
    limit: str = Field(description="the limit's name; `credit` for the included credit")
    scope: str
    measure: Measure
    window: Window
    threshold_percent: Integer | None
    severity: Severity
    action: Action
    used: Money = Field(description="pico-USD where the measure is charge")
    amount: Money
    episode: str = Field(description="period, or start of the sliding episode in milliseconds")
    event_id: str | None = Field(description="the event that crossed it")
    plan_version: Integer


class Overage(Model):
    """A row of `usage.overage`: bill `to_cumulative_pico` minus what you billed for the period."""

    seq: Integer
    partition: Integer
    id: str
    workspace_id: str
    period: str
    revision: Integer = Field(description="raised by a correction, which may lower the cumulative")
    from_cumulative_pico: Money
    to_cumulative_pico: Money
    at_ms: Integer
    final: bool = Field(description="the period has closed; nothing is booked to it any more")
    plan_version: Integer


class LateUsage(Model):
    """A row of `usage.late`: uncounted until it is known not to be a repeat."""

    seq: Integer
    partition: Integer
    topic: str
    offset: Integer
    arrival_ms: Integer
    time_ms: Integer
    event_id: str
    source: str
    priced_seq: Integer = Field(description="last row of usage.priced when it came")
    event: UsageEvent


class Header(Model):
    name: str
    value_base64: str | None


class DeadLetter(Model):
    """A row of `usage.dead`: the refused record, verbatim."""

    seq: Integer
    partition: Integer
    topic: str
    offset: Integer
    arrival_ms: Integer
    reason: Reason
    detail: str
    key_base64: str | None
    value_base64: str | None
    headers: tuple[Header, ...]


class ForwardedEvent(Model):
    """A record of `workspace.commands`: an event that came to a partition that is not its own."""

    kind: Literal["forwarded"]
    topic: str
    partition: Integer
    offset: Integer
    arrival_ms: Integer
    key_base64: str | None
    value_base64: str | None
    headers: tuple[Header, ...]


class ReadmitLate(Model):
    """A record of `workspace.commands`: a late event that was not counted before; count it.

    One a row of usage.late, in the order of their `seq`; a repeat of it is known by that.
    """

    kind: Literal["readmit"]
    late_seq: Integer = Field(description="the row of usage.late, of this partition")
    checked_seq: Integer = Field(description="rows of usage.priced up to it were looked through")
    topic: str = Field(description="input it came by")
    offset: Integer = Field(description="in that input")
    arrival_ms: Integer
    time_ms: Integer
    event_id: str
    source: str
    event: UsageEvent


class DuplicateLate(Model):
    """A record of `workspace.commands`: a late event that was counted before."""

    kind: Literal["duplicate"]
    late_seq: Integer
    checked_seq: Integer
    workspace_id: str
    event_id: str


def alert_id(workspace: str, limit: str, scope: str, threshold: int | None, episode: str) -> str:
    """The same crossing has the same id through crashes, replays and rebuilds."""
    return _digest(workspace, limit, scope, "" if threshold is None else str(threshold), episode)


def overage_id(workspace: str, period: str, revision: int, start: int, end: int) -> str:
    """Hash of the five fields that an overage record is made of."""
    return _digest(workspace, period, str(revision), str(start), str(end))


def _digest(*parts: str) -> str:
    # length-prefixed, so that ("a", "bc") and ("ab", "c") differ
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

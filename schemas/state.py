"""`workspace.state`: the public record of a workspace, small, for gate, API and other languages.

Key = workspace id. Compacted: the newest record of a key is the state. At most one a second and
workspace, at once when a decision changes. The empty key holds the partition's heartbeat.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from spendstream.schemas.fields import Model
from spendstream.schemas.plan import Action, Measure, Window
from spendstream.schemas.records import Integer, Money

Decision = Literal["allow", "warn", "block"]


class LimitState(Model):
    """One limit as of the record's time. Money as strings of pico-USD."""

    name: str
    measure: Measure
    window: Window
    action: Action
    amount: Money
    used: Money
    remaining: Money = Field(description="never below 0")
    exceeded: bool = Field(description="used > amount")


class WorkspaceState(Model):
    """What is left of a workspace's credit and limits."""

    kind: Literal["workspace"]
    workspace_id: str
    as_of_ms: Integer = Field(description="partition time")
    offset: Integer = Field(description="events of usage.events below it are in the figures")
    plan_version: Integer = Field(description="0: the default plan")
    period: str = Field(description="the calendar month of as_of_ms")
    requests: Integer
    input_tokens: Integer
    output_tokens: Integer
    charge_pico: Money = Field(description="booked to the period")
    credit_pico: Money
    remaining_pico: Money = Field(description="of the credit; never below 0")
    overage_pico: Money = Field(description="beyond the credit; 0 where overage is off")
    decision: Decision
    limits: tuple[LimitState, ...]


class Heartbeat(Model):
    """Key empty: how far a partition is, at least every five seconds."""

    kind: Literal["heartbeat"]
    partition: Integer
    as_of_ms: Integer
    offset: Integer
    late_resolved: Integer = Field(
        description="rows of usage.late up to this `seq` are counted, or known as repeats"
    )

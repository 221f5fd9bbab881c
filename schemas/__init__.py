"""What travels and what it means: pure types and arithmetic, no I/O."""

from spendstream.schemas.event import Trackable, UsageEvent
from spendstream.schemas.plan import DEFAULT_PLAN, Limit, Plan, PlanVersion, Threshold
from spendstream.schemas.reasons import InvalidEvent, Reason
from spendstream.schemas.records import Alert, DeadLetter, LateUsage, Leaf, Overage, PricedUsage
from spendstream.schemas.state import WorkspaceState
from spendstream.schemas.usage import Usage

__all__ = [
    "DEFAULT_PLAN",
    "Alert",
    "DeadLetter",
    "InvalidEvent",
    "LateUsage",
    "Leaf",
    "Limit",
    "Overage",
    "Plan",
    "PlanVersion",
    "PricedUsage",
    "Reason",
    "Threshold",
    "Trackable",
    "Usage",
    "UsageEvent",
    "WorkspaceState",
]

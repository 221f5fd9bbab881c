"""A second opinion on what a partition's events come to: slow, naive, and sharing no code.

Written from the design alone. It keeps the whole history of every workspace and looks through all
of it again for every question; months, windows, plans and prices are worked out from scratch.
Amounts are pico-USD, times milliseconds since 1970.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, NamedTuple

from tests.support.oracle_prices import PRICES, Prices, cost_of
from tests.support.records import Call

HOUR = 3_600_000
DAY = 24 * HOUR
USD = 10**12
DEFAULT_THRESHOLDS = (75, 80, 90, 95, 100)


class LimitFact(NamedTuple):
    name: str
    measure: str
    window: str
    amount: int
    action: str = "warn"


@dataclass(frozen=True)
class PlanFact:
    """A version of a plan; `workspace_id` None: of all that have none of their own."""

    version: int = 0
    workspace_id: str | None = None
    from_ms: int = 0
    credit: int = 10 * USD
    limits: tuple[LimitFact, ...] = ()
    overage: bool = False
    markup: str = "0"
    own: tuple[tuple[str, str, str, str], ...] = ()
    """(provider, model, USD a million tokens in, out)."""
    reported: bool = False


class AlertFact(NamedTuple):
    workspace_id: str
    limit: str
    threshold: int | None
    episode: str
    used: int
    amount: int
    at_ms: int
    event_id: str
    plan_version: int

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> AlertFact:
        """Of a row of `usage.alerts`."""
        return cls(
            row["workspace_id"],
            row["limit"],
            row.get("threshold_percent"),
            row["episode"],
            int(row["used"]),
            int(row["amount"]),
            row["at_ms"],
            row["event_id"],
            row["plan_version"],
        )


class OverageFact(NamedTuple):
    workspace_id: str
    period: str
    revision: int
    start: int
    end: int
    at_ms: int
    final: bool


@dataclass
class Sums:
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0
    charge: int = 0
    unpriced: int = 0


@dataclass
class Use:
    """One counted event."""

    call: Call
    counted_ms: int
    cost: int | None
    charge: int | None

    @property
    def tokens(self) -> tuple[int, int]:
        if self.call.input_tokens is None or self.call.status == "blocked":
            return 0, 0
        return self.call.input_tokens, self.call.output_tokens


@dataclass
class Bill:
    """A billing period of one workspace."""

    booked: int = 0
    crossed: set[int] = field(default_factory=set)
    started: bool = False
    emitted: int = 0
    revision: int = 0
    since: int | None = None
    closed: bool = False


@dataclass
class Ledger:
    uses: list[Use] = field(default_factory=list)
    bills: dict[str, Bill] = field(default_factory=dict)
    episodes: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)


class Oracle:
    """One partition. All plan versions are known from the start."""

    def __init__(self, plans: list[PlanFact] | None = None) -> None:
        self.plans = plans or []
        self.time = 0
        self.outcomes: dict[str, int] = defaultdict(int)
        self.ledgers: dict[str, Ledger] = {}
        self.alerts: list[AlertFact] = []
        self.overage: list[OverageFact] = []
        self.late: list[str] = []
        self._ids: dict[tuple[str, str], int] = {}

    # --- what is asked of it ---

    def take(self, call: Call, arrival: int) -> str:
        """A well-formed event in its own partition; returns its outcome."""
        self.advance(arrival)
        outcome = self._outcome(call, arrival)
        self.outcomes["read"] += 1
        self.outcomes[outcome] += 1
        return outcome

    def refuse(self, arrival: int) -> None:
        """A malformed record."""
        self.advance(arrival)
        self.outcomes["read"] += 1
        self.outcomes["dead"] += 1

    def advance(self, until: int) -> None:
        """Let time pass, moment by moment."""
        while until > self.time:
            moments = [
                (moment, workspace)
                for workspace, ledger in self.ledgers.items()
                for moment in self._moments(workspace, ledger)
                if self.time < moment <= until
            ]
            if not moments:
                break
            self.time = min(moments)[0]
            for workspace in sorted(w for moment, w in moments if moment == self.time):
                self._let_pass(workspace, self.ledgers[workspace])
        self.time = max(self.time, until)

    def total(self, workspace: str) -> Sums:
        return _sums(self.ledgers[workspace].uses)

    def months(self, workspace: str) -> dict[str, Sums]:
        """Counted in each calendar month."""
        by_month: dict[str, list[Use]] = defaultdict(list)
        for use in self.ledgers[workspace].uses:
            by_month[month(use.counted_ms)].append(use)
        return {name: _sums(uses) for name, uses in by_month.items()}

    def plan(self, workspace: str, at: int) -> PlanFact:
        known = [plan for plan in self.plans if plan.from_ms <= at]
        own = [plan for plan in known if plan.workspace_id == workspace]
        default = [plan for plan in known if plan.workspace_id is None]
        return (own or default or [PlanFact()])[-1]

    def minute(self, workspace: str, measure: str, at: int) -> int:
        """Used in the 60 whole seconds that end with `at`."""
        second = at // 1000
        recent = [
            use
            for use in self.ledgers[workspace].uses
            if use.call.status != "blocked" and second - 60 < use.counted_ms // 1000 <= second
        ]
        return _measured(_sums(recent), measure)

    # --- an event ---

    def _outcome(self, call: Call, arrival: int) -> str:
        if call.time_ms > arrival + HOUR or call.time_ms < arrival - 35 * DAY:
            return "dead"
        if self.time - call.time_ms > DAY:
            self.late.append(call.id)
            return "late"
        seen = self._ids.get((call.workspace_id, call.id))
        # remembered for a day and the hour that a clock may run ahead, to the minute above
        if seen is not None and self.time < (seen // 60_000 + 1) * 60_000 + DAY + HOUR:
            return "duplicate"
        self._ids[call.workspace_id, call.id] = self.time
        self._count(call, min(call.time_ms, arrival))
        return "priced"

    def _count(self, call: Call, counted_ms: int) -> None:
        ledger = self.ledgers.setdefault(call.workspace_id, Ledger())
        cost, charge = charge_of(self.plan(call.workspace_id, self.time), call)
        use = Use(call, counted_ms, cost, charge)
        ledger.uses.append(use)
        own = month(counted_ms)
        period = own if self.time < _end(own) + HOUR else month(self.time)
        ledger.bills.setdefault(own, Bill())
        if call.status != "blocked":
            self._check_limits(ledger, use)
        if use.charge:
            bill = ledger.bills.setdefault(period, Bill())
            bill.booked += use.charge
            self._check_credit(ledger, period, bill, call)

    def _check_limits(self, ledger: Ledger, use: Use) -> None:
        workspace = use.call.workspace_id
        for limit in self.plan(workspace, self.time).limits:
            if limit.window == "minute":
                used = self.minute(workspace, limit.measure, self.time)
                key = (limit.name, "minute")
            else:
                name = month(use.counted_ms)
                made = [
                    other
                    for other in ledger.uses
                    if month(other.counted_ms) == name and other.call.status != "blocked"
                ]
                used = _measured(_sums(made), limit.measure)
                key = (limit.name, name)
            if used <= limit.amount:
                continue
            opened, above_until = ledger.episodes.get(key, ("", -DAY))
            if limit.window == "month":
                new, opened = not opened, key[1]
            else:
                new = self.time - above_until >= 60_000
                opened = str(self.time) if new else opened
                second = self.time // 1000
                while self.minute(workspace, limit.measure, second * 1000) > limit.amount:
                    second += 1
                above_until = max(self.time, second * 1000)
            ledger.episodes[key] = (opened, above_until)
            if new:
                self._alert(use.call, limit.name, None, opened, used, limit.amount)

    def _check_credit(self, ledger: Ledger, period: str, bill: Bill, call: Call) -> None:
        plan = self.plan(call.workspace_id, self.time)
        for percent in DEFAULT_THRESHOLDS:
            if percent not in bill.crossed and bill.booked * 100 >= percent * plan.credit:
                bill.crossed.add(percent)
                self._alert(call, "credit", percent, period, bill.booked, plan.credit)
        if plan.overage and bill.booked > plan.credit:
            if not bill.started:
                bill.started = True
                self._alert(call, "overage", None, period, bill.booked, plan.credit)
            if bill.booked - plan.credit - bill.emitted >= USD:
                self._send(call.workspace_id, period, bill, final=False)
            elif bill.since is None:
                bill.since = self.time

    def _alert(
        self, call: Call, limit: str, percent: int | None, episode: str, used: int, amount: int
    ) -> None:
        version = self.plan(call.workspace_id, self.time).version
        self.alerts.append(
            AlertFact(
                call.workspace_id,
                limit,
                percent,
                episode,
                used,
                amount,
                self.time,
                call.id,
                version,
            )
        )

    # --- time ---

    def _moments(self, workspace: str, ledger: Ledger) -> list[int]:
        moments = [plan.from_ms for plan in self.plans if plan.workspace_id in (None, workspace)]
        for name, bill in ledger.bills.items():
            if not bill.closed:
                # a period that was already over when something was counted in it closes at once
                moments.append(max(_end(name) + HOUR, self.time + 1))
                if bill.since is not None:
                    moments.append(bill.since + 60_000)
        return moments

    def _let_pass(self, workspace: str, ledger: Ledger) -> None:
        for name, bill in ledger.bills.items():
            if bill.closed:
                continue
            waiting = self._cumulative(workspace, bill) - bill.emitted
            if waiting >= USD:
                bill.since = 0  # another plan is in force, and a dollar never waits
            elif bill.since is None and waiting:
                bill.since = self.time
            if self.time >= _end(name) + HOUR:
                self._send(workspace, name, bill, final=True)
                bill.closed = True
            elif bill.since is not None and self.time >= bill.since + 60_000:
                self._send(workspace, name, bill, final=False)

    def _cumulative(self, workspace: str, bill: Bill) -> int:
        plan = self.plan(workspace, self.time)
        return max(0, bill.booked - plan.credit) if plan.overage else bill.emitted

    def _send(self, workspace: str, period: str, bill: Bill, *, final: bool) -> None:
        bill.since = None
        start, end = bill.emitted, self._cumulative(workspace, bill)
        if start == end and not (final and end):
            return
        bill.revision += end < start
        bill.emitted = end
        self.overage.append(
            OverageFact(workspace, period, bill.revision, start, end, self.time, final)
        )


def charge_of(plan: PlanFact, call: Call, prices: Prices = PRICES) -> tuple[int | None, int | None]:
    """The cost that counts and the charge, in pico-USD."""
    cost = cost_of(call, prices)
    if call.status == "blocked":
        return 0, 0
    if plan.reported and "reported_cost_pico" in call.more:
        cost = int(call.more["reported_cost_pico"])
    if call.input_tokens is not None:
        for provider, model, price_in, price_out in plan.own:
            if (provider, model) == (call.provider, call.model):
                shares = (call.input_tokens, price_in), (call.output_tokens, price_out)
                return cost, sum(_pico(n * Decimal(usd) * 10**6) for n, usd in shares)
    if cost is None:
        return None, None
    return cost, _pico(cost * (100 + Decimal(plan.markup)) / 100)


def _pico(amount: Decimal) -> int:
    return int(amount.quantize(Decimal(1), ROUND_HALF_EVEN))


def month(ms: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)).strftime("%Y-%m")


def _end(name: str) -> int:
    year, number = int(name[:4]), int(name[5:])
    following = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)
    return (following - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def _sums(uses: list[Use]) -> Sums:
    priced = [use.cost for use in uses if use.cost is not None]
    return Sums(
        requests=len(uses),
        input_tokens=sum(use.tokens[0] for use in uses),
        output_tokens=sum(use.tokens[1] for use in uses),
        cost=sum(priced),
        charge=sum(use.charge or 0 for use in uses),
        unpriced=len(uses) - len(priced),
    )


def _measured(sums: Sums, measure: str) -> int:
    if measure == "requests":
        return sums.requests
    return sums.charge if measure == "charge" else sums.input_tokens + sums.output_tokens

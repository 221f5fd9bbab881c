"""What follows from the counted events: counters, booked charge, alerts, overage. Naive.

Goes through the verified rows in the order they were counted in, which within a workspace is the
order of its partition's `seq`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.storm.recount.priced import Counted
from tests.support.oracle import DEFAULT_THRESHOLDS, LimitFact, PlanFact, Sums, month

WINDOW_MS = 60_000


class Alert(NamedTuple):
    workspace_id: str
    limit: str
    threshold: int | None
    episode: str
    event_id: str
    used: int
    amount: int
    plan_version: int


@dataclass
class Period:
    """A billing period: what was booked to it, in pico-USD, and every cumulative overage on the
    way."""

    booked: int = 0
    crossed: list[int] = field(default_factory=list)
    cumulatives: set[int] = field(default_factory=set)
    over: int = 0
    last_ms: int = 0


@dataclass
class Account:
    """A workspace."""

    plan: PlanFact
    total: Sums = field(default_factory=Sums)
    months: dict[str, Sums] = field(default_factory=lambda: defaultdict(Sums))
    unblocked: dict[str, Sums] = field(default_factory=lambda: defaultdict(Sums))
    periods: dict[str, Period] = field(default_factory=lambda: defaultdict(Period))
    seconds: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    episodes: set[tuple[str, str]] = field(default_factory=set)
    above_until: dict[str, int] = field(default_factory=dict)


class Ledger:
    """Of all workspaces."""

    def __init__(self, plans: list[PlanFact]) -> None:
        self._plans = {plan.workspace_id: plan for plan in plans}
        self.accounts: dict[str, Account] = {}
        self.alerts: list[Alert] = []

    def take(self, row: Counted) -> None:
        name = row.call.workspace_id
        account = self.accounts.get(name)
        if account is None:
            account = self.accounts[name] = Account(self._plans.get(name) or PlanFact())
        own = month(row.counted_ms)
        for sums in (account.total, account.months[own]):
            _add(sums, row)
        if row.call.status != "blocked":
            _add(account.unblocked[own], row)
            account.seconds[row.counted_ms // 1_000] += 1
            for limit in account.plan.limits:
                if limit.window == "month":
                    self._month(account, limit, row, own)
                else:
                    self._minute(account, limit, row)
        if row.bill.charge:
            self._book(account, row)

    def _month(self, account: Account, limit: LimitFact, row: Counted, own: str) -> None:
        sums = account.unblocked[own]
        tokens = sums.input_tokens + sums.output_tokens
        used = sums.requests if limit.measure == "requests" else tokens
        if used > limit.amount and (limit.name, own) not in account.episodes:
            account.episodes.add((limit.name, own))
            self._alert(account, row, limit.name, None, own, used, limit.amount)

    def _minute(self, account: Account, limit: LimitFact, row: Counted) -> None:
        """A limit of requests in the 60 whole seconds that end with partition time."""
        now_ms = row.now_ms
        second = now_ms // 1_000
        recent = {s: n for s, n in account.seconds.items() if s > second - 60}
        account.seconds = defaultdict(int, recent)
        used = sum(n for s, n in recent.items() if s <= second)
        if used <= limit.amount:
            return
        new = now_ms - account.above_until.get(limit.name, -WINDOW_MS) >= WINDOW_MS
        left, until = used, second
        for s in sorted(recent):
            if left <= limit.amount:
                break
            left -= recent[s]
            until = s + 60
        account.above_until[limit.name] = max(now_ms, until * 1_000)
        if new:
            self._alert(account, row, limit.name, None, str(now_ms), used, limit.amount)

    def _book(self, account: Account, row: Counted) -> None:
        period = account.periods[row.period]
        period.booked += row.bill.charge or 0
        period.last_ms = row.now_ms
        credit = account.plan.credit
        for percent in DEFAULT_THRESHOLDS:
            if percent not in period.crossed and period.booked * 100 >= percent * credit:
                period.crossed.append(percent)
                self._alert(account, row, "credit", percent, row.period, period.booked, credit)
        if account.plan.overage and period.booked > credit:
            if not period.over:
                self._alert(account, row, "overage", None, row.period, period.booked, credit)
            period.over = period.booked - credit
            period.cumulatives.add(period.over)

    def _alert(
        self,
        account: Account,
        row: Counted,
        limit: str,
        threshold: int | None,
        episode: str,
        used: int,
        amount: int,
    ) -> None:
        version = account.plan.version
        call = row.call
        self.alerts.append(
            Alert(call.workspace_id, limit, threshold, episode, call.id, used, amount, version)
        )


def _add(sums: Sums, row: Counted) -> None:
    sums.requests += 1
    if row.call.input_tokens is not None and row.call.status != "blocked":
        sums.input_tokens += row.call.input_tokens
        sums.output_tokens += row.call.output_tokens
    sums.charge += row.bill.charge or 0
    if row.bill.cost is None:
        sums.unpriced += 1
    else:
        sums.cost += row.bill.cost

"""`workspace.state`, which gate and API read: the last word on each workspace and partition."""

from __future__ import annotations

import json
from typing import Any, Final

from tests.storm.recount.differences import Differences
from tests.storm.recount.ledger import Account, Ledger
from tests.storm.recount.topics import Log
from tests.support.oracle import LimitFact, month

STATE: Final = "workspace.state"
AMOUNTS: Final = ("charge_pico", "credit_pico", "remaining_pico", "overage_pico")


def check_published(
    log: Log, ledger: Ledger, checkpoints: dict[int, dict[str, Any]], found: Differences
) -> None:
    """Each workspace's figures, limits and decision as of the time that the record names; as all
    that was counted is in the ledger, a record from before the last event differs."""
    beats: dict[int, int] = {}
    actual: dict[str, dict[str, Any]] = {}
    for partition in range(log.partitions):
        newest = {record.key(): record.value() for record in log.committed(STATE, partition)}
        for value in map(json.loads, newest.values()):
            if value["kind"] == "heartbeat":
                beats[value["partition"]] = value["late_resolved"]
            else:
                actual[value["workspace_id"]] = value
    resolved = {p: checkpoint["late_resolved"] for p, checkpoint in checkpoints.items()}
    found.compare("heartbeats in workspace.state", resolved, beats)
    told = {name: _told(record) for name, record in actual.items()}
    expected = {
        name: _expected(account, actual[name]["as_of_ms"])
        for name, account in ledger.accounts.items()
        if name in actual
    }
    for name in ledger.accounts.keys() - actual.keys():
        expected[name] = {"requests": ledger.accounts[name].total.requests}
    found.compare("workspaces in workspace.state", expected, told)


def _told(record: dict[str, Any]) -> dict[str, Any]:
    """The figures of a record that the ledger has, too."""
    names = ("plan_version", "period", "requests", "input_tokens", "output_tokens", "decision")
    limits = {
        limit["name"]: (int(limit["used"]), int(limit["remaining"]), limit["exceeded"])
        for limit in record["limits"]
    }
    return {
        **{name: record[name] for name in names},
        **{name: int(record[name]) for name in AMOUNTS},
        "limits": limits,
    }


def _expected(account: Account, as_of_ms: int) -> dict[str, Any]:
    plan, period = account.plan, month(as_of_ms)
    sums = account.months[period]
    booked = account.periods[period].booked
    used = {limit.name: _used(account, limit, as_of_ms) for limit in plan.limits}
    gone = {limit.action for limit in plan.limits if used[limit.name] >= limit.amount}
    if not plan.overage and booked >= plan.credit:
        gone.add("warn")  # what a plan does that does not say
    return {
        "plan_version": plan.version,
        "period": period,
        "requests": sums.requests,
        "input_tokens": sums.input_tokens,
        "output_tokens": sums.output_tokens,
        "decision": "block" if "block" in gone else "warn" if gone else "allow",
        "charge_pico": booked,
        "credit_pico": plan.credit,
        "remaining_pico": max(0, plan.credit - booked),
        "overage_pico": max(0, booked - plan.credit) if plan.overage else 0,
        "limits": {
            limit.name: (
                used[limit.name],
                max(0, limit.amount - used[limit.name]),
                used[limit.name] > limit.amount,
            )
            for limit in plan.limits
        },
    }


def _used(account: Account, limit: LimitFact, as_of_ms: int) -> int:
    if limit.window == "minute":
        second = as_of_ms // 1_000
        return sum(n for s, n in account.seconds.items() if second - 60 < s <= second)
    sums = account.unblocked[month(as_of_ms)]
    return sums.requests if limit.measure == "requests" else sums.input_tokens + sums.output_tokens

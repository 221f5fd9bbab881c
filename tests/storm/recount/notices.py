"""Alerts and overage against the ledger: each with its id, each cumulative in its order."""

from __future__ import annotations

from collections import Counter, defaultdict
from hashlib import blake2b
from typing import Any, Final

from tests.storm.recount.differences import Differences
from tests.storm.recount.ledger import Alert, Ledger
from tests.storm.recount.outputs import Rows
from tests.support.oracle import USD

OVERAGE_WAIT_MS: Final = 60_000


def check_alerts(read: Rows, ledger: Ledger, found: Differences) -> None:
    """Each that had to be raised was, once, at the event that did it."""
    alerts = read["usage.alerts"]
    ids = [
        _id(one.workspace_id, one.limit, "workspace", one.threshold, one.episode)
        for one in ledger.alerts
    ]
    found.compare("alert ids", Counter(ids), Counter(row["id"] for row in alerts))
    actual = Counter(
        Alert(
            row["workspace_id"],
            row["limit"],
            row["threshold_percent"],
            row["episode"],
            row["event_id"],
            int(row["used"]),
            int(row["amount"]),
            row["plan_version"],
        )
        for row in alerts
    )
    found.compare("alerts", Counter(ledger.alerts), actual)


def check_overage(
    read: Rows, ledger: Ledger, checkpoints: dict[int, dict[str, Any]], found: Differences
) -> None:
    """Cumulatives follow on each other, each was true at some event, and the last is all of it.

    Less than a dollar may wait for a minute.
    """
    chains: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    found.compare(
        "overage ids",
        {
            _id(
                row["workspace_id"],
                row["period"],
                0,
                row["from_cumulative_pico"],
                row["to_cumulative_pico"],
            ): 1
            for row in read["usage.overage"]
        },
        Counter(row["id"] for row in read["usage.overage"]),
    )
    for row in sorted(read["usage.overage"], key=lambda row: (row["partition"], row["seq"])):
        chains[row["workspace_id"], row["period"]].append(row)
    for name, account in ledger.accounts.items():
        for period, bill in account.periods.items():
            reached, partition = 0, None
            for row in chains.pop((name, period), []):
                found.check("overage cumulatives")
                start, end = int(row["from_cumulative_pico"]), int(row["to_cumulative_pico"])
                partition = row["partition"]
                if start != reached or end not in bill.cumulatives or row["revision"]:
                    found.add("overage cumulatives", f"{name} {period}: {row} after {reached}")
                reached = end
            waiting = bill.over - reached
            now_ms = max(c["time_ms"] for c in checkpoints.values())
            patient = 0 < waiting < USD and now_ms < bill.last_ms + OVERAGE_WAIT_MS + 10_000
            if waiting and not patient:
                found.add(
                    "overage cumulatives",
                    f"{name} {period} in partition {partition}: {reached} of {bill.over} were sent",
                )
    for chain in chains.values():
        found.add("overage cumulatives", f"nobody was over: {chain[0]}")


def _id(*parts: object) -> str:
    """As the design has it: a hash of what makes a notice that one, whatever happens to it."""
    words = ["" if part is None else str(part) for part in parts]
    text = "".join(f"{len(word)}:{word}" for word in words)
    return blake2b(text.encode(), digest_size=16).hexdigest()

"""The other topics of the workers against the ledger: alerts, overage, dead letters, late rows,
the counters in `workspace.checkpoint`, and the outcome of every record."""

from __future__ import annotations

import json
from base64 import b64decode
from collections import Counter, defaultdict
from typing import Any

from tests.storm.recount.differences import Differences
from tests.storm.recount.ledger import Alert, Ledger
from tests.storm.recount.sent import Inputs
from tests.storm.recount.topics import Log, rows
from tests.support.exact import counted
from tests.support.oracle import USD
from tests.support.rig import CHECKPOINT

OVERAGE_WAIT_MS = 60_000
Rows = dict[str, list[dict[str, Any]]]


def read_outputs(log: Log, found: Differences) -> Rows:
    """The rows of all sequenced topics but the priced ones, without a gap or a repeat."""
    read: Rows = {}
    for topic in ("usage.alerts", "usage.overage", "usage.late", "usage.dead"):
        read[topic] = []
        for partition in range(log.partitions):
            of_partition = list(rows(log, topic, partition))
            seqs = [row["seq"] for row in of_partition]
            found.check(f"seq of {topic}", len(seqs))
            if seqs != list(range(1, len(seqs) + 1)):
                repeated = [n for n, times in Counter(seqs).items() if times > 1]
                gone = sorted({*range(1, max(seqs) + 1)} - {*seqs})
                words = f"partition {partition}: repeated {repeated[:5]}, missing {gone[:5]}"
                found.add(f"seq of {topic}", words)
            read[topic] += of_partition
    return read


def opened(read: Rows) -> dict[tuple[str, str], int]:
    """(limit, event id) of alerts on sliding limits, and the partition time they name."""
    return {
        (row["limit"], row["event_id"]): row["at_ms"]
        for row in read["usage.alerts"]
        if row["window"] == "minute"
    }


def check_alerts(read: Rows, ledger: Ledger, found: Differences) -> None:
    """Each that had to be raised was, once, at the event that did it."""
    alerts = read["usage.alerts"]
    ids = Counter(row["id"] for row in alerts)
    found.compare("alert ids", dict.fromkeys(ids, 1), dict(ids))
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
    found.compare("alerts", dict(Counter(ledger.alerts)), dict(actual))


def check_overage(
    read: Rows, ledger: Ledger, checkpoints: dict[int, dict[str, Any]], found: Differences
) -> None:
    """Cumulatives follow on each other, each was true at some event, and the last is all of it.

    Less than a dollar may wait for a minute.
    """
    chains: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    ids = Counter(row["id"] for row in read["usage.overage"])
    found.compare("overage ids", dict.fromkeys(ids, 1), dict(ids))
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


def check_dead(read: Rows, inputs: Inputs, found: Differences) -> None:
    """Each malformed record is dead, once, for the right reason; and nothing else is."""
    expected = {
        (partition, offset): reason
        for partition, bad in enumerate(inputs.bad)
        for offset, reason in bad.items()
    }
    letters = [(row["partition"], row["offset"]) for row in read["usage.dead"]]
    repeated = [place for place, times in Counter(letters).items() if times > 1]
    for place in repeated:
        found.add("dead letters", f"{place} twice")
    actual = {}
    for row in read["usage.dead"]:
        headers = {h["name"]: h["value_base64"] for h in row["headers"]}
        told = headers.get("storm-bad")
        marked = b64decode(told).decode() if told else ""
        same = marked == row["reason"] and row["topic"] == "usage.events"
        actual[row["partition"], row["offset"]] = row["reason"] if same else f"{row}"
    found.compare("dead letters", expected, actual)


def check_state(log: Log, ledger: Ledger, found: Differences) -> dict[int, dict[str, Any]]:
    """Each counter in `workspace.checkpoint`; returns the last checkpoints."""
    checkpoints: dict[int, dict[str, Any]] = {}
    newest: dict[bytes, bytes] = {}
    for partition in range(log.partitions):
        for message in log.committed("workspace.checkpoint", partition):
            key, value = message.key() or b"", message.value()
            if value is None:
                continue
            if key == CHECKPOINT:
                checkpoints[partition] = json.loads(value)
            else:
                newest[key] = value
    states = {r["workspace_id"]: r["state"] for r in map(json.loads, newest.values())}
    found.compare(
        "workspaces in workspace.checkpoint",
        dict.fromkeys(ledger.accounts, True),
        dict.fromkeys(states, True),
    )
    for name, account in ledger.accounts.items():
        state = states.get(name)
        if state is None:
            continue
        expected: dict[str, Any] = {"total": vars(account.total)}
        actual: dict[str, Any] = {"total": counted(state["total"])}
        for period in {*account.months, *account.periods, *state["months"]}:
            bill = account.periods.get(period)
            kept = state["months"].get(period)
            expected[period] = (
                vars(account.months[period]),
                bill.booked if bill else 0,
                sorted(bill.crossed) if bill else [],
            )
            actual[period] = kept and (
                counted(kept["counted"]),
                kept["booked"],
                sorted(kept["crossed"]),
            )
        found.compare(f"counters of {name}", expected, actual)
    return checkpoints


def check_outcomes(
    inputs: Inputs,
    read: Rows,
    priced: Counter[tuple[str, int]],
    checkpoints: dict[int, dict[str, Any]],
    found: Differences,
) -> None:
    """Each record of both inputs has exactly one outcome. `priced`: rows by topic and partition."""
    written = {topic: Counter(row["partition"] for row in rows_) for topic, rows_ in read.items()}
    for p, checkpoint in checkpoints.items():
        copies, bad = len(inputs.copies[p]), len(inputs.bad[p])
        forwarded = sum(place[0] == p for place in inputs.astray)
        counts = checkpoint["outcomes"]["usage.events"]
        direct = priced["usage.events", p]
        late = counts["late"]
        expected = {
            "read": copies + bad,
            "priced": direct,
            "dead": bad,
            "forwarded": forwarded,
            "late": late,
            "duplicate": copies - direct - forwarded - late,
        }
        found.compare(
            f"outcomes of usage.events/{p}", expected, {n: counts.get(n) for n in expected}
        )
        commands = checkpoint["outcomes"]["workspace.commands"]
        taken = len(inputs.commands[p]) + inputs.other_commands[p]
        brought = priced["workspace.commands", p]
        if commands["read"] != taken or commands["priced"] != brought:
            words = f"{commands}, but {taken} are there and {brought} rows name one"
            found.add(f"outcomes of workspace.commands/{p}", words)
        if checkpoint["late_resolved"] != checkpoint["seq"]["usage.late"]:
            found.add(f"late rows of {p}", f"resolved to {checkpoint['late_resolved']} only")
        total = direct + brought
        expected_seq = {"usage.priced": total} | {
            topic: by_partition[p] for topic, by_partition in written.items()
        }
        found.compare(f"seq in the checkpoint of {p}", expected_seq, checkpoint["seq"])

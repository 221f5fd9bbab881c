"""The other topics of the workers: `seq`, dead letters, late rows, the counters in
`workspace.checkpoint`, and the outcome of every record."""

from __future__ import annotations

import json
from base64 import b64decode
from collections import Counter
from typing import Any

from tests.storm.recount.differences import Differences
from tests.storm.recount.ledger import Ledger
from tests.storm.recount.sent import Inputs, source
from tests.storm.recount.topics import Log, rows
from tests.support.exact import counted
from tests.support.rig import CHECKPOINT

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


def check_late(read: Rows, inputs: Inputs, found: Differences) -> None:
    """Every event that came a day late or more was set aside first, and no other was."""
    late = {copy.number for copies in inputs.copies for copy in copies.values() if copy.late}
    aside: set[int] = set()
    places: set[tuple[int, str, int]] = set()
    for row in read["usage.late"]:
        found.check("late rows")
        place = (row["partition"], row["topic"], row["offset"])
        try:
            copy, _, _ = source(inputs, row["partition"], row)
        except (KeyError, ValueError) as error:
            found.add("late rows", f"{place}: nothing like it was sent, {error!r}")
            continue
        if place in places or not copy.late:
            found.add("late rows", f"{place}: twice, or not late at all")
        places.add(place)
        aside.add(copy.number)
    found.compare("late events", dict.fromkeys(late, True), dict.fromkeys(aside, True))
    found.fact("late events", len(late))


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
        late = sum(r["partition"] == p and r["topic"] == "usage.events" for r in read["usage.late"])
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

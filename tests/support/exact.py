"""Whether what the worker left behind is exactly what was sent."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeAlias

from tests.support.oracle import USD, AlertFact, Oracle, PlanFact
from tests.support.records import Call
from tests.support.rig import Rig

Rows: TypeAlias = dict[str, list[dict[str, Any]]]
"""By topic, in the order of partition and offset."""

SEQUENCED = ("usage.priced", "usage.alerts", "usage.overage", "usage.late", "usage.dead")


def check_seq(rig: Rig) -> Rows:
    """Rows without a gap or a repeat, as many as the checkpoints say."""
    checkpoints = rig.checkpoints()
    rows = {topic: rig.rows(topic) for topic in SEQUENCED}
    for topic, found in rows.items():
        by_partition: dict[int, list[int]] = defaultdict(list)
        for row in found:
            by_partition[row["partition"]].append(row["seq"])
        for partition, checkpoint in checkpoints.items():
            seqs = by_partition[partition]
            assert seqs == list(range(1, checkpoint["seq"][topic] + 1)), (topic, partition)
    return rows


def check_rows(rig: Rig) -> Rows:
    """The same; and every record of an input has exactly one outcome."""
    rows, checkpoints = check_seq(rig), rig.checkpoints()
    written: dict[tuple[str, int], int] = defaultdict(int)
    for topic in ("usage.events", "workspace.commands"):
        for message in rig.read(topic):
            written[topic, message.partition() or 0] += 1
    for partition, checkpoint in checkpoints.items():
        for topic, counts in checkpoint["outcomes"].items():
            assert counts["read"] == written[topic, partition], (topic, partition, counts)
            assert counts["read"] == sum(n for name, n in counts.items() if name != "read")
    outcomes = rig.outcomes()
    forwarded = outcomes["usage.events"].get("forwarded", 0)
    commands = outcomes["workspace.commands"]
    aside = commands.get("repeated", 0)  # those of the late lane, and what was no command
    for checkpoint in checkpoints.values():
        assert checkpoint["late_resolved"] <= checkpoint["seq"]["usage.late"]
        aside += checkpoint["late_resolved"] + checkpoint["refused_commands"]
    assert forwarded == commands.get("read", 0) - aside
    return rows


def check_exact(rig: Rig, sent: Iterable[Call], plans: list[PlanFact] | None = None) -> Rows:
    """`check_rows` and `check_counted`."""
    rows = check_rows(rig)
    check_counted(rig, rows, sent, plans)
    return rows


def check_counted(
    rig: Rig, rows: Rows, sent: Iterable[Call], plans: list[PlanFact] | None = None
) -> None:
    """The rows and each counter against a recount of what was sent (repeats included)."""
    sent = list(sent)
    oracle = Oracle(without_limits(plans or []))
    latest = max(call.time_ms for call in sent)
    for call in sent:
        oracle.take(call, latest)
    priced = {(row["event"]["workspace_id"], row["event_id"]) for row in rows["usage.priced"]}
    assert len(priced) == len(rows["usage.priced"])
    expected = {
        (name, use.call.id) for name, ledger in oracle.ledgers.items() for use in ledger.uses
    }
    assert priced == expected
    state = rig.state()
    assert set(state) == set(oracle.ledgers)
    for name, ledger in oracle.ledgers.items():
        assert counted(state[name]["total"]) == vars(oracle.total(name)), name
        for month, sums in oracle.months(name).items():
            assert counted(state[name]["months"][month]["counted"]) == vars(sums), (name, month)
        for month, bill in ledger.bills.items():
            assert state[name]["months"][month]["booked"] == bill.booked, (name, month)
    thresholds = {
        (row["workspace_id"], row["threshold_percent"], row["episode"])
        for row in rows["usage.alerts"]
        if row["kind"] == "credit_threshold"
    }
    assert thresholds == {
        (name, percent, period)
        for name, ledger in oracle.ledgers.items()
        for period, bill in ledger.bills.items()
        for percent in bill.crossed
    }
    ids = [row["id"] for row in rows["usage.alerts"]]
    assert len(ids) == len(set(ids))


def without_limits(plans: Iterable[PlanFact]) -> list[PlanFact]:
    """For an oracle that lets all events arrive at once, when every limit would be exceeded."""
    return [replace(plan, limits=()) for plan in plans]


def check_alerts(rows: Rows, sent: Iterable[Call], plans: list[PlanFact]) -> None:
    """Every alert, in order: each partition's priced rows once more, before the oracle.

    It is told how far their partition's time had gone on, by them or by the clock.
    """
    calls = {(call.workspace_id, call.id): call for call in sent}
    oracles: dict[int, Oracle] = defaultdict(lambda: Oracle(plans))
    for row in rows["usage.priced"]:  # by partition and offset
        call = calls[row["event"]["workspace_id"], row["event_id"]]
        oracles[row["partition"]].advance(row["judged_ms"])
        oracles[row["partition"]].take(call, row["arrival_ms"])
    found: dict[int, list[AlertFact]] = defaultdict(list)
    for row in rows["usage.alerts"]:
        found[row["partition"]].append(AlertFact.of(row))
    for partition, oracle in oracles.items():
        assert found[partition] == oracle.alerts, partition


def check_overage(rows: Rows, oracle: Oracle) -> None:
    """Of each workspace and period one chain, from nothing to what is beyond the credit; up to a
    dollar may wait for its minute."""
    reached: dict[tuple[str, str], int] = defaultdict(int)
    for row in rows["usage.overage"]:
        key = row["workspace_id"], row["period"]
        assert int(row["from_cumulative_pico"]) == reached[key], key
        assert row["revision"] == 0, key
        reached[key] = int(row["to_cumulative_pico"])
    for name, ledger in oracle.ledgers.items():
        plan = oracle.plan(name, oracle.time)
        for month, bill in ledger.bills.items():
            beyond = max(0, bill.booked - plan.credit) if plan.overage else 0
            assert 0 <= beyond - reached.pop((name, month), 0) < USD, (name, month)
    assert not reached


def plan_versions(rig: Rig, facts: Iterable[PlanFact]) -> None:
    """Write versions to `control.plans` in one transaction, as their writer does."""
    producer = rig.producer(**{"transactional.id": "tests-plans"})
    producer.init_transactions(30)
    producer.begin_transaction()
    for fact in facts:
        version = {
            "version": fact.version,
            "workspace_id": fact.workspace_id,
            "plan": {
                "credit_pico": fact.credit,
                "limits": [limit._asdict() for limit in fact.limits],
                "overage": fact.overage,
                "markup_percent": fact.markup,
                "prices": [
                    {
                        "provider": provider,
                        "model": model,
                        "valid_from": "2020-01-01T00:00:00Z",
                        "prices": {"input": price_in, "output": price_out},
                    }
                    for provider, model, price_in, price_out in fact.own
                ],
                "counted_cost": "reported" if fact.reported else "computed",
            },
            "effective_from_ms": fact.from_ms,
            "written_at_ms": 0,
            "author": "tests",
        }
        key = (fact.workspace_id or "").encode()
        producer.produce("control.plans", json.dumps(version).encode(), key, 0)
    producer.commit_transaction(30)


def counted(counters: dict[str, int]) -> dict[str, int]:
    """The counters that the oracle keeps, too."""
    return {name: value for name, value in counters.items() if name != "blocked"}

"""`usage.priced`, row by row, against the inputs and the generator: every event once, at its price.

Hands each verified row on, in the order it was counted in: what follows from the rows (alerts,
overage, counters, roll-ups) is worked out again from them.
"""

from __future__ import annotations

from collections.abc import Iterator
from sys import intern
from typing import Any, NamedTuple

from tests.storm.recount.differences import Differences
from tests.storm.recount.home import home
from tests.storm.recount.prices import OperatorPrices
from tests.storm.recount.sent import Copy, Inputs, source
from tests.storm.recount.topics import Log, rows
from tests.storm.traffic import Traffic
from tests.support.oracle import HOUR, PlanFact, charge_of, month
from tests.support.oracle import _end as month_end
from tests.support.oracle_prices import Prices, sides_of
from tests.support.records import Call


class Bill(NamedTuple):
    """Pico-USD, None where it is not known; `sides` are those of input and output, where the cost
    that counts is their sum."""

    computed: int | None
    reported: int | None
    cost: int | None
    charge: int | None
    quality: str
    sides: tuple[int, int]


class Counted(NamedTuple):
    """A verified row. `now_ms`: partition time when it was counted, as it says."""

    call: Call
    topic: str
    partition: int
    seq: int
    counted_ms: int
    arrival_ms: int
    now_ms: int
    bill: Bill
    price_version: str
    period: str


def counted(
    log: Log, traffic: Traffic, inputs: Inputs, plans: list[PlanFact], found: Differences
) -> Iterator[Counted]:
    """All rows, partition after partition."""
    seen: set[int] = set()
    prices = OperatorPrices(log, found)
    in_force = {plan.workspace_id: plan for plan in plans}
    for partition in range(log.partitions):
        of_rows = prices.of_partition(partition)
        first = _first_copies(inputs, partition, traffic)
        now_ms = seq = 0
        for row in rows(log, "usage.priced", partition):
            found.check("priced rows")
            where = f"usage.priced/{partition} seq {row['seq']}"
            if row["seq"] != seq + 1:
                found.add("seq of usage.priced", f"{where} after {seq}")
            seq = row["seq"]
            try:
                number = traffic.number(row["event_id"])
                copy, stamp_ms, origin = source(inputs, partition, row)
            except (KeyError, ValueError) as error:
                found.add("priced rows without a source", f"{where}: {error!r}")
                continue
            if number in seen:
                found.add("events priced twice", f"{where}: {row['event_id']}")
                continue
            seen.add(number)
            if row["judged_ms"] < max(now_ms, stamp_ms):
                found.add("partition time goes back", f"{where}: {row['judged_ms']}")
            now_ms = row["judged_ms"]
            if row["topic"] == "usage.events" and copy.late:
                found.add("late events counted at once", f"{where}: {origin}")
            if row["topic"] == "usage.events" and first[number] != origin[1]:
                found.add("not the first copy", f"{where}: {origin}, first at {first[number]}")
            call = traffic.call(number, 0)
            plan = in_force.get(call.workspace_id, PlanFact())
            bill = _bill(plan, call, of_rows.of(seq, row["price_version"], where, found))
            expected = _expected(call, copy, now_ms, plan, bill)
            actual = {name: row[name] for name in expected} | {"event": _plain(row["event"])}
            if actual != expected:
                found.add("priced rows", f"{where}: {actual} instead of {expected}")
            if home(call.workspace_id.encode(), log.partitions) != partition:
                found.add("priced rows", f"{where}: {call.workspace_id} lives elsewhere")
            yield Counted(
                call,
                row["topic"],
                partition,
                seq,
                min(copy.time_ms, copy.arrival_ms),
                copy.arrival_ms,
                now_ms,
                bill,
                intern(row["price_version"]),
                str(expected["billing_period"]),
            )
    prices.check_used()
    sent = {copy.number for copies in inputs.copies for copy in copies.values()}
    for number in sorted(sent - seen):
        found.add("events lost", f"s{traffic.seed}-{number}")


def _bill(plan: PlanFact, call: Call, prices: Prices) -> Bill:
    sides = sides_of(call, prices)
    computed = None if sides is None else sum(sides)
    reported = int(call.more["reported_cost_pico"]) if "reported_cost_pico" in call.more else None
    cost, charge = charge_of(plan, call, prices)
    if plan.reported and reported is not None:
        quality = "provider_reported"
    else:
        quality = "unpriced" if cost is None else "measured"
    its_own = sides is not None and cost == computed
    return Bill(computed, reported, cost, charge, quality, sides if sides and its_own else (0, 0))


def _expected(call: Call, copy: Copy, now_ms: int, plan: PlanFact, bill: Bill) -> dict[str, Any]:
    counted_ms = min(copy.time_ms, copy.arrival_ms)
    own = month(counted_ms)
    period = own if now_ms < month_end(own) + HOUR else month(now_ms)
    return {
        "event_id": call.id,
        "time_ms": copy.time_ms,
        "arrival_ms": copy.arrival_ms,
        "counted_ms": counted_ms,
        "event": _plain(call.data()),
        "computed_cost_pico": None if bill.computed is None else str(bill.computed),
        "cost_pico": None if bill.cost is None else str(bill.cost),
        "charge_pico": None if bill.charge is None else str(bill.charge),
        "cost_quality": bill.quality,
        "plan_version": plan.version,
        "billing_period": period,
        "origin_period": None if period == own else own,
    }


def _plain(event: dict[str, Any]) -> dict[str, Any]:
    """Without tokens that are 0, which an emitter leaves out."""
    if "usage" not in event:
        return event
    return event | {"usage": {name: n for name, n in event["usage"].items() if n}}


def _first_copies(inputs: Inputs, partition: int, traffic: Traffic) -> dict[int, int]:
    """Of each event that came to its own partition: where it came first."""
    first: dict[int, int] = {}
    for offset, copy in inputs.copies[partition].items():
        if (partition, offset) not in inputs.astray:
            first.setdefault(copy.number, offset)
    return first

"""The recount: what must be there, from the inputs alone, and whether it is.

Shares no code with the pipeline: events are made again from their numbers, prices are the
oracle's, and everything else is added up here.
"""

from __future__ import annotations

from collections import Counter

from clickhouse_connect.driver.client import Client

from tests.storm.recount.differences import Differences
from tests.storm.recount.ledger import Ledger
from tests.storm.recount.notices import check_alerts, check_overage
from tests.storm.recount.outputs import (
    check_dead,
    check_late,
    check_outcomes,
    check_state,
    read_outputs,
)
from tests.storm.recount.priced import counted
from tests.storm.recount.published import check_published
from tests.storm.recount.sent import read_inputs
from tests.storm.recount.stored import Stored
from tests.storm.recount.topics import Log
from tests.storm.traffic import Traffic
from tests.support.oracle import PlanFact


def recount(
    log: Log, client: Client | None, traffic: Traffic, plans: list[PlanFact]
) -> Differences:
    """Everything, once all has settled. Without a `client`, all but ClickHouse."""
    found = Differences()
    inputs = read_inputs(log, traffic, found)
    read = read_outputs(log, found)
    ledger, stored = Ledger(plans), Stored()
    priced: Counter[tuple[str, int]] = Counter()
    for row in counted(log, traffic, inputs, plans, found):
        ledger.take(row)
        stored.take(row)
        priced[row.topic, row.partition] += 1
    check_alerts(read, ledger, found)
    check_dead(read, inputs, found)
    check_late(read, inputs, found)
    checkpoints = check_state(log, ledger, found)
    check_overage(read, ledger, checkpoints, found)
    check_published(log, ledger, checkpoints, found)
    check_outcomes(inputs, read, priced, checkpoints, found)
    if client is not None:
        stored.check(client, read, found)
    found.fact("late rows", len(read["usage.late"]))
    found.fact("alerts", len(read["usage.alerts"]))
    found.fact("overage records", len(read["usage.overage"]))
    found.fact("dead letters", len(read["usage.dead"]))
    return found

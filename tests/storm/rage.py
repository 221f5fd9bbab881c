"""A storm from its beginning to its verdict."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.servers.clickhouse import ChdbClickHouse
from tests.servers.kafka import KafkaServer
from tests.storm.faults.base import PATIENCE_S, Fault
from tests.storm.faults.clickhouse import DiskFull
from tests.storm.plan import Planned, plan
from tests.storm.recount import recount
from tests.storm.recount.differences import Differences
from tests.storm.rig import DATABASE, Storm, seen
from tests.storm.traffic import Traffic
from tests.support.small_disk import SmallDisk

ATTEMPTS: Final = 3
"""A fault that did not land is struck so often."""
FAULT_S: Final = 14.0
"""What a fault takes with its recovery, before there is experience."""
FULL_RATE: Final = 20_000.0
SETTLE_S: Final = 420.0
OVERAGE_S: Final = 75.0
PUBLISHED_S: Final = 4.0
"""Within this time the last change of a workspace is in `workspace.state`."""


@dataclass
class Struck:
    """One planned fault and what came of it; `recovery_s` None: there was nothing to recover."""

    planned: Planned
    strikes: int = 0
    evidence: str | None = None
    recovery_s: float | None = None


@dataclass
class Outcome:
    """`complaints`: what went wrong beside differences."""

    traffic: Traffic
    struck: list[Struck] = field(default_factory=list)
    differences: Differences = field(default_factory=Differences)
    complaints: list[str] = field(default_factory=list)
    sending_s: float = 0
    recount_s: float = 0
    total_s: float = 0

    @property
    def landed(self) -> list[Struck]:
        return [one for one in self.struck if one.evidence]

    @property
    def missed(self) -> list[str]:
        """Kinds that never landed: nothing is proved about them."""
        landed = {one.planned.kind for one in self.landed}
        return sorted(
            {one.planned.kind.kind for one in self.struck if one.planned.kind not in landed}
        )

    @property
    def exact(self) -> bool:
        return not self.complaints and not self.differences.count


def say(words: str) -> None:
    """A progress line: on stderr, so that stdout holds the report alone."""
    print(words, file=sys.stderr, flush=True)


def rage(
    traffic: Traffic,
    faults: int,
    directory: Path,
    broker: KafkaServer,
    clickhouse: ChdbClickHouse,
    only: Sequence[str] = (),
    tell: Callable[[str], None] = say,
    patient: bool = True,
    disk: SmallDisk | None = None,
) -> Outcome:
    """Run a storm.

    Args:
        patient: wait until the last cent of overage was sent, too; less than a dollar may otherwise
            be waiting for its minute, and the workers are stopped before the recount.
        disk: on which ClickHouse's data lies. None: it cannot be filled.
    """
    outcome = Outcome(traffic)
    begun = time.monotonic()
    storm = Storm(traffic, directory, broker, clickhouse, disk)
    try:
        storm.start()
        tell(f"{time.monotonic() - begun:5.0f} s: two workers, two sinks and the emitters run")
        sending = time.monotonic()
        planned = plan(traffic.seed, faults, only, without=() if disk else (DiskFull,))
        _strike_all(storm, planned, outcome, tell)
        storm.let_send(FULL_RATE, 1.0)
        if not _wait_sent(storm, tell):
            outcome.complaints.append("the emitters did not get rid of all events")
        outcome.sending_s = time.monotonic() - sending
        settled = _wait_settled(storm, tell)
        if not settled:
            outcome.complaints.append(f"not settled within {SETTLE_S:.0f} s\n{storm.complaint()}")
        if settled and patient:
            tell("waiting a minute for the last overage")
            time.sleep(OVERAGE_S)
        elif settled:
            # what is pending stays pending: nothing may change while it is recounted
            time.sleep(PUBLISHED_S)
            _end_workers(storm)
            settled = _wait_settled(storm, tell)
        tell("recounting")
        recounting = time.monotonic()
        client = storm.clickhouse.client(DATABASE)
        outcome.differences = recount(storm, client, traffic, storm.plans)
        client.close()
        outcome.recount_s = time.monotonic() - recounting
        for process in (*storm.streams, *storm.sinks):
            if not process.process.running():
                words = process.process.log[-1500:]
                outcome.complaints.append(f"{process.name} ended by itself:\n{words}")
    finally:
        storm.close()
    outcome.total_s = time.monotonic() - begun
    return outcome


def _strike_all(
    storm: Storm, planned: list[Planned], outcome: Outcome, tell: Callable[[str], None]
) -> None:
    begun = time.monotonic()
    shares = len(planned) + 3
    for number, one in enumerate(planned):
        each_s = (time.monotonic() - begun) / number if number else FAULT_S
        rate = storm.traffic.events / len(planned) / max(each_s, 1.0)
        time.sleep(one.pause_s)
        struck = Struck(one)
        outcome.struck.append(struck)
        fault: Fault | None = None
        while struck.strikes < ATTEMPTS and not struck.evidence:
            # every fault has its share of the traffic: one that took long leaves some to the others
            share = number + 1 + struck.strikes / 2
            storm.let_send(rate, share / shares)
            fault = one.fault(struck.strikes)
            struck.strikes += 1
            fault.strike(storm)
            struck.evidence = fault.evidence
        if fault is not None and not one.hurry:
            # that something goes on shows in events that come afterwards
            storm.let_send(rate, (number + 1.5 + struck.strikes / 2) / shares)
            struck.recovery_s = fault.recovered(storm)
            if struck.recovery_s == math.inf:
                words = f"no recovery within {PATIENCE_S:.0f} s from {one.kind.kind}"
                outcome.complaints.append(f"{words}\n{storm.complaint()}")
        took = f", {struck.recovery_s:.1f} s" if struck.recovery_s is not None else ""
        tell(
            f"{time.monotonic() - begun:5.0f} s: {storm.sent()} of {storm.traffic.events} events,"
            f" fault {number + 1}/{len(planned)} {one.kind.kind}:"
            f" {struck.evidence or 'did not land'}{took}"
        )


def _wait_sent(storm: Storm, tell: Callable[[str], None]) -> bool:
    tell("waiting for the emitters")

    def sent() -> bool:
        return storm.sent() >= storm.traffic.events or _emitters_dead(storm)

    return seen(sent, SETTLE_S + 600, 0.5) and not _emitters_dead(storm)


def _emitters_dead(storm: Storm) -> bool:
    """Whether one ended that was not done."""
    return any(
        not emitter.process.running() and '"done"' not in emitter.process.log
        for emitter in storm.emitters
    )


def _end_workers(storm: Storm) -> None:
    for worker in list(storm.streams):
        worker.process.stop(60)
        storm.forget(worker)


def _wait_settled(storm: Storm, tell: Callable[[str], None]) -> bool:
    """Every record of both inputs has its outcome, and ClickHouse has every row."""
    tell("waiting until all is settled")
    client = storm.clickhouse.client(DATABASE)
    query = "SELECT topic, partition, max(seq) FROM positions GROUP BY topic, partition"

    def settled() -> bool:
        checkpoints = storm.last_checkpoints()
        if len(checkpoints) < storm.partitions:
            return False
        for topic in ("usage.events", "workspace.commands"):
            ends = storm.input_ends(topic)
            if any(c["inputs"][topic]["upto"] < ends[p] for p, c in checkpoints.items()):
                return False
        if any(c["late_resolved"] < c["seq"]["usage.late"] for c in checkpoints.values()):
            return False
        stored = {(str(t), int(p)): int(seq) for t, p, seq in client.query(query).result_rows}
        return all(
            stored.get((topic, p), 0) >= seq
            for p, checkpoint in checkpoints.items()
            for topic, seq in checkpoint["seq"].items()
        )

    try:
        held = seen(settled, SETTLE_S, 1.0)
        busy = "SELECT count() FROM system.processes WHERE query_kind = 'Insert'"
        return held and seen(lambda: not client.command(busy), 60)
    finally:
        client.close()

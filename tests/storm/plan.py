"""Which faults, in which order, with which details: from the seed alone."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from tests.storm.faults import clickhouse, kafka, producers, sinks, workers
from tests.storm.faults.base import Fault

KINDS: Final[dict[type[Fault], int]] = {
    workers.WorkerKilled: 8,
    workers.WorkersKilled: 3,
    workers.PricesSet: 3,
    workers.WorkerZombie: 5,
    workers.IdleWorkerZombie: 3,
    workers.WorkerPaused: 2,
    workers.WorkerJoins: 2,
    workers.WorkerLeaves: 2,
    sinks.SinkKilled: 8,
    sinks.SinksKilled: 3,
    sinks.SinkZombie: 4,
    sinks.SinkJoins: 2,
    sinks.SinkLeaves: 2,
    sinks.IntentsForgotten: 1,
    clickhouse.ClickHouseStopped: 2,
    clickhouse.ClickHouseKilled: 6,
    clickhouse.BothKilled: 6,
    clickhouse.ClickHouseSlow: 2,
    clickhouse.ErrorAfterInsert: 6,
    clickhouse.CutAfterInsert: 6,
    clickhouse.DiskFull: 4,
    kafka.BrokerStopped: 2,
    kafka.BrokerKilled: 2,
    kafka.HangingInput: 3,
    kafka.HangingCheckpoint: 3,
    kafka.AbortedRecordsShow: 3,
    producers.EmitterKilled: 4,
    producers.ClocksWrong: 3,
}
"""Every kind of fault, and how often it comes among the others."""
BY_NAME: Final = {kind.kind: kind for kind in KINDS}
HURRY: Final = 0.2
"""So many faults strike before the last one is over."""


@dataclass(frozen=True, slots=True)
class Planned:
    """`seed` decides the fault's details; `pause_s` comes before it."""

    kind: type[Fault]
    seed: str
    pause_s: float
    hurry: bool

    def fault(self, attempt: int) -> Fault:
        return self.kind(f"{self.seed}/{attempt}")


def plan(
    seed: int, count: int, only: Sequence[str] = (), without: Collection[type[Fault]] = ()
) -> list[Planned]:
    """`count` faults; each kind once before any comes twice, where there are enough.

    Args:
        only: names the kinds to choose from; with none of them, all.
        without: kinds for which this machine lacks something.
    """
    dice = random.Random(f"plan {seed}")
    wanted = [BY_NAME[name] for name in only] or list(KINDS)
    kinds = {kind: KINDS[kind] for kind in wanted if kind not in without}
    chosen = list(kinds)
    dice.shuffle(chosen)
    chosen = chosen[:count]
    rest = dice.choices(list(kinds), list(kinds.values()), k=count - len(chosen))
    chosen += rest
    dice.shuffle(chosen)
    return [
        Planned(kind, f"{seed}/{number}", dice.uniform(0.2, 2.5), dice.random() < HURRY)
        for number, kind in enumerate(chosen)
    ]

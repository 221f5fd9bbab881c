"""Workers die, hang and come back as zombies, come and go."""

from __future__ import annotations

import math
import signal
import time
from typing import ClassVar

from tests.storm.faults.base import (
    LOOK_S,
    PATIENCE_S,
    PAUSES_S,
    Fault,
    all_again,
    paused_in_transaction,
)
from tests.storm.rig import SESSION_S, Storm, seen
from tests.storm.watch import Watched


class _OnWorker(Fault):
    """Recovered once all partitions that it took run again."""

    partitions: set[int]

    def recovered(self, storm: Storm) -> float | None:
        if not self.partitions:
            return None
        return all_again(storm, "partition_runs", self.partitions, self.struck_at)

    def pick(self, storm: Storm) -> tuple[Watched, set[int]]:
        """A worker that has partitions."""
        owners = storm.stream_owners()
        having = [w for w in storm.streams if w in owners.values() and w.process.running()]
        worker = self.random.choice(having or storm.streams)
        self.partitions = {p for p, owner in owners.items() if owner is worker}
        return worker, self.partitions


class WorkerKilled(_OnWorker):
    kind: ClassVar[str] = "worker killed"

    def strike(self, storm: Storm) -> None:
        worker, partitions = self.pick(storm)
        open_ = paused_in_transaction(storm, worker, partitions)
        self.now()
        worker.process.kill()
        storm.forget(worker)
        storm.start_stream()
        if open_:
            self.evidence = f"{worker.name} died inside {', '.join(open_)}"


class WorkersKilled(_OnWorker):
    kind: ClassVar[str] = "all workers killed"

    def strike(self, storm: Storm) -> None:
        worker, partitions = self.pick(storm)
        open_ = paused_in_transaction(storm, worker, partitions)
        self.partitions = set(range(storm.partitions))
        self.now()
        dying = list(storm.streams)
        for one in dying:
            one.process.kill()
            storm.forget(one)
        self.while_none_runs(storm)
        for _ in dying:
            storm.start_stream()
        if open_:
            self.evidence = f"{len(dying)} died, one inside {', '.join(open_)}"

    def while_none_runs(self, storm: Storm) -> None:
        """Before others are started."""


class PricesSet(WorkersKilled):
    """One price while all run, and one when all are dead: the batches that died with them are done
    again, and priced as they were the first time."""

    kind: ClassVar[str] = "prices set and all workers killed"

    def strike(self, storm: Storm) -> None:
        running = storm.set_price()
        super().strike(storm)
        if self.evidence:
            self.evidence += f"; price {running} was set before, {self.meanwhile} meanwhile"

    def while_none_runs(self, storm: Storm) -> None:
        self.meanwhile = storm.set_price()


class WorkerZombie(_OnWorker):
    """SIGSTOP until the others have its partitions, then SIGCONT: its commit must be refused."""

    kind: ClassVar[str] = "worker zombie"

    def strike(self, storm: Storm) -> None:
        worker, partitions = self.pick(storm)
        if len(storm.streams) < 2:
            storm.start_stream()
        open_ = paused_in_transaction(storm, worker, partitions)
        self.now()
        worker.process.pause()
        taken = all_again(storm, "partition_runs", partitions, self.struck_at)
        woken = time.time()
        worker.process.resume()
        if open_ and math.isfinite(taken) and (fenced := _fenced(worker, woken)):
            self.evidence = (
                f"{worker.name} was replaced, woke inside {open_[0]}, fenced at {fenced}"
            )


class IdleWorkerZombie(_OnWorker):
    """SIGSTOP with no transaction open, so that none is aborted while it sleeps. The others have
    gone on long before SIGCONT, when it begins one: that it was fenced is all that stops it.

    Nothing else is sent meanwhile: what it wrote would be the last word of its partitions.
    """

    kind: ClassVar[str] = "idle worker zombie"

    def strike(self, storm: Storm) -> None:
        worker, partitions = self.pick(storm)
        if len(storm.streams) < 2:
            storm.start_stream()
        with storm.silence():
            if not _paused_outside_transactions(storm, worker, partitions):
                return
            self.now()
            taken = all_again(storm, "partition_runs", partitions, self.struck_at)
            before = storm.priced.stable_ends()
            storm.send_extra(200)
            seen(lambda: _moved(storm, before) >= partitions, LOOK_S)
            ours = _moved(storm, before) & partitions
            woken = time.time()
            worker.process.resume()
            fenced = _fenced(worker, woken)
        if math.isfinite(taken) and ours & set(fenced):
            self.evidence = (
                f"{worker.name} slept outside transactions, others committed to {sorted(ours)},"
                f" it woke and was fenced at {fenced}"
            )


def _paused_outside_transactions(storm: Storm, worker: Watched, partitions: set[int]) -> bool:
    """SIGSTOP at a moment when the worker holds no rows in a transaction; whether there was one."""
    deadline = time.monotonic() + PAUSES_S
    while time.monotonic() < deadline:
        worker.process.pause()
        if partitions and not storm.priced.held(partitions):
            return True
        worker.process.resume()
        time.sleep(0.1)
    return False


def _moved(storm: Storm, before: dict[int, int]) -> set[int]:
    """Partitions in which more is committed than before."""
    return {p for p, end in storm.priced.stable_ends().items() if end > before[p]}


def _fenced(worker: Watched, since: float) -> list[int]:
    """Partitions of which it logs that it was fenced, once it has done so."""
    seen(lambda: worker.lines("partition_fenced", since), 10)
    return sorted({line["partition"] for line in worker.lines("partition_fenced", since)})


class WorkerPaused(_OnWorker):
    """SIGSTOP for less than the session: nobody may notice, least of all the figures."""

    kind: ClassVar[str] = "worker paused"

    def strike(self, storm: Storm) -> None:
        worker, partitions = self.pick(storm)
        open_ = paused_in_transaction(storm, worker, partitions)
        self.now()
        worker.process.pause()
        time.sleep(self.random.uniform(0.3, 0.5) * SESSION_S)
        worker.process.resume()
        if open_ and not worker.lines("partition_fenced", self.struck_at):
            self.evidence = f"{worker.name} slept inside {', '.join(open_)}"

    def recovered(self, storm: Storm) -> float | None:
        return None


class WorkerJoins(_OnWorker):
    """One more for the group; where there are already three, one of them goes first."""

    kind: ClassVar[str] = "worker added"

    def strike(self, storm: Storm) -> None:
        if len(storm.streams) > 2:
            _, code = _let_go(storm, self.random.choice(storm.streams))
            assert code == 0, f"a worker ended with {code}"
        self.now()
        new = storm.start_stream()
        self.partitions = set(range(storm.partitions))
        if seen(lambda: new.lines("partition_runs"), PATIENCE_S):
            self.evidence = f"{new.name} got {sorted(new.starts('partition_runs'))}"


class WorkerLeaves(_OnWorker):
    kind: ClassVar[str] = "worker removed"

    def strike(self, storm: Storm) -> None:
        if len(storm.streams) < 3:
            new = storm.start_stream()
            seen(lambda: new.lines("partition_runs"), PATIENCE_S)
        worker, self.partitions = self.pick(storm)
        self.now()
        name, code = _let_go(storm, worker)
        if code == 0 and self.partitions:
            self.evidence = f"{name} gave {sorted(self.partitions)} back"


def _let_go(storm: Storm, worker: Watched) -> tuple[str, int]:
    """SIGTERM, and the exit code."""
    code = worker.process.stop(60)
    storm.forget(worker)
    return worker.name, 0 if code == -signal.SIGTERM else code

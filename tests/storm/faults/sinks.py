"""Sinks die with an insert on its way, hang and come back, come and go, lose their intents."""

from __future__ import annotations

import math
import threading
import time
from typing import ClassVar

from tests.storm.faults.base import LOOK_S, PATIENCE_S, AtInsert, Fault, all_again
from tests.storm.proxy import Insert
from tests.storm.rig import Storm, seen
from tests.storm.watch import Watched
from tests.support.clickhouse_proxy import Answer


class _OnSink(Fault):
    partitions: set[int]

    def recovered(self, storm: Storm) -> float | None:
        if not self.partitions:
            return None
        return all_again(storm, "reading", self.partitions, self.struck_at)


def owner_of(storm: Storm, insert: Insert | None) -> Watched | None:
    """Whose insert that is."""
    if insert is None:
        return None
    owner = storm.sink_owners().get(insert.partition)
    return owner if owner in storm.sinks and owner.process.running() else None


class SinkKilled(_OnSink):
    """In the middle of an insert: before ClickHouse hears of it, while it runs, or when it is in
    and the sink was not told."""

    kind: ClassVar[str] = "sink killed"

    def strike(self, storm: Storm) -> None:
        self.partitions = set()
        way = self.random.choice(("before", "while", "after"))
        held, dead = threading.Event(), threading.Event()
        answers: list[Answer] = []

        def act(insert: Insert) -> None:
            if way == "while":
                running = threading.Thread(target=lambda: answers.append(insert.forward()))
                running.start()
            elif way == "after":
                answers.append(insert.forward())
            held.set()
            dead.wait(30)
            if way == "while":
                running.join()

        with AtInsert(storm, act) as at:
            held.wait(LOOK_S)
            sink = owner_of(storm, at.caught)
            if sink is not None:
                self.partitions = storm.partitions_of(sink)
                self.now()
                sink.process.kill()
                storm.forget(sink)
                storm.start_sink()
            dead.set()
        if sink is None or at.caught is None:
            return
        told = {
            "before": "its insert never left",
            "while": "ClickHouse acknowledged the insert after its sink had died",
            "after": "ClickHouse had the insert, the sink was never told",
        }
        if way == "before" or (answers and answers[0].ok):
            self.evidence = f"{sink.name}: {told[way]} ({at.caught.token})"


class SinksKilled(_OnSink):
    kind: ClassVar[str] = "all sinks killed"

    def strike(self, storm: Storm) -> None:
        self.partitions = set(range(storm.partitions))
        held, dead = threading.Event(), threading.Event()
        answers: list[Answer] = []

        def act(insert: Insert) -> None:
            answers.append(insert.forward())
            held.set()
            dead.wait(30)

        with AtInsert(storm, act) as at:
            caught = held.wait(LOOK_S)
            self.now()
            dying = list(storm.sinks)
            for sink in dying:
                sink.process.kill()
                storm.forget(sink)
            for _ in dying:
                storm.start_sink()
            dead.set()
        if caught and answers[0].ok and at.caught:
            self.evidence = f"{len(dying)} died, one with {at.caught.token} in and not told"


class SinkZombie(_OnSink):
    """SIGSTOP with an insert under way until the others have its partitions, then SIGCONT."""

    kind: ClassVar[str] = "sink zombie"

    def strike(self, storm: Storm) -> None:
        self.partitions = set()
        if len(storm.sinks) < 2:
            new = storm.start_sink()
            seen(lambda: new.lines("reading"), PATIENCE_S)
        asleep = threading.Event()
        found: list[Watched] = []

        def act(insert: Insert) -> Answer:
            sink = owner_of(storm, insert)
            if sink is not None:
                sink.process.pause()
                found.append(sink)
            asleep.set()
            return insert.forward()

        with AtInsert(storm, act) as at:
            asleep.wait(LOOK_S)
        if not found or at.caught is None:
            return
        sink = found[0]
        self.partitions = storm.partitions_of(sink)
        self.now()
        taken = all_again(storm, "reading", self.partitions, self.struck_at)
        woken = time.time()
        sink.process.resume()

        def lost() -> bool:
            return bool(sink.lines("joining again", woken) or sink.lines("given away", woken))

        if self.partitions and math.isfinite(taken) and seen(lost, 20):
            self.evidence = f"{sink.name} woke with {at.caught.token}, replaced, and gave way"


class SinkJoins(_OnSink):
    kind: ClassVar[str] = "sink added"

    def strike(self, storm: Storm) -> None:
        if len(storm.sinks) > 2:
            leaving = self.random.choice(storm.sinks)
            leaving.process.stop(60)
            storm.forget(leaving)
        self.now()
        new = storm.start_sink()
        self.partitions = set(range(storm.partitions))
        if seen(lambda: new.lines("reading"), PATIENCE_S):
            self.evidence = f"{new.name} got {sorted(new.starts('reading'))}"


class SinkLeaves(_OnSink):
    kind: ClassVar[str] = "sink removed"

    def strike(self, storm: Storm) -> None:
        if len(storm.sinks) < 3:
            new = storm.start_sink()
            seen(lambda: new.lines("reading"), PATIENCE_S)
        sink = self.random.choice(storm.sinks)
        self.partitions = storm.partitions_of(sink)
        self.now()
        code = sink.process.stop(60)
        storm.forget(sink)
        if code == 0 and self.partitions:
            self.evidence = f"{sink.name} gave {sorted(self.partitions)} back"


class IntentsForgotten(_OnSink):
    """The sinks are stopped in order and `sink.positions` is made anew, as an operator may do: all
    that Kafka still has is read again, and dropped by its `seq`."""

    kind: ClassVar[str] = "intents forgotten"

    def strike(self, storm: Storm) -> None:
        self.partitions = set(range(storm.partitions))
        leaving = list(storm.sinks)
        self.now()
        codes = []
        with storm.silence():  # one that always finds more to load is not in order when it must go
            for sink in leaving:
                codes.append(sink.process.stop(60))
                storm.forget(sink)
        in_order = not any(s.lines("stopped before all was loaded") for s in leaving)
        if in_order and not any(codes):
            # a compacted topic lets nobody delete records: it is made anew
            storm.make_anew("sink.positions")
        fresh = [storm.start_sink() for _ in leaving]
        if not seen(
            lambda: self.partitions <= storm.runs_since("reading", self.struck_at).keys(),
            PATIENCE_S,
        ):
            return
        lines = [line for sink in fresh for line in sink.lines("reading")]
        # one that comes second takes some over where the first is by then
        again = {line["partition"] for line in lines if line["starts"]["usage.priced"] < 0}
        if in_order and again == self.partitions:
            self.evidence = f"{len(again)} partitions were read again from their beginning"

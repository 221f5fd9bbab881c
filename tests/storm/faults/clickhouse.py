"""ClickHouse dies, fills up, is slow, and says one thing while it did another."""

from __future__ import annotations

import http.client
import threading
import time
from typing import ClassVar

from tests.storm.faults.base import LOOK_S, AtInsert, Fault, gone_on
from tests.storm.faults.sinks import owner_of
from tests.storm.proxy import Insert
from tests.storm.rig import Storm, seen
from tests.support.clickhouse_proxy import Answer


class _OnClickHouse(Fault):
    """Recovered with the next insert that goes well after `back`."""

    _acknowledged = 0
    _back = 0.0

    def back(self, storm: Storm) -> None:
        self._back, self._acknowledged = time.time(), storm.proxy.acknowledged

    def recovered(self, storm: Storm) -> float | None:
        return gone_on(storm, self._back, self._acknowledged) + self._back - self.struck_at


class ClickHouseStopped(_OnClickHouse):
    """Nobody answers for some seconds."""

    kind: ClassVar[str] = "ClickHouse refuses"

    def strike(self, storm: Storm) -> None:
        refused = storm.proxy.refused
        self.now()
        storm.clickhouse.stop()
        seen(lambda: storm.proxy.refused > refused, LOOK_S)
        time.sleep(self.random.uniform(0, 3))
        found = storm.proxy.refused - refused
        storm.clickhouse.start()
        self.back(storm)
        if found:
            self.evidence = f"{found} requests of sinks found nobody"


class ClickHouseKilled(_OnClickHouse):
    """kill -9 while an insert and its views run. `sink`: its sink dies, too, so that nobody
    remembers what was under way but the intent."""

    kind: ClassVar[str] = "ClickHouse killed amid views"
    sink: ClassVar[bool] = False

    def strike(self, storm: Storm) -> None:
        patience = self.random.uniform(0.01, 0.12)
        cut: list[str] = []
        dead = threading.Event()

        def act(insert: Insert) -> None:
            def forward() -> None:
                try:
                    insert.forward()
                except (OSError, http.client.HTTPException) as error:
                    cut.append(type(error).__name__)

            running = threading.Thread(target=forward)
            running.start()
            time.sleep(patience)
            sink = owner_of(storm, insert) if self.sink else None
            self.now()
            storm.clickhouse.kill()
            if sink is not None:
                sink.process.kill()
                storm.forget(sink)
                storm.start_sink()
            running.join()
            dead.set()

        with AtInsert(storm, act) as at:
            dead.wait(LOOK_S + 10)
        if not dead.is_set():
            self.now()
            storm.clickhouse.kill()
        storm.clickhouse.start()
        self.back(storm)
        if cut and at.caught:
            self.evidence = (
                f"{at.caught.token} was cut off after {patience * 1000:.0f} ms ({cut[0]})"
            )


class BothKilled(ClickHouseKilled):
    kind: ClassVar[str] = "ClickHouse and sink killed"
    sink: ClassVar[bool] = True


class ClickHouseSlow(_OnClickHouse):
    kind: ClassVar[str] = "ClickHouse slow"

    def strike(self, storm: Storm) -> None:
        seconds = self.random.uniform(1, 3)
        answered: list[Answer] = []

        def act(insert: Insert) -> Answer:
            time.sleep(seconds)
            answered.append(insert.forward())
            return answered[-1]

        self.now()
        with AtInsert(storm, act, table="", times=4) as at:
            at.begun.wait(LOOK_S)
            time.sleep(seconds)
        self.back(storm)
        if any(answer.ok for answer in answered):
            self.evidence = f"{len(answered)} inserts took {seconds:.1f} s longer"


class _AfterTheInsert(_OnClickHouse):
    """ClickHouse takes the insert, and the sink hears something else."""

    def told(self) -> Answer | None:
        raise NotImplementedError

    def strike(self, storm: Storm) -> None:
        taken: list[str] = []

        def act(insert: Insert) -> Answer | None:
            if not insert.forward().ok:
                return None
            taken.append(insert.token)
            return self.told()

        self.now()
        with AtInsert(storm, act, table="", times=self.random.randint(1, 4)) as at:
            at.begun.wait(LOOK_S)
            seen(lambda: len(taken) > 1, 1)
        self.back(storm)
        if taken:
            self.evidence = f"ClickHouse answered 200 to {', '.join(taken)}"


class ErrorAfterInsert(_AfterTheInsert):
    kind: ClassVar[str] = "ClickHouse errs after the insert"

    def told(self) -> Answer | None:
        words = b"Code: 159. DB::Exception: Timeout exceeded. (TIMEOUT_EXCEEDED)\n"
        return Answer(500, [("X-ClickHouse-Exception-Code", "159")], words)


class CutAfterInsert(_AfterTheInsert):
    kind: ClassVar[str] = "connection cut after the insert"

    def told(self) -> Answer | None:
        return None


class DiskFull(_OnClickHouse):
    """The engine's own writes fail: the system lets its process write no file beyond a size.

    A full disk would need a disk of its own, which wants privileges that a test run need not have.
    The limit is the kernel's: write(2) fails inside the real engine in the middle of a part, in the
    raw table or in one of its views, which no answer of a proxy could imitate.
    """

    kind: ClassVar[str] = "ClickHouse's disk full"

    def strike(self, storm: Storm) -> None:
        size = self.random.choice((0, 0, 300, 1_000, 3_000))
        failed: list[int] = []

        def act(insert: Insert) -> Answer:
            answer = insert.forward()
            if not answer.ok:
                failed.append(answer.status)
            return answer

        self.now()
        with AtInsert(storm, act, table="", times=10**6) as at:
            storm.limit_files(size)
            at.begun.wait(LOOK_S)
            seen(lambda: failed, LOOK_S)
            time.sleep(self.random.uniform(0, 2))
            storm.limit_files(-1)
        self.back(storm)
        if failed:
            self.evidence = f"ClickHouse could not write: {len(failed)} inserts ended with an error"

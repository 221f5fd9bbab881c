"""ClickHouse dies, fills up, is slow, and says one thing while it did another."""

from __future__ import annotations

import http.client
import threading
import time
from typing import ClassVar, Final

from tests.storm.faults.base import LOOK_S, AtInsert, Fault, gone_on
from tests.storm.faults.sinks import owner_of
from tests.storm.proxy import Insert
from tests.storm.rig import Storm, seen
from tests.support.clickhouse_proxy import Answer

_WRITING: Final = (
    "SELECT (SELECT count() FROM system.merges)"
    " + (SELECT count() FROM system.processes WHERE query_kind = 'Insert')"
)
_NOT_ENOUGH_SPACE: Final = b"(NOT_ENOUGH_SPACE)"


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
    """Its disk is filled to the last block by somebody else.

    Not in the middle of a merge or an insert: chDB 26.9 reserves room before it writes a part, does
    not notice that a write fails after all, and cannot read the part then.
    """

    kind: ClassVar[str] = "ClickHouse's disk full"

    def strike(self, storm: Storm) -> None:
        disk = storm.disk
        assert disk is not None, "planned only where there is one"
        refused: list[str] = []
        full = threading.Event()

        def act(insert: Insert) -> Answer:
            full.wait(LOOK_S)
            answer = insert.forward()
            if not answer.ok and _NOT_ENOUGH_SPACE in answer.body:
                refused.append(insert.token)
            return answer

        client = storm.clickhouse.client()
        client.command("SYSTEM STOP MERGES")
        with AtInsert(storm, act, table="", times=10**6):
            seen(lambda: not client.command(_WRITING), LOOK_S)
            self.now()
            disk.fill()
            full.set()
            seen(lambda: refused, LOOK_S)
            time.sleep(self.random.uniform(0, 2))
            disk.clear()
        client.command("SYSTEM START MERGES")
        client.close()
        self.back(storm)
        if refused:
            self.evidence = f"ClickHouse had no room {len(refused)} times, first for {refused[0]}"

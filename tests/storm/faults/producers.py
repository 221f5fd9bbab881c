"""Services die, and their clocks are wrong."""

from __future__ import annotations

from typing import ClassVar

from tests.storm.faults.base import PATIENCE_S, Fault
from tests.storm.rig import EMITTERS, Storm, seen
from tests.storm.traffic import Sending


class EmitterKilled(Fault):
    """With events under way that Kafka has not acknowledged to it: they are sent again."""

    kind: ClassVar[str] = "emitter killed"

    def strike(self, storm: Storm) -> None:
        number = self.random.randrange(EMITTERS)
        dying = storm.emitters[number]
        files = storm.files()[number]

        def under_way() -> bool:
            return files.read("begun") > files.read("acknowledged")

        seen(under_way, 5, 0.001)
        self.now()
        dying.process.kill()
        unknown = int(files.read("begun") - files.read("acknowledged"))
        storm.emitters[number] = new = storm.start_emitter(number)
        if unknown and seen(lambda: "sends again" in new.process.log, PATIENCE_S):
            self.evidence = f"{unknown} events were begun and not acknowledged, and sent again"


class ClocksWrong(Fault):
    """A service whose clock is off by most of an hour sends new events, and old ones again with
    other times: some to the wrong partition."""

    kind: ClassVar[str] = "clocks wrong, repeats"

    def strike(self, storm: Storm) -> None:
        before = _duplicates(storm)
        sender = storm.sender()
        shift = self.random.randint(-3_500_000, 3_500_000)
        sent = max(1, storm.sent())
        self.now()
        for _ in range(30):
            sender.send(Sending(storm.extra_number(), shift + self.random.randint(-9_000, 9_000)))
            again = self.random.randrange(min(sent, storm.traffic.events))
            way = self.random.choice(("emit", "emit", "astray"))
            sender.send(Sending(again, -shift, way, self.random.randrange(1_000)))
        while not sender.flush():
            pass
        if seen(lambda: _duplicates(storm) > before, PATIENCE_S, 0.5):
            self.evidence = f"clocks {shift / 60_000:+.0f} min, and repeats were recognised"


def _duplicates(storm: Storm) -> int:
    return sum(counts.get("duplicate", 0) for counts in storm.last_outcomes().values())

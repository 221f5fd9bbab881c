"""Which record does the core fail on? What to try next until that is known. Pure: no Kafka.

After two failures at the same place the records of the failing stretch are taken in shorter
stretches, each a transaction of its own: what commits is counted and behind us, what fails holds
the record, and is halved. A record on which the core fails alone is condemned: it goes to
`usage.dead`. All of it is in memory; whoever starts again searches again and finds the same.

    failed ─▶ failed at the same place ─▶ stretches ─▶ one record failed alone ─▶ condemned
"""

from __future__ import annotations

import traceback
from typing import Final, NamedTuple

MAX_BALANCE: Final = 50
"""So many more records condemned than went through, and it is the worker that is at fault."""
DETAIL_CHARS: Final = 4_000
_MESSAGE_CHARS: Final = 1_000
_BEGUN_AT: Final = 2  # failures at the same place: the first may be the weather

Positions = dict[str, int]
"""Next offset of each input."""


class RecordPlace(NamedTuple):
    """Where a record lies, in the partition's own part of an input."""

    topic: str
    offset: int


class Condemned(NamedTuple):
    """A record on which the core failed alone; `detail` is for its dead letter."""

    place: RecordPlace
    detail: str


class PoisonSearch:
    """A partition's search. It is told what became of each attempt, and says what to try next.

    Attributes:
        stretch: how many records the next transaction may take; None: as many as usual.
        condemned: must be the next record, and must not be processed.
    """

    def __init__(self) -> None:
        self.stretch: int | None = None
        self.condemned: Condemned | None = None
        self._positions: Positions = {}
        self._failures = 0
        self._span = 0  # so many of the next records hold one that the core fails on
        self._before: int | None = None  # so many before the one that is suspected
        self._guessed = False
        self._balance = 0

    @property
    def worker_at_fault(self) -> bool:
        """Whether so many records failed that condemning another would only lose it to sight."""
        return self._balance >= MAX_BALANCE

    def recovered(self, positions: Positions) -> None:
        """The state was recovered and stands here; elsewhere than expected, it starts over."""
        if positions != self._positions:
            self.start_over()
            self._positions = dict(positions)

    def start_over(self) -> None:
        """Forget what was found; how many were condemned is remembered."""
        self.stretch = self.condemned = None
        self._failures = self._span = 0
        self._before, self._guessed = None, False

    def failed(self, taken: int, before: int | None, first: RecordPlace, detail: str) -> None:
        """The core failed on a stretch, which was not committed.

        Args:
            taken: records of the stretch.
            before: how many of them the core was done with; None: with all, it failed afterwards.
            first: the stretch's first record.
            detail: what the dead letter says if it is this one.
        """
        self._failures += 1
        if self._failures < _BEGUN_AT:
            return
        if taken == 1:
            self.condemned = Condemned(first, detail)
            return
        self._span = taken
        # What the core stopped at is a guess, tried once: first what is before it, then it alone.
        # The core may look ahead, so only halves are sure to end.
        self._before = before if not self._guessed else None
        self._guessed = True
        self._go_on()

    def committed(self, positions: Positions, records: int) -> None:
        """A transaction with so many records was committed."""
        self._positions = dict(positions)
        self._balance = max(0, self._balance - records)
        self._span -= records
        if self._before is not None:
            self._before -= records
        if self._span <= 0:
            self.start_over()
        else:
            self._go_on()

    def _go_on(self) -> None:
        if self._before is not None and self._before >= 0:
            self.stretch = self._before or 1
        else:
            self.stretch = max(1, self._span // 2)

    def buried(self, positions: Positions) -> None:
        """The condemned record's letter was committed."""
        self.start_over()
        self._positions = dict(positions)
        self._balance += 1


def detail_of(error: BaseException) -> str:
    """Error and traceback, without the values of variables, within DETAIL_CHARS, valid Unicode."""
    message = "".join(traceback.format_exception_only(error)).strip()
    if len(message) > _MESSAGE_CHARS:
        message = message[:_MESSAGE_CHARS] + " [cut]"
    frames = "".join(traceback.format_tb(error.__traceback__))
    room = DETAIL_CHARS - 2 * _MESSAGE_CHARS
    if len(frames) > room:
        frames = "[cut] " + frames[-room:]  # where it was raised is at the end
    text = f"{message}\n{frames}".rstrip()
    # a lone surrogate in a message could not be written, and the letter would stop the partition
    return text.encode("utf-8", "backslashreplace").decode()[:DETAIL_CHARS]


def where_of(error: BaseException) -> str:
    """File, line and function where it was raised; for logs, which must hold nothing of events."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno} {frames[-1].name}" if frames else ""

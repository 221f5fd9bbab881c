"""What of a partition's late rows is to be sent next. Pure: no clock, no input or output.

      resolved            delivered            in ClickHouse
    ─────────────▶ mark ─────────────▶ sent ─────────────▶ loaded

`mark` is the worker's word: it comes with its heartbeats. What lies between `mark` and `sent` is on
its way. It is sent again where the worker does not get on with it, and the worker knows a repeat by
its seq: so whatever is sent, and however often, each row is resolved once, in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

RESEND_SECONDS: Final = 60.0
"""The worker is heard, and its mark has not moved for this long: what was sent is sent again. Twice
as long each time, so that a partition that cannot go on is not flooded."""
MAX_RESEND_SECONDS: Final = 960.0
PAGE_ROWS: Final = 2_000
MAX_ON_THE_WAY: Final = 10_000
"""Rows that are sent and not resolved, at most."""


class LateRow(NamedTuple):
    """A row of table `late`; `event` is its JSON, as the worker read it."""

    seq: int
    topic: str
    offset: int
    arrival_ms: int
    time_ms: int
    event_id: str
    source: str
    priced_seq: int
    workspace_id: str
    event: str


class Loaded(NamedTuple):
    """Up to which seq rows are in ClickHouse, and in every view that is fed from them."""

    late: int
    priced: int


class Sent(NamedTuple):
    """A command that was delivered."""

    seq: int
    kind: str
    arrival_ms: int


class Heard(NamedTuple):
    """What a heartbeat told: how what was sent ended, and how many rows must be sent again."""

    resolved: Sequence[Sent]
    again: int


class MissingRows(ValueError):
    """Rows that were loaded are not in the table any more. None is skipped."""


class Window:
    """One partition's place in its late rows. Times are monotonic seconds."""

    def __init__(self) -> None:
        self.mark: int | None = None
        """Rows up to here are resolved; None: the worker was not heard yet."""
        self.sent = 0
        self._on_the_way: deque[Sent] = deque()
        self._since = 0.0
        self._patience = RESEND_SECONDS

    def heard(self, mark: int, now: float) -> Heard:
        """Take the mark of a heartbeat.

        A mark can go back: a broker that shows aborted records showed one that was never in force,
        or the worker was restored from a copy. Then all above it is open again.
        """
        before, self.mark = self.mark, mark
        resolved = []
        while self._on_the_way and self._on_the_way[0].seq <= mark:
            resolved.append(self._on_the_way.popleft())
        if mark != before:
            self._since, self._patience = now, RESEND_SECONDS
        back = before is not None and mark < before
        stuck = mark < self.sent and now - self._since >= self._patience
        again = 0
        if back or stuck:
            again = self.sent - mark
            self._on_the_way.clear()
            if stuck:
                self._patience = min(self._patience * 2, MAX_RESEND_SECONDS)
        if again or mark > self.sent:
            self.sent = mark
        return Heard(resolved, again)

    def room(self, loaded: int) -> range:
        """The seqs to look at next, of rows up to `loaded`."""
        if self.mark is None:
            return range(0)
        upto = min(loaded, self.sent + PAGE_ROWS, self.mark + MAX_ON_THE_WAY)
        return range(self.sent + 1, upto + 1)

    def delivered(self, commands: Sequence[Sent], now: float) -> None:
        """Note what the broker has acknowledged: the rows after `sent`, without a gap."""
        if not self._on_the_way:
            self._since = now
        self._on_the_way.extend(commands)
        self.sent = commands[-1].seq

    @property
    def oldest_ms(self) -> int | None:
        """Arrival of the oldest event on the way."""
        return self._on_the_way[0].arrival_ms if self._on_the_way else None


def ripe(rows: Sequence[LateRow], after: int, priced: int) -> Sequence[LateRow]:
    """The rows after seq `after` that can be decided where priced rows up to `priced` are loaded.

    A row waits for those that were priced before it came: one of them may be its first copy. Rows
    are decided in order, so the ones behind it wait, too.

    Raises:
        MissingRows: a row is not among `rows`.
    """
    decidable = []
    for expected, row in enumerate(rows, after + 1):
        if row.seq != expected:
            raise MissingRows(f"the row with seq {expected} is missing: {row.seq} is next")
        if row.priced_seq > priced:
            break
        decidable.append(row)
    return decidable

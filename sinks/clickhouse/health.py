"""Whether a loader is well: from how its partitions stand to reasons in plain words. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

MAX_SILENCE_SECONDS: Final = 30.0
"""Without a poll: the thread is stuck, or the process was asleep. A rebalance takes a few."""
MAX_BUSY_SECONDS: Final = 60.0
"""For one insert, or for taking a partition over: ClickHouse or Kafka does not get on."""

Health: TypeAlias = Callable[[], tuple[list[str], dict[str, int]]]
"""Asks why the process is not well (nothing: it is), and for figures beside it. For any thread."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A partition that is assigned to this loader.

    `stopped` says why; `busy_s` is how long it has been opening or loading what it does now;
    `failing` is what the last attempt at it failed of; `let_go` why it was lost before, where what
    waits has not been loaded since.
    """

    partition: int
    reading: bool
    stopped: str | None
    busy_s: float
    failing: str | None = None
    let_go: str | None = None


def reasons(standings: Sequence[Standing], joined: bool, silence_s: float) -> list[str]:
    """Why the loader is not well; empty: it is.

    A loader without partitions is well once it has joined: it stands by for those that have some.

    Args:
        joined: the group has given it its partitions.
        silence_s: since it last polled.
    """
    found = []
    if silence_s > MAX_SILENCE_SECONDS:
        found.append(f"Kafka has not been polled for {silence_s:.0f} s")
    if not joined:
        found.append("waiting for the consumer group to give out the partitions")
    for standing in standings:
        where = f"partition {standing.partition}"
        if standing.stopped is not None:
            found.append(f"{where} stopped, a person has to look: {standing.stopped}")
        elif not standing.reading:
            why = f", and tries again: {standing.failing}" if standing.failing else ""
            found.append(f"{where} is being taken over{why}")
        elif standing.busy_s > MAX_BUSY_SECONDS:
            why = standing.failing or "ClickHouse or Kafka does not answer, the log says what fails"
            found.append(
                f"{where} has been loading the same rows for {standing.busy_s:.0f} s: {why}"
            )
        elif standing.let_go is not None:
            found.append(f"{where} tries again: {standing.let_go}")
    return found

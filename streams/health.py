"""Whether a worker is well: from how its partitions stand to reasons in plain words. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

MAX_SILENCE_S: Final = 30.0
"""The process says twice a second that it is there; it is stuck or was asleep if it does not."""
MAX_CHECKPOINT_AGE_S: Final = 60.0
"""An idle partition commits every five seconds, and a commit may take fifteen."""


class Lag(NamedTuple):
    """Of one input: offsets that no checkpoint covers, and since when records have waited."""

    events: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Standing:
    """A partition that is assigned to this worker. `trouble`: why it does not run, if known."""

    partition: int
    running: bool
    trouble: str | None
    checkpoint_age_s: float
    lag: Mapping[str, Lag]


def reasons(standings: Sequence[Standing], joined: bool, silence_s: float) -> list[str]:
    """Why the worker is not well; empty: it is.

    A worker without partitions is well once it has joined: it stands by for those that have some.

    Args:
        joined: the group has given it its partitions, and is not giving them out anew.
        silence_s: since its event loop last turned.
    """
    found = []
    if silence_s > MAX_SILENCE_S:
        found.append(f"nothing has moved in this process for {silence_s:.0f} s")
    if not joined:
        found.append("waiting for the consumer group to give out the partitions")
    for standing in standings:
        where = f"partition {standing.partition}"
        if not standing.running:
            found.append(f"{where} does not run: {standing.trouble or 'it is being recovered'}")
        elif standing.checkpoint_age_s > MAX_CHECKPOINT_AGE_S:
            found.append(f"{where} has committed nothing for {standing.checkpoint_age_s:.0f} s")
    return found

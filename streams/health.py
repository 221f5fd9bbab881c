"""Whether a worker is well: from how its partitions stand to reasons in plain words."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

MAX_SILENCE_S: Final = 30.0
"""The process says twice a second that it is there; it is stuck or was asleep if it does not."""
MAX_CHECKPOINT_AGE_S: Final = 60.0
"""An idle partition commits every five seconds, and a commit may take fifteen."""

Health: TypeAlias = Callable[[], tuple[list[str], dict[str, int]]]
"""Asks why the process is not well (nothing: it is), and for figures beside it. For any thread."""


class Lag(NamedTuple):
    """Of one input: offsets that no checkpoint covers, and since when records have waited."""

    events: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Standing:
    """A partition that is assigned to this worker. `trouble`: why it does not run."""

    partition: int
    trouble: str | None
    checkpoint_age_s: float
    lag: Mapping[str, Lag]

    @property
    def running(self) -> bool:
        return self.trouble is None


def standing(
    partition: int,
    trouble: str | None,
    checkpoint_age_s: float,
    time_ms: int,
    places: Mapping[str, tuple[int, int | None]],
) -> Standing:
    """How a partition stands.

    Args:
        time_ms: partition time, 0 where nothing has been processed yet.
        places: of each input, the next offset to be committed and the next to be written, if known.
    """
    waiting_s = max(0.0, time.time() - time_ms / 1_000) if time_ms else checkpoint_age_s
    lag = {}
    for topic, (position, end) in places.items():
        if end is not None:
            left = max(0, end - position)
            lag[topic] = Lag(left, waiting_s if left else 0.0)
    return Standing(partition, trouble, checkpoint_age_s, lag)


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
    for one in standings:
        where = f"partition {one.partition}"
        if one.trouble is not None:
            found.append(f"{where} does not run: {one.trouble}")
        elif one.checkpoint_age_s > MAX_CHECKPOINT_AGE_S:
            found.append(f"{where} has committed nothing for {one.checkpoint_age_s:.0f} s")
    return found

"""Waiting for the plans that a checkpoint was made with."""

from __future__ import annotations

import threading

import pytest

from spendstream.streams.errors import Recoverable
from spendstream.streams.plans_follower import PlansFollower


class Reader(PlansFollower):
    """Its steps in the topic are the test's own."""

    def reads(self, position: int, *, at_end: bool = False) -> None:
        self._move(position, at_end=at_end)


def test_a_partition_waits_for_its_position_and_for_the_end() -> None:
    plans = Reader("")
    with pytest.raises(Recoverable, match=r"read to 0; .* past 0"):
        plans.wait_for(0, timeout_s=0.01)  # what is there is not known yet
    plans.reads(3)
    with pytest.raises(Recoverable, match=r"read to 3; .* past 2"):
        plans.wait_for(2, timeout_s=0.01)
    plans.reads(3, at_end=True)
    plans.wait_for(3, timeout_s=0)
    with pytest.raises(Recoverable, match=r"read to 3; .* past 4"):
        plans.wait_for(4, timeout_s=0.01)


def test_it_is_woken_when_the_position_is_reached() -> None:
    plans = Reader("")
    plans.reads(0, at_end=True)
    waiting = threading.Thread(target=plans.wait_for, args=(2, 60.0))
    waiting.start()
    plans.reads(1)
    assert waiting.is_alive()
    plans.reads(2)
    waiting.join(10)
    assert not waiting.is_alive()

"""Waiting for the plans that a checkpoint was made with."""

from __future__ import annotations

import threading

import pytest

from spendstream.schemas.plan import DEFAULT_PLAN, PlanVersion
from spendstream.streams.errors import Recoverable
from spendstream.streams.plans_follower import PlansFollower

VERSION = PlanVersion(
    version=1,
    workspace_id=None,
    plan=DEFAULT_PLAN,
    effective_from_ms=0,
    written_at_ms=0,
    author="a",
)


class Reader(PlansFollower):
    """Its steps in the topic are the test's own."""

    def reads(self, position: int, *, at_end: bool = False) -> None:
        self._move(self.table, position, at_end=at_end)


def test_a_partition_waits_for_its_position_and_for_the_end() -> None:
    plans = Reader("")
    with pytest.raises(Recoverable, match=r"read to 0; .* past 0"):
        plans.wait_for("a", 0, timeout_s=0.01)  # what is there is not known yet
    plans.reads(3)
    with pytest.raises(Recoverable, match=r"read to 3; .* past 2"):
        plans.wait_for("a", 2, timeout_s=0.01)
    plans.reads(3, at_end=True)
    plans.wait_for("a", 3, timeout_s=0)
    with pytest.raises(Recoverable, match=r"read to 3; .* past 4"):
        plans.wait_for("a", 4, timeout_s=0.01)


def test_it_is_woken_when_the_position_is_reached() -> None:
    plans = Reader("")
    plans.reads(0, at_end=True)
    waiting = threading.Thread(target=plans.wait_for, args=("a", 2, 60.0))
    waiting.start()
    plans.reads(1)
    assert waiting.is_alive()
    plans.reads(2)
    waiting.join(10)
    assert not waiting.is_alive()


def test_what_was_read_of_a_topic_that_is_gone_is_forgotten() -> None:
    plans = Reader("")
    plans.table.add(VERSION)
    plans.reads(1, at_end=True)
    plans.wait_for("a", 1, timeout_s=0)
    gone = plans.table
    with pytest.raises(Recoverable, match=r"read to 0; .* past 0"):
        plans.wait_for("b", 0, timeout_s=0.01)
    plans._move(gone, 1, at_end=True)  # a reader of the old one that has not noticed yet
    with pytest.raises(Recoverable, match=r"read to 0; .* past 0"):
        plans.wait_for("b", 0, timeout_s=0.01)
    plans.reads(0, at_end=True)
    plans.wait_for("b", 0, timeout_s=0)
    assert plans.table.revision == 0

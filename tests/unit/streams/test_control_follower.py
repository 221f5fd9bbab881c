"""Waiting for the plans that a checkpoint was made with."""

from __future__ import annotations

import threading

import pytest

from spendstream.schemas.plan import DEFAULT_PLAN, PlanVersion
from spendstream.streams.control_follower import PlansFollower
from spendstream.streams.errors import Recoverable

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
        self._move(self.now, position, at_end=at_end)


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


def test_whoever_has_recovered_with_a_topic_that_is_gone_keeps_what_was_read_of_it() -> None:
    plans = Reader("")
    plans._take(plans.now, VERSION.model_dump_json().encode(), 0)
    plans.reads(1, at_end=True)
    kept = plans.wait_for("a", 1, timeout_s=0)
    with pytest.raises(Recoverable, match=r"read to 0; .* past 0"):
        plans.wait_for("b", 0, timeout_s=0.01)  # its loss was accepted for another partition
    plans._move(kept, 2, at_end=True)  # a reader of the old one that has not noticed yet
    with pytest.raises(Recoverable, match=r"read to 0; .* past 0"):
        plans.wait_for("b", 0, timeout_s=0.01)
    plans.reads(0, at_end=True)
    accepted = plans.wait_for("b", 0, timeout_s=0)
    assert (accepted.table.revision, accepted.position) == (0, 0)
    assert (kept.table.revision, kept.position) == (1, 2)


def test_a_topic_that_has_lost_its_end_is_another() -> None:
    plans = Reader("")
    plans.reads(3, at_end=True)
    kept = plans.wait_for("a", 3, timeout_s=0)
    plans._begin_anew(kept)
    plans._begin_anew(kept)  # once is enough
    plans.reads(1, at_end=True)
    assert plans.wait_for("a", 1, timeout_s=0) is plans.now
    assert (kept.position, plans.now.position) == (3, 1)

"""What a failed step has built does not stay: a halted partition looks again for days."""

from __future__ import annotations

import asyncio
import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from spendstream.streams import garbage, runner
from spendstream.streams.errors import Halted
from spendstream.streams.runner import PartitionRunner
from spendstream.streams.stream_task import Shared

LOOKS = 20


class State:
    """As large as it wants to be."""


class Inputs:
    def pause(self, partition: int) -> None:
        pass


class Asked:
    """What a runner asks of `Shared` until it has recovered."""

    def __init__(self) -> None:
        self.executor = ThreadPoolExecutor(2)
        self.recovering = asyncio.Semaphore(2)
        self.session_timeout_s = 1.0


def test_looks_of_a_halted_partition_leave_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    states: weakref.WeakSet[State] = weakref.WeakSet()
    looks = 0

    def recover(partition: int, shared: object) -> Any:
        nonlocal looks
        looks += 1
        with garbage.building():
            state = State()
            states.add(state)
            raise Halted(f"p{partition} is halted")

    monkeypatch.setattr(runner, "recover_task", recover)
    monkeypatch.setattr(runner, "_HALTED_RETRY_S", 0.005)

    async def main() -> None:
        shared = Asked()
        halted = [
            PartitionRunner(number, cast(Shared, shared), cast(Any, Inputs()), 0.0)
            for number in range(3)
        ]
        while looks < 3 * LOOKS:
            await asyncio.sleep(0.01)
        for one in halted:
            await one.stop()
        shared.executor.shutdown()

    gc.collect()
    gc.freeze()  # what other tests left: each look collects, and would go through all of it
    try:
        asyncio.run(main())
        gc.collect()
        # each partition may hold on to the error that it is handling
        assert len(states) <= 3
    finally:
        gc.unfreeze()


def test_what_was_built_is_frozen_and_what_failed_is_not() -> None:
    with garbage.building():
        assert not gc.isenabled()
    frozen = gc.get_freeze_count()
    assert gc.isenabled()
    assert frozen
    gc.unfreeze()
    with pytest.raises(ZeroDivisionError), garbage.building():
        raise ZeroDivisionError
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0

"""A signal handler, or a finalizer, emits while its own thread is in the midst of `emit()`: at each
line of it once. Nothing waits for itself, everything is counted."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from spendstream.producers import Drop, UsageEmitter, emitter
from spendstream.schemas import UsageEvent
from tests.unit.producers.kafka_client import Broker

EVENT = UsageEvent(provider="openai", request_model="gpt-4o", workspace_id="ws-1")
OURS = (str(Path(emitter.__file__).parent), threading.__file__)


def interrupted(call: Callable[[], object], emit: Callable[[], object]) -> int:
    """Call, and at each line that is reached emit once. Returns how many lines that were."""
    seen: set[tuple[str, int]] = set()

    def trace(frame: FrameType, what: str, _: Any) -> Any:
        place = (frame.f_code.co_filename, frame.f_lineno)
        if not place[0].startswith(OURS):
            return None
        if what == "line" and place not in seen:
            seen.add(place)  # tracing is off in here, as a signal is in its own handler
            emit()
        return trace

    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(None)
    return len(seen)


def in_time(work: Callable[[], int]) -> int:
    """Its result, from a thread that may get stuck."""
    results: queue.SimpleQueue[int] = queue.SimpleQueue()
    threading.Thread(target=lambda: results.put(work()), daemon=True).start()
    return results.get(timeout=30)


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    broker = Broker(limit=3)
    monkeypatch.setattr(emitter, "Producer", broker.client)
    return broker


@pytest.mark.parametrize("event", [EVENT, None], ids=["queue full", "invalid"])
def test_while_a_drop_is_counted(event: Any, broker: Broker) -> None:
    usage = UsageEmitter("nowhere:1", spool="")
    for _ in range(3):
        usage.emit(EVENT)
    lines = in_time(lambda: interrupted(lambda: usage.emit(event), lambda: usage.emit(EVENT)))
    assert lines > 10
    assert usage.stats.lost == lines + 1
    broker.finish()
    usage.emit(EVENT)  # says so
    broker.finish()
    assert broker.arrived[-1].headers["ce_dropped"] == b"%d" % (lines + 1)
    usage.close()


@pytest.mark.parametrize("disk", ["usable", "gone"])
def test_while_it_is_given_to_the_spool(disk: str, broker: Broker, tmp_path: Path) -> None:
    if disk == "gone":
        (tmp_path / "spool").write_text("no directory")
    usage = UsageEmitter("nowhere:1", spool=tmp_path / "spool")
    assert usage._spool is not None
    usage._spool.settle(20)
    lines = 0
    for _ in range(6):  # some find room in the queue, the rest none
        lines += 1 + in_time(
            lambda: interrupted(lambda: usage.emit(EVENT), lambda: usage.emit(EVENT))
        )
    assert lines > 60
    usage._spool.settle(20)
    stats = usage.stats
    if disk == "usable":
        assert (stats.queued, stats.spooled, stats.lost) == (lines, lines, 0)
    else:
        assert (stats.queued, stats.unspooled) == (3, 3)
        assert stats.dropped == {Drop.SPOOL_FULL: lines - 3}
    usage.close(0)


def test_while_a_forked_child_makes_its_producer(broker: Broker, tmp_path: Path) -> None:
    broker.limit = 100_000
    usage = UsageEmitter("nowhere:1", spool=tmp_path)
    child = os.fork()
    if child == 0:
        code = 1
        signal.alarm(30)  # ends a child that waits for itself
        try:
            lines = interrupted(lambda: usage.emit(EVENT), lambda: usage.emit(EVENT))
            code = 0 if usage.stats.queued == len(broker.queue) == lines + 1 > 60 else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    usage.close(0)

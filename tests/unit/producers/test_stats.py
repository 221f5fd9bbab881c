"""Counting and reporting of what became of the events."""

from __future__ import annotations

import logging
import threading

import pytest

from spendstream.producers.stats import Counters, Drop


def test_drops_are_counted_by_reason() -> None:
    counters = Counters()
    counters.delivered()
    for _ in range(3):
        counters.dropped(Drop.QUEUE_FULL)
    counters.dropped(Drop.EXPIRED)
    stats = counters.snapshot(queued=7)
    assert (stats.queued, stats.delivered, stats.lost) == (7, 1, 4)
    assert stats.dropped == {Drop.QUEUE_FULL: 3, Drop.EXPIRED: 1}


def test_the_log_is_rate_limited_and_complete(caplog: pytest.LogCaptureFixture) -> None:
    counters = Counters()
    counters.dropped(Drop.QUEUE_FULL)
    counters.report()
    counters.dropped(Drop.QUEUE_FULL)
    counters.dropped(Drop.QUEUE_FULL)
    counters.report()
    assert [record.getMessage()[:24] for record in caplog.records] == ["1 usage events dropped: "]
    counters.report(at_once=True)
    assert caplog.records[-1].getMessage().startswith("2 usage events dropped: the queue was full")
    counters.report(at_once=True)
    assert len(caplog.records) == 2


def test_a_detail_is_logged_once_per_kind(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    counters = Counters()
    for n in range(5):
        counters.dropped(Drop.INVALID, "TypeError", f"event {n}")
    counters.report(at_once=True)
    counters.dropped(Drop.INVALID, "TypeError", "another")
    counters.report(at_once=True)
    messages = [record.getMessage() for record in caplog.records]
    assert messages.count("first of its kind (TypeError): event 0") == 1
    assert len([m for m in messages if "first of its kind" in m]) == 1


def test_threads_lose_no_count() -> None:
    counters = Counters()

    def count() -> None:
        for _ in range(10_000):
            counters.delivered()
            counters.dropped(Drop.FAILED)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stats = counters.snapshot(0)
    assert (stats.delivered, stats.lost) == (40_000, 40_000)

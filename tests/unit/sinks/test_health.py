"""What `/healthz` says of a loader, and how far behind it says that it is."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY

from spendstream.schemas.topics import USAGE_PRICED, WORKSPACE_CHECKPOINT
from spendstream.sinks.clickhouse.health import (
    MAX_BUSY_SECONDS,
    MAX_SILENCE_SECONDS,
    Standing,
    reasons,
)
from spendstream.sinks.clickhouse.lag import MEASURE_SECONDS, Lag, Place

WELL = Standing(0, True, None, 0.0)


def test_all_partitions_are_loaded() -> None:
    busy = Standing(1, True, None, MAX_BUSY_SECONDS)
    assert reasons([WELL, busy], True, MAX_SILENCE_SECONDS) == []


def test_one_that_stands_by_without_partitions_is_well() -> None:
    assert reasons([], True, 0.0) == []


@pytest.mark.parametrize(
    ("partition", "joined", "silence_s", "told"),
    [
        (WELL, False, 0.0, "waiting for the consumer group to give out the partitions"),
        (WELL, True, MAX_SILENCE_SECONDS + 1, "Kafka has not been polled for 31 s"),
        (Standing(2, False, None, 0.0), True, 0.0, "partition 2 is being taken over"),
        (
            Standing(2, True, "a gap", 0.0),
            True,
            0.0,
            "partition 2 stopped, a person has to look: a gap",
        ),
        (
            Standing(2, True, None, MAX_BUSY_SECONDS + 1),
            True,
            0.0,
            "partition 2 has been loading the same rows for 61 s: ClickHouse or Kafka does not"
            " answer, the log says what fails",
        ),
        (
            Standing(2, True, None, MAX_BUSY_SECONDS + 1, failing="its disk is full"),
            True,
            0.0,
            "partition 2 has been loading the same rows for 61 s: its disk is full",
        ),
        (
            Standing(2, False, None, 0.0, failing="no right"),
            True,
            0.0,
            "partition 2 is being taken over, and tries again: no right",
        ),
        (
            Standing(2, True, None, 0.0, let_go="cannot write"),
            True,
            0.0,
            "partition 2 tries again: cannot write",
        ),
    ],
)
def test_a_reason_is_told(partition: Standing, joined: bool, silence_s: float, told: str) -> None:
    assert reasons([WELL, partition], joined, silence_s) == [told]


class Log:
    """A topic's partition, and how the lag on it is seen, second by second."""

    def __init__(self) -> None:
        self.lag = Lag()
        self.low, self.high = 0, 0
        self.at_end = False
        self._now = 100.0

    def seen(self) -> tuple[float | None, float | None]:
        self._now += MEASURE_SECONDS
        self.lag.measure(self._now, self._ends, lambda _: self.at_end)
        labels = {"topic": USAGE_PRICED, "partition": "901"}
        events, seconds = (
            REGISTRY.get_sample_value(f"spendstream_sink_{name}", labels)
            for name in ("lag_events", "behind_seconds")
        )
        return events, seconds

    def _ends(self, place: Place) -> tuple[int, int]:
        assert place == PLACE
        return self.low, self.high


PLACE = (USAGE_PRICED, 901)


def test_lag() -> None:
    log = Log()
    log.lag.begin(901, {USAGE_PRICED: -2, WORKSPACE_CHECKPOINT: 0})  # from the log's beginning
    log.low, log.high = 40, 100
    assert log.seen() == (60, 0)  # nothing was read yet: since when it waits is not known
    log.lag.read(PLACE, 1_000)
    log.lag.loaded(PLACE, 70, 1_000)
    events, seconds = log.seen()
    assert events == 30
    assert seconds is not None
    assert seconds > 1e9
    log.lag.loaded(PLACE, 99, 2_000)
    log.at_end = True
    assert log.seen() == (0, 0)  # what is left is a marker
    log.lag.gone(901)
    assert log.seen() == (None, None)

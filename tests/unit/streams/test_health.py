"""What `/healthz` says of a worker, and what its metrics count."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY

from spendstream.schemas.topics import USAGE_EVENTS, USAGE_PRICED
from spendstream.streams import metrics
from spendstream.streams.core.outputs import Batch
from spendstream.streams.core.state import Checkpoint
from spendstream.streams.health import (
    MAX_CHECKPOINT_AGE_S,
    MAX_SILENCE_S,
    Lag,
    Standing,
    reasons,
    standing,
)

WELL = Standing(0, None, 1.0, {})


def test_all_partitions_run() -> None:
    assert reasons([WELL, Standing(1, None, MAX_CHECKPOINT_AGE_S, {})], True, MAX_SILENCE_S) == []


def test_one_that_stands_by_without_partitions_is_well() -> None:
    assert reasons([], True, 0.0) == []


@pytest.mark.parametrize(
    ("partition", "joined", "silence_s", "told"),
    [
        (WELL, False, 0.0, "waiting for the consumer group to give out the partitions"),
        (WELL, True, MAX_SILENCE_S + 1, "nothing has moved in this process for 31 s"),
        (Standing(7, "it is halted", 1.0, {}), True, 0.0, "partition 7 does not run: it is halted"),
        (
            Standing(7, None, MAX_CHECKPOINT_AGE_S + 1, {}),
            True,
            0.0,
            "partition 7 has committed nothing for 61 s",
        ),
    ],
)
def test_a_reason_is_told(partition: Standing, joined: bool, silence_s: float, told: str) -> None:
    assert reasons([Standing(3, None, 0.0, {}), partition], joined, silence_s) == [told]


def test_every_reason_is_told() -> None:
    assert len(reasons([Standing(i, "lost", 0.0, {}) for i in range(3)], False, 99.0)) == 5


def test_lag() -> None:
    places: dict[str, tuple[int, int | None]] = {"a": (5, 8), "b": (8, 8), "c": (8, None)}
    lag = standing(0, None, 4.0, 0, places).lag
    assert lag == {"a": Lag(3, 4.0), "b": Lag(0, 0.0)}  # what is not known is not told
    assert standing(0, None, 4.0, 1, places).lag["a"].seconds > 1e9  # since partition time


def test_lag_is_never_negative() -> None:
    """The fetch that knew the end may be older than the commit."""
    assert standing(0, None, 0.0, 0, {"a": (9, 8)}).lag == {"a": Lag(0, 0.0)}


def test_only_what_a_commit_added_is_counted() -> None:
    checkpoint = Checkpoint(0)
    checkpoint.outcomes[USAGE_EVENTS] |= {"read": 100, "priced": 90, "dead": 10}
    checkpoint.seq[USAGE_PRICED] = 90
    tally = metrics.Tally(checkpoint)
    before = figures()
    checkpoint.outcomes[USAGE_EVENTS] |= {"read": 107, "priced": 94, "dead": 13}
    checkpoint.seq[USAGE_PRICED] = 94
    batch = Batch()
    batch.dead.update({"bad_json": 2, "too_old": 1})
    batch.unpriced = 4
    tally.committed(checkpoint, batch, 0.5)
    tally.committed(checkpoint, Batch(), 0.5)  # a heartbeat
    assert [after - b for after, b in zip(figures(), before, strict=True)] == [7, 4, 3, 4, 2, 4, 2]


def figures() -> list[float]:
    topic = {"topic": USAGE_EVENTS}
    samples: list[tuple[str, dict[str, str]]] = [
        ("events", {}),
        ("outcomes", topic | {"outcome": "priced"}),
        ("outcomes", topic | {"outcome": "dead"}),
        ("rows", {"topic": USAGE_PRICED}),
        ("dead", {"reason": "bad_json"}),
        ("unpriced", {}),
        ("batches", {}),
    ]
    return [
        REGISTRY.get_sample_value(f"spendstream_worker_{name}_total", labels) or 0.0
        for name, labels in samples
    ]

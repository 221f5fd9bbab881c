"""The hour of calls that the demo sends."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.deploy import demo_events
from spendstream.deploy.demo_broken import BROKEN
from spendstream.deploy.feed import Call
from spendstream.deploy.quantiles import Quantiles
from spendstream.schemas import InvalidEvent, UsageEvent
from spendstream.schemas.prices.compile import compile_book

NOW_MS = 1_795_341_600_000


@pytest.fixture(scope="module")
def calls() -> list[Call]:
    return demo_events.calls("r1", NOW_MS)


def test_a_quantile_function_meets_its_points() -> None:
    points = [(0, 2), (5, 181), (50, 1_020), (100, 14_050)]
    quantiles = Quantiles([(float(percent), value) for percent, value in points])
    assert [quantiles.at(percent) for percent, _ in points] == [value for _, value in points]
    assert quantiles.at(2.5) == 92  # halfway between 2 and 181


@given(st.floats(0, 100), st.floats(0, 100))
def test_a_quantile_function_rises(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert demo_events.INPUT_TOKENS.at(low) <= demo_events.INPUT_TOKENS.at(high)


@pytest.mark.parametrize(
    "points",
    [[(1, 0), (100, 1)], [(0, 0), (99, 1)], [(0, 5), (100, 1)], [(0, 0), (0, 1), (100, 2)]],
)
def test_points_that_are_no_quantile_function_are_refused(points: list[tuple[float, int]]) -> None:
    with pytest.raises(ValueError, match="the points must"):
        Quantiles(points)


def test_the_same_seed_gives_the_same_calls(calls: list[Call]) -> None:
    assert demo_events.calls("r1", NOW_MS) == calls
    assert demo_events.calls("r1", NOW_MS, seed=1) != calls


def test_another_run_has_other_ids(calls: list[Call]) -> None:
    ids = {call.id for call in calls}
    assert ids.isdisjoint(call.id for call in demo_events.calls("r2", NOW_MS))


def test_as_many_calls_as_the_trace_a_few_of_them_twice(calls: list[Call]) -> None:
    times_sent = Counter(call.id for call in calls)
    assert len(times_sent) == demo_events.CALLS
    assert sum(count == 2 for count in times_sent.values()) == demo_events.DUPLICATES
    assert max(times_sent[call.id] for call in calls[-demo_events.LIVE :]) == 1


def test_the_hour_ends_now(calls: list[Call]) -> None:
    times = [call.time_ms for call in calls]
    assert min(times) == NOW_MS - demo_events.DURATION_MS
    assert times[-1] == max(times) == NOW_MS


def test_tokens_follow_the_quantiles(calls: list[Call]) -> None:
    used = [call.event.usage for call in calls if call.event.usage and call.event.status == "ok"]
    for drawn, quantiles in (
        ([usage.input_tokens for usage in used], demo_events.INPUT_TOKENS),
        ([usage.output_tokens for usage in used], demo_events.OUTPUT_TOKENS),
    ):
        drawn.sort()
        for percent in (5, 25, 50, 75, 90, 99):
            found = drawn[len(drawn) * percent // 100]
            assert quantiles.at(percent - 1.5) <= found <= quantiles.at(min(percent + 1.5, 100))


def test_arrivals_are_bursty() -> None:
    """Variance over mean of the counts per second; 1 would be a steady Poisson stream."""
    times = demo_events.arrivals(random.Random(1), NOW_MS)
    counts = Counter(time // 1000 for time in times)
    seconds = demo_events.DURATION_MS // 1000
    mean = len(times) / seconds
    every_second = range(min(counts), min(counts) + seconds)
    variance = sum((counts[second] - mean) ** 2 for second in every_second) / seconds
    assert 1.2 < variance / mean < 4


def test_workspaces_are_of_very_different_size(calls: list[Call]) -> None:
    sizes = Counter(call.event.workspace_id for call in calls)
    assert set(sizes) == set(demo_events.WORKSPACES)
    assert max(sizes.values()) > 10 * min(sizes.values())


def test_every_model_has_a_price(calls: list[Call]) -> None:
    book = compile_book()
    for provider, model in {(call.event.provider, call.event.model) for call in calls}:
        assert book.resolve(provider, model, NOW_MS) is not None, (provider, model)


def test_plans_are_of_workspaces_that_are_there() -> None:
    assert set(demo_events.plans()) <= set(demo_events.WORKSPACES)


def test_broken_records_break_the_schema() -> None:
    for value in BROKEN:
        if value is not None:
            with pytest.raises((ValueError, InvalidEvent)):
                _strict(value)


def _strict(value: bytes) -> UsageEvent:
    """As pydantic reads it, except that it takes the last of two equal keys."""
    if value.count(b'"workspace_id"') > 1:
        raise ValueError("duplicate key")
    return UsageEvent.model_validate_json(value)

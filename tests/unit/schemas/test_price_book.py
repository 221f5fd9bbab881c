"""Dated prices and the book that remembers them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spendstream.schemas.prices.book import (
    DAY_MS,
    MAX_REMEMBERED,
    Context,
    Found,
    PriceBook,
    Prices,
    Rates,
    Schedule,
)
from spendstream.schemas.prices.context import context_of, normalized, says
from spendstream.schemas.prices.times import BEFORE, Span, timetable


def named(rule: str) -> Prices:
    return Prices(rule, Rates(1, None, None, 1))


def rule_at(found: Found, time_ms: int) -> str | None:
    prices = found.at(time_ms) if isinstance(found, Schedule) else found
    return None if prices is None else prices.rule


def first_of(rules: list[tuple[Span, str]]) -> Found:
    """A timetable in which the first rule that holds counts."""

    def at(time_ms: int, of_day_ms: int) -> Prices | None:
        return next((named(rule) for span, rule in rules if span.holds(time_ms, of_day_ms)), None)

    return timetable([span for span, _ in rules], at)


class TestTimes:
    def test_dates_begin_at_their_millisecond(self) -> None:
        found = first_of([(Span(2000), "new"), (Span(1000), "mid")])
        rules = [rule_at(found, ms) for ms in (999, 1000, 1999, 2000)]
        assert rules == [None, "mid", "mid", "new"]

    def test_what_always_holds_needs_no_schedule(self) -> None:
        assert first_of([(Span(), "always")]) == named("always")
        assert first_of([]) is None

    @given(st.integers(0, 30_000))
    def test_times_of_day_are_half_open_and_may_span_midnight(self, day: int) -> None:
        within = first_of([(Span(window=(100, 200)), "daily"), (Span(), "else")])
        across = first_of([(Span(window=(DAY_MS - 100, 200)), "night"), (Span(), "day")])
        start = day * DAY_MS
        rules = [rule_at(within, start + ms) for ms in (99, 100, 199, 200)]
        assert rules == ["else", "daily", "daily", "else"]
        rules = [rule_at(across, start + ms) for ms in (-101, -100, 0, 199, 200)]
        assert rules == ["day", "night", "night", "night", "day"]

    @given(
        st.lists(
            st.builds(
                Span,
                st.one_of(st.just(BEFORE), st.integers(0, 5 * DAY_MS)),
                st.none() | st.tuples(st.integers(0, DAY_MS), st.integers(0, DAY_MS)),
            ),
            max_size=6,
        ),
        st.integers(0, 6 * DAY_MS),
    )
    def test_a_timetable_answers_as_its_rules_do(self, spans: list[Span], time_ms: int) -> None:
        rules = [(span, f"rule {number}") for number, span in enumerate(spans)]
        expected = next(
            (rule for span, rule in rules if span.holds(time_ms, time_ms % DAY_MS)), None
        )
        assert rule_at(first_of(rules), time_ms) == expected


class TestContext:
    def test_what_is_standard_is_left_out(self) -> None:
        assert context_of(False, None, None) == context_of(False, "default", "global") == ()
        for tier in ("standard", "auto", "on_demand"):
            assert context_of(False, tier, None) == ()

    def test_batch_is_a_flag_or_a_tier(self) -> None:
        batch = (("processing", "batch"),)
        assert context_of(True, "default", None) == context_of(False, "batch", None) == batch
        assert context_of(True, "flex", "us") == (
            ("processing", "batch"),
            ("region", "us"),
            ("service_tier", "flex"),
        )

    def test_anthropics_speed_is_a_tier(self) -> None:
        assert says(context_of(False, "fast", None), "speed", "fast")
        assert says(normalized([("speed", "fast")]), "speed", "fast")
        assert not says(context_of(True, None, None), "speed", "fast")


class TestBook:
    def test_a_reference_is_looked_up_once_a_context(self) -> None:
        asked: list[tuple[str, str, Context]] = []

        def find(provider: str, model: str, context: Context) -> Found:
            asked.append((provider, model, context))
            return named(model) if provider == "known" else None

        book = PriceBook("v", find)
        batch = context_of(True, None, None)
        for _ in range(3):
            assert book.resolve("known", "m", 0) == named("m")
            assert book.resolve("known", "m", 0, batch) == named("m")
            assert book.resolve("other", "m", 0) is None
        assert asked == [("known", "m", ()), ("known", "m", batch), ("other", "m", ())]

    def test_memory_is_bounded(self) -> None:
        asked: list[str] = []

        def find(provider: str, model: str, context: Context) -> Found:
            asked.append(model)
            return named(model)

        book = PriceBook("v", find)
        book.resolve("p", "first", 0)
        for number in range(MAX_REMEMBERED):
            book.resolve("p", str(number), 0)
        book.resolve("p", "first", 0)
        assert asked.count("first") == 2

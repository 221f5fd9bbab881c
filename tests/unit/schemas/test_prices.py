"""Leaves and dated prices, on made-up prices: the arithmetic itself."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.schemas.prices import (
    DAY_MS,
    MAX_REMEMBERED,
    Daily,
    Found,
    FromDate,
    PriceBook,
    Prices,
    Rates,
    Schedule,
    price,
)

RATES = Rates(input=2_500_000, cache_read=1_250_000, cache_write=3_000_000, output=10_000_000)
OPEN_RATE = st.none() | st.integers(0, 10**15)
COUNT = st.integers(0, 10**9)


def named(rule: str) -> Prices:
    return Prices(rule, RATES)


def rule_at(schedule: Schedule, time_ms: int) -> str | None:
    prices = schedule.at(time_ms)
    return None if prices is None else prices.rule


class TestPrice:
    def test_splits_input_into_disjoint_leaves(self) -> None:
        assert price(named("m"), 100, 30, 20, 7) == (
            ("input", 50, 2_500_000, 125),
            ("cache_read", 30, 1_250_000, 38),  # 37.5 pico
            ("cache_write", 20, 3_000_000, 60),
            ("output", 7, 10_000_000, 70),
        )

    def test_leaves_of_no_quantity_are_left_out(self) -> None:
        assert price(named("m"), 0, 0, 0, 0) == ()
        assert price(named("m"), 10, 10, 0, 0) == (("cache_read", 10, 1_250_000, 12),)

    def test_cached_tokens_without_their_own_price_stay_input(self) -> None:
        prices = Prices("m", Rates(2_000_000, None, 3_000_000, None))
        assert price(prices, 100, 30, 20, 0) == (
            ("input", 80, 2_000_000, 160),
            ("cache_write", 20, 3_000_000, 60),
        )

    def test_tokens_without_a_price_make_the_call_unpriced(self) -> None:
        prices = Prices("embedder", Rates(1, None, None, None))
        assert price(prices, 5, 0, 0, 0) is not None
        assert price(prices, 5, 0, 0, 1) is None
        assert price(Prices("m", Rates(None, None, None, 1)), 5, 0, 0, 1) is None

    def test_zero_is_a_price(self) -> None:
        free = Prices("m", Rates(0, None, None, 0))
        assert price(free, 5, 2, 0, 3) == (("input", 5, 0, 0), ("output", 3, 0, 0))

    def test_a_fee_per_request_is_a_leaf(self) -> None:
        prices = Prices("m", RATES, request=12 * 10**15)
        assert price(prices, 0, 0, 0, 0) == (("requests", 1, 12 * 10**15, 12 * 10**9),)

    @pytest.mark.parametrize(
        ("input_tokens", "paid"),
        [(199, 1_000_000), (200, 1_000_000), (201, 2_000_000), (500, 2_000_000), (501, 3_000_000)],
    )
    def test_a_tier_reprices_the_whole_call_beyond_its_start(
        self, input_tokens: int, paid: int
    ) -> None:
        first, second, third = (Rates(p, None, None, p) for p in (1_000_000, 2_000_000, 3_000_000))
        prices = Prices("m", first, tiers=((500, third), (200, second)))
        leaves = price(prices, input_tokens, 0, 0, 1)
        assert leaves is not None
        assert [leaf[2] for leaf in leaves] == [paid, paid]

    @given(
        rates=st.builds(Rates, OPEN_RATE, OPEN_RATE, OPEN_RATE, OPEN_RATE),
        uncached=COUNT,
        read=COUNT,
        write=COUNT,
        output=COUNT,
    )
    def test_every_token_is_in_one_leaf_and_each_leaf_is_rounded_once(
        self, rates: Rates, uncached: int, read: int, write: int, output: int
    ) -> None:
        leaves = price(Prices("m", rates), uncached + read + write, read, write, output)
        if leaves is None:
            assert None in (rates.input, rates.output)
            return
        quantities = {name: quantity for name, quantity, _, _ in leaves}
        assert quantities.pop("output", 0) == output
        assert sum(quantities.values()) == uncached + read + write
        assert 0 not in quantities.values()
        for name, quantity, atto, pico in leaves:
            assert atto == getattr(rates, name)
            exact = Decimal(quantity * atto) / 10**6
            assert pico == exact.quantize(Decimal(1), ROUND_HALF_EVEN)


class TestSchedule:
    def test_dates_begin_at_their_millisecond(self) -> None:
        schedule = Schedule((FromDate(2000, named("new")), FromDate(1000, named("mid"))), None)
        assert [rule_at(schedule, ms) for ms in (999, 1000, 1999, 2000)] == [
            None,
            "mid",
            "mid",
            "new",
        ]

    @given(st.integers(0, 30_000))
    def test_times_of_day_are_half_open_and_may_span_midnight(self, day: int) -> None:
        within = Schedule((Daily(100, 200, named("daily")),), named("else"))
        across = Schedule((Daily(DAY_MS - 100, 200, named("night")),), named("day"))
        start = day * DAY_MS
        assert [rule_at(within, start + ms) for ms in (99, 100, 199, 200)] == [
            "else",
            "daily",
            "daily",
            "else",
        ]
        assert [rule_at(across, start + ms) for ms in (-101, -100, 0, 199, 200)] == [
            "day",
            "night",
            "night",
            "night",
            "day",
        ]


class TestBook:
    def test_a_reference_is_looked_up_once(self) -> None:
        asked: list[tuple[str, str]] = []

        def find(provider: str, model: str) -> Found:
            asked.append((provider, model))
            return named(model) if provider == "known" else None

        book = PriceBook("v", find)
        for _ in range(3):
            assert book.resolve("known", "m", 0) == named("m")
            assert book.resolve("other", "m", 0) is None
        assert asked == [("known", "m"), ("other", "m")]

    def test_memory_is_bounded(self) -> None:
        asked: list[str] = []

        def find(provider: str, model: str) -> Found:
            asked.append(model)
            return named(model)

        book = PriceBook("v", find)
        book.resolve("p", "first", 0)
        for number in range(MAX_REMEMBERED):
            book.resolve("p", str(number), 0)
        book.resolve("p", "first", 0)
        assert asked.count("first") == 2

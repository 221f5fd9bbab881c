"""Usage → leaves, on made-up prices: the arithmetic itself."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.schemas.prices.book import ImagePrice, Prices, Rates, rates_of
from spendstream.schemas.prices.details import cost_by
from spendstream.schemas.prices.leaves import Cost
from spendstream.schemas.prices.units import LEAVES, PER, TOKENS
from spendstream.schemas.usage import Usage
from tests.support.price_usages import INPUT, OUTPUT, Parts

RATES = Rates(input=2_500_000, cache_read=1_250_000, cache_write=3_000_000, output=10_000_000)
OPEN_RATE = st.none() | st.integers(0, 10**15)
COUNT = st.integers(0, 3 * 10**8)
KINDS = ("audio", "image", "video")


def used(input_tokens: int = 0, output_tokens: int = 0, **details: Any) -> Usage:
    return Usage(input_tokens=input_tokens, output_tokens=output_tokens, **details)


def cached(total: int, read: int, write: int, output: int) -> Usage:
    return used(total, output, cache_read_input_tokens=read, cache_write_input_tokens=write)


def quantities(cost: Cost | None) -> dict[str, int]:
    assert cost is not None
    return {name: quantity for name, quantity, _, _ in cost.leaves}


class TestText:
    def test_splits_input_into_disjoint_leaves(self) -> None:
        cost = cost_by(Prices("m", RATES), cached(100, 30, 20, 7))
        assert cost == (
            (
                ("input", 50, 2_500_000, 125),
                ("cache_read", 30, 1_250_000, 38),  # 37.5 pico
                ("cache_write", 20, 3_000_000, 60),
                ("output", 7, 10_000_000, 70),
            ),
            293,
            "m",
            True,
        )

    def test_leaves_of_no_quantity_are_left_out(self) -> None:
        assert quantities(cost_by(Prices("m", RATES), used())) == {}
        assert quantities(cost_by(Prices("m", RATES), cached(10, 10, 0, 0))) == {"cache_read": 10}

    def test_cached_tokens_without_their_own_price_stay_input(self) -> None:
        prices = Prices("m", Rates(2_000_000, None, 3_000_000, None))
        found = quantities(cost_by(prices, cached(100, 30, 20, 0)))
        assert found == {"input": 80, "cache_write": 20}

    def test_tokens_without_a_price_make_the_call_unpriced(self) -> None:
        prices = Prices("embedder", Rates(1, None, None, None))
        assert cost_by(prices, used(5)) is not None
        assert cost_by(prices, used(5, 1)) is None
        assert cost_by(Prices("m", Rates(None, None, None, 1)), used(5, 1)) is None

    def test_zero_is_a_price(self) -> None:
        cost = cost_by(Prices("m", Rates(0, None, None, 0)), cached(5, 2, 0, 3))
        assert cost is not None
        assert cost.leaves == (("input", 5, 0, 0), ("output", 3, 0, 0))

    def test_a_fee_per_request_is_a_leaf(self) -> None:
        prices = Prices("m", RATES, request=12 * 10**15)
        cost = cost_by(prices, used())
        assert cost is not None
        assert cost.leaves == (("requests", 1, 12 * 10**15, 12 * 10**9),)

    @pytest.mark.parametrize(
        ("input_tokens", "paid"),
        [(199, 1_000_000), (200, 1_000_000), (201, 2_000_000), (500, 2_000_000), (501, 3_000_000)],
    )
    def test_a_tier_reprices_the_whole_call_beyond_its_start(
        self, input_tokens: int, paid: int
    ) -> None:
        first, second, third = (Rates(p, None, None, p) for p in (1_000_000, 2_000_000, 3_000_000))
        prices = Prices("m", first, tiers=((500, third), (200, second)))
        cost = cost_by(prices, used(input_tokens, 1))
        assert cost is not None
        assert [leaf[2] for leaf in cost.leaves] == [paid, paid]


class TestDetails:
    def test_cache_writes_by_duration(self) -> None:
        usage = used(
            100,
            cache_write_input_tokens=90,
            cache_write_5m_input_tokens=10,
            cache_write_30m_input_tokens=20,
            cache_write_1h_input_tokens=30,
            cache_write_12h_input_tokens=5,
        )
        own = {"cache_write_1h": 7, "cache_write_12h": 9, "cache_write_5m": 3}
        cost = cost_by(Prices("m", Rates(1, None, 2, 1, own)), usage)
        assert cost is not None
        assert cost.exact
        assert quantities(cost) == {
            "input": 10,
            "cache_write_5m": 10,
            "cache_write_1h": 30,
            "cache_write_12h": 5,
            "cache_write": 45,  # of 30 minutes, and of no known duration
        }

    @pytest.mark.parametrize(
        ("duration", "exact"), [("5m", True), ("30m", True), ("1h", False), ("12h", False)]
    )
    def test_a_longer_write_without_a_price_of_its_own_is_an_estimate(
        self, duration: str, exact: bool
    ) -> None:
        usage = used(9, cache_write_input_tokens=9, **{f"cache_write_{duration}_input_tokens": 9})
        cost = cost_by(Prices("m", RATES), usage)
        assert quantities(cost) == {"cache_write": 9}
        assert cost is not None
        assert cost.exact is exact

    def test_kinds_without_a_price_of_their_own_are_charged_as_the_rest(self) -> None:
        usage = used(700, 70, audio_input_tokens=200, audio_output_tokens=20)
        assert quantities(cost_by(Prices("m", RATES), usage)) == {"input": 700, "output": 70}

    def test_cached_audio_is_in_one_leaf(self) -> None:
        usage = used(
            1000,
            cache_read_input_tokens=400,
            audio_input_tokens=300,
            cache_read_audio_input_tokens=100,
        )
        own = {"input_audio": 3, "cache_read_audio": 4}
        assert quantities(cost_by(Prices("m", Rates(1, 2, None, 1, own)), usage)) == {
            "input": 400,
            "cache_read_audio": 100,
            "cache_read": 300,
            "input_audio": 200,
        }
        # no price for reading audio: it is read as text is, which may not be what it costs
        cost = cost_by(Prices("m", Rates(1, 2, None, 1, {"input_audio": 3})), usage)
        assert quantities(cost) == {"input": 400, "cache_read": 400, "input_audio": 200}
        assert cost is not None
        assert not cost.exact
        # no price for reading at all: it is audio like any other
        cost = cost_by(Prices("m", Rates(1, None, None, 1, {"input_audio": 3})), usage)
        assert quantities(cost) == {"input": 700, "input_audio": 300}

    def test_audio_that_must_have_been_written_is_charged_once(self) -> None:
        usage = used(100, cache_write_input_tokens=80, audio_input_tokens=50)
        cost = cost_by(Prices("m", Rates(1, None, 2, 1, {"input_audio": 9})), usage)
        assert quantities(cost) == {"cache_write": 80, "input_audio": 20}
        assert cost is not None
        assert not cost.exact

    def test_reasoning_and_citations(self) -> None:
        own = {"output_reasoning": 3_000_000, "output_citation": 2_000_000}
        prices = Prices("m", Rates(None, None, None, 8_000_000, own))
        usage = used(0, 90, reasoning_output_tokens=25, citation_tokens=10)
        cost = cost_by(prices, usage)
        assert quantities(cost) == {"output": 65, "output_reasoning": 25, "output_citation": 10}
        assert cost is not None
        assert cost.pico == 615
        assert cost_by(Prices("m", RATES), usage) is None

    @pytest.mark.parametrize(
        ("field", "leaf"),
        [
            ("web_searches", "web_searches"),
            ("web_fetches", "web_fetches"),
            ("search_units", "search_units"),
            ("pages", "pages"),
            ("input_characters", "input_characters"),
            ("audio_input_ms", "input_audio_time"),
            ("audio_output_ms", "output_audio_time"),
        ],
    )
    def test_what_is_counted_beside_the_tokens(self, field: str, leaf: str) -> None:
        usage = used(1, 1, **{field: 3})
        assert cost_by(Prices("m", RATES), usage) is None
        cost = cost_by(Prices("m", RATES, beside={leaf: 5 * 10**12}), usage)
        assert quantities(cost)[leaf] == 3
        assert cost is not None
        per = PER.get(leaf, 1)
        assert cost.leaves[-1][3] == round(Decimal(15 * 10**6) / per)

    def test_a_search_pays_for_no_token(self) -> None:
        """A page does, where the model is sold by pages."""
        free, by_page = Rates(None, None, None, None), {"pages": 10**15}
        fees = {"web_searches": 10**16, "web_fetches": 0}
        for used_up in ({"web_searches": 1}, {"web_fetches": 1}):
            assert cost_by(Prices("m", free, beside=fees), used(10, 5, **used_up)) is None
            assert cost_by(Prices("m", free, beside=fees), used(**used_up)) is not None
        both = used(10, 5, pages=1, web_searches=1)
        found = cost_by(Prices("m", free, beside=fees | by_page), both)
        assert quantities(found) == {"pages": 1, "web_searches": 1}

    def test_images_by_size_and_quality(self) -> None:
        images = (
            ImagePrice("1024x1024", "hd", 8 * 10**16),
            ImagePrice("1024x1024", None, 4 * 10**16),
            ImagePrice(None, "low", 10**16),
        )
        prices = Prices("m", Rates(None, None, None, None), images=images)
        for size, quality, paid in (
            ("1024x1024", "hd", 8),
            ("1024x1024", "low", 4),
            ("512x512", "low", 1),
            (None, "low", 1),
            ("512x512", None, None),
        ):
            cost = cost_by(prices, used(images=2, image_size=size, image_quality=quality))
            assert (cost and cost.pico) == (paid and 2 * paid * 10**10)
        # some text beside it pays for no image of another size
        with_text = Prices("m", Rates(1, None, None, 1), images=images[:2])
        assert cost_by(with_text, used(1, 5, images=2, image_size="512x512")) is None

    def test_images_that_were_charged_by_their_tokens(self) -> None:
        usage = used(10, 500, image_output_tokens=500, images=1)
        prices = Prices("m", Rates(1, None, None, 2, {"output_image": 3}))
        assert quantities(cost_by(prices, usage)) == {"input": 10, "output_image": 500}
        assert cost_by(prices, used(10, images=1)) is None
        # a model that is sold by its input, whose output is free: its images are not
        by_input = Prices("m", Rates(1, None, None, 0))
        assert cost_by(by_input, usage) is None
        assert quantities(cost_by(by_input, used(10, 500))) == {"input": 10, "output": 500}
        # which tokens are the images' was not said: all that nothing was said of
        cost = cost_by(prices, used(10, 500, reasoning_output_tokens=100, images=1))
        assert quantities(cost) == {"input": 10, "output": 100, "output_image": 400}
        assert cost is not None
        assert not cost.exact
        text = cost_by(Prices("m", Rates(1, None, None, 2)), used(10, 500, images=1))
        assert text is not None
        assert not text.exact
        free = Prices("m", Rates(0, None, None, 0))
        assert quantities(cost_by(free, usage)) == {"input": 10, "output": 500}

    def test_images_that_were_charged_by_their_number_are_not_charged_by_tokens_too(self) -> None:
        by_number = (ImagePrice(None, None, 10**16),)
        for rates in (Rates(1, None, None, 2, {"output_image": 3}), Rates(1, None, None, 2)):
            prices = Prices("m", rates, images=by_number)
            cost = cost_by(prices, used(10, 520, image_output_tokens=500, images=1))
            assert quantities(cost) == {"input": 10, "output": 20, "images": 1}
            assert cost is not None
            assert cost.exact
            # which tokens are the images' was not said
            cost = cost_by(prices, used(10, 520, reasoning_output_tokens=20, images=1))
            assert quantities(cost) == {"input": 10, "output": 20, "images": 1}
            assert cost is not None
            assert not cost.exact
        cost = cost_by(
            Prices("m", Rates(1, None, None, None), images=by_number), used(9, 5, images=2)
        )
        assert quantities(cost) == {"input": 9, "images": 2}
        assert cost is not None
        assert cost.exact

    def test_a_borrowed_price_makes_an_estimate_where_it_was_used(self) -> None:
        prices = Prices("m", RATES, borrowed=frozenset({"cache_read"}))
        for call, exact in ((cached(100, 0, 5, 7), True), (cached(100, 1, 5, 7), False)):
            cost = cost_by(prices, call)
            assert cost is not None
            assert cost.exact is exact


PRICED = st.dictionaries(st.sampled_from(sorted(TOKENS)), st.integers(0, 10**15)).map(
    lambda prices: {"input": 10**12, "output": 10**13, **prices}
)
PARTS = st.builds(
    Parts,
    st.fixed_dictionaries({name: st.integers(0, 10**7) for name in INPUT}),
    st.fixed_dictionaries({name: st.integers(0, 10**7) for name in OUTPUT}),
    searches=st.integers(0, 9),
    audio_ms=st.integers(0, 10**7),
)
BESIDE = {"web_searches": 10**16, "input_audio_time": 111 * 10**15}


@given(priced=PRICED, parts=PARTS)
def test_every_token_is_in_one_leaf_and_each_leaf_is_rounded_once(
    priced: dict[str, int], parts: Parts
) -> None:
    cost = cost_by(Prices("m", rates_of(priced), beside=BESIDE), parts.ours())
    assert cost is not None
    sides = {"input": 0, "output": 0}
    for name, quantity, atto, pico in cost.leaves:
        assert name in LEAVES
        assert type(quantity) is type(atto) is type(pico) is int
        assert quantity > 0
        exact = Decimal(quantity * atto) / (PER.get(name, 1) * 10**6)
        assert pico == exact.quantize(Decimal(1), ROUND_HALF_EVEN)
        if name in TOKENS:
            sides["output" if name.startswith("output") else "input"] += quantity
    assert sides == {"input": parts.input_tokens, "output": parts.output_tokens}
    assert cost.pico == sum(leaf[3] for leaf in cost.leaves)
    names = [leaf[0] for leaf in cost.leaves]
    assert len(names) == len(set(names))


@given(priced=PRICED, parts=PARTS, seed=st.integers(0, 2**20), more=st.integers(1, 10**6))
def test_more_of_anything_costs_no_less(
    priced: dict[str, int], parts: Parts, seed: int, more: int
) -> None:
    """Within a tier: of each part that does not overlap another."""
    prices = Prices("m", rates_of(priced), beside=BESIDE)
    before = cost_by(prices, parts.ours())
    random = Random(seed)
    side = random.choice([parts.input, parts.output])
    side[random.choice(sorted(side))] += more
    after = cost_by(prices, parts.ours())
    assert before is not None
    assert after is not None
    assert after.pico >= before.pico

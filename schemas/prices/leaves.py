"""What a call costs by given prices: its usage, split into disjoint leaves, each rounded once.

Here of text alone, which most calls are; `details` does all of it. The whole call is priced,
or nothing of it: a part of its cost would look like all of it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import Any, Final, NamedTuple, TypeAlias

from spendstream.schemas.money import ATTO_PER_PICO, round_half_even
from spendstream.schemas.prices.book import Prices, Rates
from spendstream.schemas.usage import Usage

PricedLeaf: TypeAlias = tuple[str, int, int, int]
"""(leaf name, quantity, price in atto-USD, cost in pico-USD). The price is that of a token, search,
image, …; of audio by time, whose quantity is milliseconds, that of an hour."""


class Cost(NamedTuple):
    """What usage costs by one set of prices.

    Attributes:
        leaves: those of no quantity are left out.
        pico: pico-USD, the sum of the leaves'.
        rule: where the prices come from.
        exact: each leaf was charged by a price of its own. Otherwise some have the price of their
            nearest kin (a cache write of an hour that of a shorter one, a batch the standard
            one), and the cost is an estimate.
    """

    leaves: tuple[PricedLeaf, ...]
    pico: int
    rule: str
    exact: bool


_cost: Final[Callable[[tuple[tuple[PricedLeaf, ...], int, str, bool]], Cost]] = partial(
    tuple.__new__, Cost
)
"""`Cost` of a tuple, a tenth of a microsecond sooner than by its own constructor."""

_COMMON: Final = frozenset(
    {
        "input_tokens",
        "output_tokens",
        "cache_read_input_tokens",
        "cache_write_input_tokens",
        # of these most models have no price apart: `Prices.detailed` says which do
        "reasoning_output_tokens",
        "cache_write_5m_input_tokens",
        "cache_write_30m_input_tokens",
        # inside the audio, images and video of the input
        "cache_read_audio_input_tokens",
        "cache_read_image_input_tokens",
        "cache_read_video_input_tokens",
        # none has; they are input, whoever brought them in
        "tool_input_tokens",
        # of images, whose number is not left out
        "image_size",
        "image_quality",
    }
)
details_of: Final = attrgetter(*(name for name in Usage.model_fields if name not in _COMMON))
NO_DETAILS: Final = details_of(Usage(input_tokens=0, output_tokens=0))
"""The details of a call that is text alone, unless the prices are `detailed`."""


def plain_cost(prices: Prices, usage: Any) -> Cost | None:
    """As `cost_by`, of text alone, to prices that are not `detailed`: the same, thrice as fast.

    Nearly every event passes here, so that the two leaves that nearly all have are not left to
    `leaf_of`.
    """
    input_tokens = usage.input_tokens
    rates = rates_for(prices, input_tokens) if prices.tiers else prices.rates
    input_price, read_price, write_price, output_price, _ = rates
    pico = 0
    leaves: list[PricedLeaf] = []
    if (tokens := usage.cache_read_input_tokens) and read_price is not None:
        input_tokens -= tokens
        leaves.append(leaf := leaf_of("cache_read", tokens, read_price))
        pico += leaf[3]
    if (tokens := usage.cache_write_input_tokens) and write_price is not None:
        input_tokens -= tokens
        leaves.append(leaf := leaf_of("cache_write", tokens, write_price))
        pico += leaf[3]
    if input_tokens:
        if input_price is None:
            return None
        cost, finer = divmod(input_tokens * input_price, ATTO_PER_PICO)
        if finer:
            cost = round_half_even(input_tokens * input_price, ATTO_PER_PICO)
        leaves.insert(0, ("input", input_tokens, input_price, cost))
        pico += cost
    if tokens := usage.output_tokens:
        if output_price is None:
            return None
        cost, finer = divmod(tokens * output_price, ATTO_PER_PICO)
        if finer:
            cost = round_half_even(tokens * output_price, ATTO_PER_PICO)
        leaves.append(("output", tokens, output_price, cost))
        pico += cost
    if prices.request:
        leaves.append(leaf := leaf_of("requests", 1, prices.request))
        pico += leaf[3]
    return _cost((tuple(leaves), pico, prices.rule, prices.exact))


def rates_for(prices: Prices, input_tokens: int) -> Rates:
    """Those of the highest tier that a call's whole input is above."""
    for start, tier in prices.tiers:
        if input_tokens > start:
            return tier
    return prices.rates


def leaf_of(name: str, quantity: int, price_atto: int) -> PricedLeaf:
    cost, finer = divmod(quantity * price_atto, ATTO_PER_PICO)
    # nearly all published prices are whole pico-USD a token, and need no rounding
    if finer:
        cost = round_half_even(quantity * price_atto, ATTO_PER_PICO)
    return name, quantity, price_atto, cost

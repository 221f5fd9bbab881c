"""What a call costs by given prices: its usage, split into disjoint leaves, each rounded once.

The whole call is priced, or nothing of it: a part of its cost would look like all of it.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from spendstream.schemas.money import ATTO_PER_PICO, round_half_even
from spendstream.schemas.prices.book import Prices, Rates

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

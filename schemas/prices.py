"""What a call costs: dated prices in integers, and the leaves that usage splits into.

A `PriceBook` answers which prices held for a provider's model at a moment; `price` turns usage
into disjoint leaves (uncached input, cache read, cache write, output, a fee per request) with one
half-even rounding each. Where the book comes from is elsewhere (`price_compile`), so that reading
a price needs nothing but this file.

A price that is absent is not a price of zero: usage that meets an absent price is *unpriced*.
A zero is a price: the model is published as free.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from spendstream.schemas.money import ATTO_PER_PICO, round_atto_to_pico

DAY_MS: Final = 86_400_000
MAX_REMEMBERED: Final = 20_000
"""References a book remembers. Senders choose model names, so the memory must be bounded."""

PricedLeaf: TypeAlias = tuple[str, int, int, int]
"""(leaf name, quantity, price in atto-USD a unit, cost in pico-USD)."""


class Rates(NamedTuple):
    """Atto-USD a token. None: no such price is published.

    Without a cache price of their own, cached tokens stay in the input leaf at its price.
    """

    input: int | None
    cache_read: int | None
    cache_write: int | None
    output: int | None


@dataclass(frozen=True, slots=True)
class Prices:
    """The prices of one model at one moment.

    Attributes:
        rule: where they come from, for people: `openai/gpt-4o@2024-10-01`.
        rates: up to the first context-size tier.
        tiers: (start, rates), highest start first; a call whose input is larger than `start`
            is charged by them as a whole.
        request: atto-USD a call, whatever its tokens.
    """

    rule: str
    rates: Rates
    tiers: tuple[tuple[int, Rates], ...] = ()
    request: int = 0


class FromDate(NamedTuple):
    """Prices from a moment on."""

    start_ms: int
    prices: Prices | None


class Daily(NamedTuple):
    """Prices between two times of day in UTC, in milliseconds after midnight; may span midnight."""

    start_ms: int
    end_ms: int
    prices: Prices | None


@dataclass(frozen=True, slots=True)
class Schedule:
    """Prices that depend on the moment: the first entry in force wins, else `otherwise`."""

    entries: tuple[FromDate | Daily, ...]
    otherwise: Prices | None

    def at(self, time_ms: int) -> Prices | None:
        for entry in self.entries:
            if isinstance(entry, FromDate):
                if time_ms >= entry.start_ms:
                    return entry.prices
                continue
            start, end, prices = entry
            moment = time_ms % DAY_MS
            if start <= moment < end or (end < start and (moment >= start or moment < end)):
                return prices
        return self.otherwise


Found: TypeAlias = Prices | Schedule | None
"""What a book knows of a reference: prices that always hold, dated ones, or nothing."""


class PriceBook:
    """Prices by provider, model and moment.

    Attributes:
        version: names the data the book was compiled from; written to every priced row.
    """

    def __init__(self, version: str, find: Callable[[str, str], Found]) -> None:
        """`find(provider, model)` is asked once a reference; it must always answer the same."""
        self.version = version
        self._find = find
        self._found: dict[tuple[str, str], Found] = {}

    def resolve(self, provider: str, model: str, time_ms: int) -> Prices | None:
        """The prices in force at a moment; None where the reference is unknown or has none."""
        try:
            found = self._found[provider, model]
        except KeyError:
            found = self._remember(provider, model)
        if found.__class__ is Schedule:
            return found.at(time_ms)
        return found  # type: ignore[return-value]  # mypy does not narrow by `__class__ is`

    def _remember(self, provider: str, model: str) -> Found:
        if len(self._found) >= MAX_REMEMBERED:
            self._found.clear()
        found = self._found[provider, model] = self._find(provider, model)
        return found


def price(
    prices: Prices, input_tokens: int, cache_read: int, cache_write: int, output_tokens: int
) -> tuple[PricedLeaf, ...] | None:
    """Disjoint leaves of one call's usage; leaves of no quantity are left out.

    `cache_read` + `cache_write` must be within `input_tokens`, as `Usage` guarantees.

    Returns:
        The leaves; the call's cost is the sum of their costs. None where tokens were used that
        have no price (an embedding model's output, tokens of a model sold by the hour): the call
        is unpriced as a whole, since a part of its cost would look like all of it.
    """
    rates = prices.rates
    for start, tier in prices.tiers:
        if input_tokens > start:
            rates = tier
            break
    input_price, read_price, write_price, output_price = rates
    cached: list[PricedLeaf] = []
    if cache_read and read_price is not None:
        input_tokens -= cache_read
        cached.append(_leaf("cache_read", cache_read, read_price))
    if cache_write and write_price is not None:
        input_tokens -= cache_write
        cached.append(_leaf("cache_write", cache_write, write_price))
    leaves: list[PricedLeaf] = []
    if input_tokens:
        if input_price is None:
            return None
        leaves.append(_leaf("input", input_tokens, input_price))
    leaves += cached
    if output_tokens:
        if output_price is None:
            return None
        leaves.append(_leaf("output", output_tokens, output_price))
    if prices.request:
        leaves.append(_leaf("requests", 1, prices.request))
    return tuple(leaves)


def _leaf(name: str, quantity: int, price_atto: int) -> PricedLeaf:
    cost, finer = divmod(quantity * price_atto, ATTO_PER_PICO)
    # nearly all published prices are whole pico-USD a token, and need no rounding
    return name, quantity, price_atto, round_atto_to_pico(quantity * price_atto) if finer else cost

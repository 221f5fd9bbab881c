"""Published prices → integers. Rounding, where a price needs it, happens here and once.

- A price finer than an atto-USD a unit is rounded half-even to one: what genai-prices' data has of
  them is the noise of a float (0.18000000000000002) or a thirtieth of something.
- An empty set of prices is how genai-prices writes a free model (it never writes a zero): a price
  of zero. A set with a price of input and none of any output is an embedding model or one that
  answers in a word: sold by its input, its output is free.
- Prices of what a usage event does not carry (pixels, messages, code executions) are left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any, Final, NamedTuple, TypeAlias

from spendstream.schemas.prices.book import Prices, Rates, rates_of
from spendstream.schemas.prices.units import BESIDE, TOKENS, UNITS, Unit

Published: TypeAlias = Mapping[str, Any]
"""USD by genai-prices' name of the price: a Decimal, or what has `base` and ascending `tiers` with
`start` and `price` (genai-prices' `TieredPrices`)."""

_BY_CONDITION: Final = frozenset(
    {"input_audio_time", "output_audio_time", "input_characters", "pages"}
)
"""What a model is sold by instead of tokens; its searches and fees are the same in a batch."""

FREE: Final = Rates(0, None, None, 0)


class Terms(NamedTuple):
    """What applies to a model's prices and is in no list.

    Attributes:
        times: all token prices are so many times as high.
        minimum_audio_ms: see `Prices`.
        beside: atto-USD of what the list does not name.
    """

    times: Decimal | None = None
    minimum_audio_ms: int = 0
    beside: Mapping[str, int] = {}


NO_TERMS: Final = Terms()


def prices_of(
    rule: str,
    published: Published,
    terms: Terms = NO_TERMS,
    exact: bool = True,
    borrowed: Collection[str] = (),
) -> Prices | None:
    """None: no price here is for anything that an event carries.

    Args:
        borrowed: genai-prices' names of the prices that are another context's (see `Prices`).
    """
    if not published:
        return Prices(rule, FREE, beside=terms.beside, exact=exact)
    tokens = {
        leaf: value
        for leaf, unit in TOKENS.items()
        if (value := _price(published, unit)) is not None
    }
    beside = {
        leaf: _atto(value, unit.atto)
        for leaf, unit in BESIDE.items()
        if (value := _price(published, unit)) is not None
    }
    if not tokens and not beside:
        return None
    if "input" in tokens and not any(name.startswith("output") for name in published):
        tokens["output"] = Decimal(0)
    # each price may have tiers of its own: one row of rates for every start that any of them has
    starts = {tier.start for value in tokens.values() for tier in _tiers(value)}
    return Prices(
        rule,
        _rates(tokens, None, terms.times),
        tuple((start, _rates(tokens, start, terms.times)) for start in sorted(starts)[::-1]),
        beside.pop("requests", 0),
        {**terms.beside, **beside},
        minimum_audio_ms=terms.minimum_audio_ms,
        exact=exact,
        borrowed=frozenset(
            leaf
            for leaf in (*tokens, *(beside.keys() & _BY_CONDITION))
            if any(key in borrowed for key in UNITS[leaf].keys)
        ),
    )


def rounded(published: Published) -> Iterator[tuple[str, Decimal, int]]:
    """(name, USD, atto-USD used) of each price that is no whole number of atto-USD."""
    for unit in UNITS.values():
        for key in unit.keys:
            value = published.get(key)
            if value is None:
                continue
            for usd in (getattr(value, "base", value), *(tier.price for tier in _tiers(value))):
                used = _atto(usd, unit.atto)
                if Decimal(used) != usd * unit.atto:
                    yield key, usd, used


def _price(published: Published, unit: Unit) -> Any:
    return next((published[key] for key in unit.keys if published.get(key) is not None), None)


def _tiers(value: Any) -> Any:
    return getattr(value, "tiers", ())


def _rates(tokens: Mapping[str, Any], start: int | None, times: Decimal | None) -> Rates:
    """`start`: for an input just above it; None: from nothing on, before any tier."""
    atto = {
        leaf: _atto(_at(value, start), TOKENS[leaf].atto, times) for leaf, value in tokens.items()
    }
    return rates_of(atto)


def _at(value: Any, start: int | None) -> Decimal:
    price: Decimal = getattr(value, "base", value)
    if start is not None:
        for tier in _tiers(value):  # ascending
            if tier.start <= start:
                price = tier.price
    return price


def _atto(usd: Decimal, factor: int, times: Decimal | None = None) -> int:
    with localcontext() as context:
        context.prec = 60
        amount = usd * factor
        if times is not None:
            amount *= times
        return int(amount.to_integral_value(ROUND_HALF_EVEN))

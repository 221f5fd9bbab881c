"""What one call costs: its own usage and that of other models inside it, each at its own price."""

from __future__ import annotations

from typing import Any

from spendstream.schemas.prices.book import PLAIN, Context, PriceBook
from spendstream.schemas.prices.details import cost_by, cost_of_tokens
from spendstream.schemas.prices.leaves import Cost


def price_call(
    book: PriceBook,
    provider: str,
    model: str,
    usage: Any,
    time_ms: int,
    context: Context = PLAIN,
) -> Cost | None:
    """Price a call at its time. `usage` has the fields of `Usage`, and its subsets fit.

    Returns:
        The call's leaves, then its other models' in their order; the rule names each different one
        after a comma. None where a model is unknown or something that was used has no price:
        unpriced as a whole.
    """
    prices = book.resolve(provider, model, time_ms, context)
    if prices is None:
        return None
    cost = cost_by(prices, usage)
    for other in usage.other_models:
        theirs = book.resolve(provider, other.model, time_ms, context)
        added = None if theirs is None else cost_of_tokens(theirs, other)
        if cost is None or added is None:
            return None
        cost = _both(cost, added)
    return cost


def _both(first: Cost, second: Cost) -> Cost:
    rules = first.rule.split(", ")
    return Cost(
        first.leaves + second.leaves,
        first.pico + second.pico,
        first.rule if second.rule in rules else f"{first.rule}, {second.rule}",
        first.exact and second.exact,
    )

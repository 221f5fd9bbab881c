"""What one event cost: its usage, split into leaves and priced from the book."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Final

from spendstream.schemas.prices import PriceBook, price
from spendstream.schemas.records import CostQuality
from spendstream.schemas.usage import Usage
from spendstream.streams.core.outputs import LeafStruct

PricedEvent = tuple[tuple[Any, ...], int | None, str | None]
"""(leaves, cost, price rule). The cost in pico-USD is the sum of the leaves'; None: unpriced, which
is not free."""

UNPRICED: Final[PricedEvent] = ((), None, None)
NEVER_SENT: Final[PricedEvent] = ((), 0, None)
"""A blocked call has not reached its provider, so it cost nothing."""


def price_event(book: PriceBook, event: Any, time_ms: int) -> PricedEvent:
    """Price an event at its own time. No usage, an unknown model, a missing price: unpriced."""
    usage = event.usage
    if usage is None:
        return NEVER_SENT if event.status == "blocked" else UNPRICED
    prices = book.resolve(event.provider, event.response_model or event.request_model, time_ms)
    if prices is None:
        return UNPRICED
    priced = price(
        prices,
        usage.input_tokens,
        usage.cache_read_input_tokens,
        usage.cache_write_input_tokens,
        usage.output_tokens,
    )
    if priced is None:
        return UNPRICED
    cost = 0
    leaves = []
    for name, quantity, price_atto, leaf_cost in priced:
        cost += leaf_cost
        leaves.append(LeafStruct(name, quantity, str(price_atto), str(leaf_cost)))
    return tuple(leaves), cost, prices.rule


_STANDARD_TIERS: Final = frozenset({None, "default", "standard", "auto"})
_PRICED: Final = frozenset(
    {
        "input_tokens",
        "output_tokens",
        "cache_read_input_tokens",
        "cache_write_input_tokens",
        # the same tokens at the same price
        "reasoning_output_tokens",
        "tool_input_tokens",
        "cache_write_5m_input_tokens",
    }
)
_OTHER_UNITS: Final = attrgetter(*(name for name in Usage.model_fields if name not in _PRICED))


def cost_quality(event: Any, cost: int | None) -> CostQuality:
    """What the cost rests on.

    Batch and other service tiers, audio, images and whatever else is not text are priced as
    standard text for want of better, or not at all, and say so: `estimated`.
    """
    if cost is None:
        return "unpriced"
    quality: CostQuality = event.usage_quality
    if quality == "measured" and (
        event.batch
        or event.service_tier not in _STANDARD_TIERS
        or (event.usage is not None and any(_OTHER_UNITS(event.usage)))
    ):
        return "estimated"
    return quality

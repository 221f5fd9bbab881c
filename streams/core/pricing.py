"""What one event cost: its usage, split into leaves and priced from the book."""

from __future__ import annotations

from typing import Any, Final

from spendstream.schemas.prices.book import PLAIN, PriceBook
from spendstream.schemas.prices.calls import price_call
from spendstream.schemas.prices.context import context_of
from spendstream.schemas.records import CostQuality
from spendstream.streams.core.outputs import LeafStruct

PricedEvent = tuple[tuple[Any, ...], int | None, str | None, CostQuality]
"""(leaves, cost, price rule, what the cost rests on). The cost in pico-USD is the sum of the
leaves'; None: unpriced, which is not free."""

UNPRICED: Final[PricedEvent] = ((), None, None, "unpriced")


def price_event(book: PriceBook, event: Any, time_ms: int) -> PricedEvent:
    """Price an event at its own time. No usage, an unknown model, a missing price: unpriced."""
    usage = event.usage
    quality: CostQuality = event.usage_quality
    if usage is None:
        # a blocked call has not reached its provider, so it cost nothing
        return ((), 0, None, quality) if event.status == "blocked" else UNPRICED
    context = PLAIN
    if event.batch or event.service_tier is not None or event.region is not None:
        context = context_of(event.batch, event.service_tier, event.region)
    cost = price_call(
        book, event.provider, event.response_model or event.request_model, usage, time_ms, context
    )
    if cost is None:
        return UNPRICED
    priced, pico, rule, exact = cost
    leaves = tuple(
        [LeafStruct(name, quantity, str(price), str(own)) for name, quantity, price, own in priced]
    )
    if quality == "measured" and not exact:
        quality = "estimated"
    return leaves, pico, rule, quality

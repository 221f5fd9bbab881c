"""From what a call cost to what its workspace is charged, by the workspace's plan.

Which cost counts where the provider or the caller has reported one is the plan's `counted_cost`.
The charge is what the plan's own prices make of the call, where every model in it has one; else the
cost that counts, with the plan's markup.

The quality is of both: where the charge by the plan's own prices rests on less than the cost does,
as an estimate, the row does.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from spendstream.schemas.charge import charge_of
from spendstream.schemas.prices.book import PriceBook
from spendstream.schemas.records import CostQuality
from spendstream.streams.core.plans import Charging
from spendstream.streams.core.pricing import PricedEvent, price_event

_AS_GOOD_AS_SAID: Final = ("measured", "provider_reported")


class Charged(NamedTuple):
    """Pico-USD: the cost that counts and the charge, each None where it is not known."""

    cost: int | None
    charge: int | None
    quality: CostQuality


def charge_event(
    charging: Charging, book: PriceBook, event: Any, time_ms: int, priced: PricedEvent
) -> Charged:
    """Charge an event that was priced by the same book at the same time."""
    _, cost, _, quality = priced
    if event.status == "blocked":
        return Charged(cost, cost, quality)
    if charging.reported and event.reported_cost_pico is not None:
        cost, quality = int(event.reported_cost_pico), "provider_reported"
    charge = None if cost is None else charge_of(cost, charging.parts)
    if charging.own:
        _, own, _, own_quality = price_event(book.only(charging.own), event, time_ms)
        if own is not None:
            charge = own
            if own_quality not in _AS_GOOD_AS_SAID and quality in _AS_GOOD_AS_SAID:
                quality = own_quality
    return Charged(cost, charge, quality)

"""What one event cost: its usage, split into leaves and priced from the book.

Nearly every event is text, perhaps with searches, at prices of whole pico-USD: those are priced
here in one go, and `price_call` does all others. That both find the same is tested.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Final

from spendstream.schemas.prices.book import PLAIN, PriceBook, Prices
from spendstream.schemas.prices.calls import price_call
from spendstream.schemas.prices.context import context_of
from spendstream.schemas.records import CostQuality
from spendstream.schemas.usage import Usage
from spendstream.streams.core.outputs import LeafStruct

PricedEvent = tuple[tuple[Any, ...], int | None, str | None, CostQuality]
"""(leaves, cost, price rule, what the cost rests on). The cost in pico-USD is the sum of the
leaves'; None: unpriced, which is not free."""

UNPRICED: Final[PricedEvent] = ((), None, None, "unpriced")

_NEVER_APART: Final = frozenset(
    {
        "input_tokens",
        "output_tokens",
        "cache_read_input_tokens",
        "cache_write_input_tokens",
        # of these most models have no price apart: `Prices.text` is empty for those that do
        "reasoning_output_tokens",
        "cache_write_5m_input_tokens",
        "cache_write_30m_input_tokens",
        # inside the audio, images and video of the input
        "cache_read_audio_input_tokens",
        "cache_read_image_input_tokens",
        "cache_read_video_input_tokens",
        # none has; they are input, whoever brought them in
        "tool_input_tokens",
        "web_searches",
        # of images, whose number is looked at
        "image_size",
        "image_quality",
    }
)
_details_of: Final = attrgetter(*(name for name in Usage.model_fields if name not in _NEVER_APART))
_TEXT_ALONE: Final = _details_of(Usage(input_tokens=0, output_tokens=0))


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
    model = event.response_model or event.request_model
    prices = book.resolve(event.provider, model, time_ms, context)
    if prices is None:
        return UNPRICED
    if prices.text and _details_of(usage) == _TEXT_ALONE:
        return _of_text(prices, usage, quality)
    cost = price_call(book, event.provider, model, usage, time_ms, context)
    if cost is None:
        return UNPRICED
    priced, pico, rule, exact = cost
    leaves = tuple(
        [LeafStruct(name, quantity, str(price), str(own)) for name, quantity, price, own in priced]
    )
    if quality == "measured" and not exact:
        quality = "estimated"
    return leaves, pico, rule, quality


def _of_text(prices: Prices, usage: Any, quality: CostQuality) -> PricedEvent:
    tokens = usage.input_tokens
    for above, fresh, read, written, output, search in prices.text:  # noqa: B007  # the one it ends with
        if tokens > above:
            break
    exact = prices.exact
    pico = 0
    leaves: list[Any] = []
    if read is not None and (cached := usage.cache_read_input_tokens):
        tokens -= cached
        pico = cost = cached * read.pico
        leaves.append(LeafStruct("cache_read", cached, read.atto, str(cost)))
        exact = exact and read.own
    if written is not None and (cached := usage.cache_write_input_tokens):
        tokens -= cached
        cost = cached * written.pico
        pico += cost
        leaves.append(LeafStruct("cache_write", cached, written.atto, str(cost)))
        exact = exact and written.own
    if tokens:
        cost = tokens * fresh.pico
        pico += cost
        leaves.insert(0, LeafStruct("input", tokens, fresh.atto, str(cost)))
        exact = exact and fresh.own
    if tokens := usage.output_tokens:
        cost = tokens * output.pico
        pico += cost
        leaves.append(LeafStruct("output", tokens, output.atto, str(cost)))
        exact = exact and output.own
    if searches := usage.web_searches:
        if search is None:
            return UNPRICED
        cost = searches * search.pico
        pico += cost
        leaves.append(LeafStruct("web_searches", searches, search.atto, str(cost)))
    if not exact and quality == "measured":
        quality = "estimated"
    return tuple(leaves), pico, prices.rule, quality

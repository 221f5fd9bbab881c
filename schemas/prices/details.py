"""What a call costs in which more was used than text, or which has prices that are finer: audio
and images, cache writes by duration, reasoning, searches, pages, hours.

A leaf is what remains of a total when the subsets that have a price of their own are taken out of
it. A subset without one stays in the total, at the total's price, as the providers charge it.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Final

from spendstream.schemas.money import ATTO_PER_PICO, round_half_even
from spendstream.schemas.prices.book import Prices, Rates
from spendstream.schemas.prices.leaves import Cost, PricedLeaf, leaf_of, rates_for
from spendstream.schemas.prices.units import BESIDE, PER

_INPUT_KINDS: Final = tuple(
    (
        f"input_{kind}",
        attrgetter(f"{kind}_input_tokens"),
        f"cache_read_{kind}",
        attrgetter(f"cache_read_{kind}_input_tokens"),
    )
    for kind in ("audio", "image", "video")
)
_WRITES: Final = tuple(
    (f"cache_write_{duration}", attrgetter(f"cache_write_{duration}_input_tokens"))
    for duration in ("5m", "30m", "1h", "12h")
)
_OUTPUT_KINDS: Final = (
    ("output_reasoning", attrgetter("reasoning_output_tokens")),
    *(
        (f"output_{kind}", attrgetter(f"{kind}_output_tokens"))
        for kind in ("audio", "image", "video")
    ),
)
_USUAL: Final = frozenset({"cache_write_5m", "cache_write_30m"})
"""How long a cache write is kept unless the caller pays for more (Anthropic 5 minutes, OpenAI and
its models on Bedrock 30): the price of a write is theirs."""
_BESIDE: Final = tuple(
    (leaf, attrgetter(unit.field)) for leaf, unit in BESIDE.items() if unit.field
)
_BY_TOOLS: Final = frozenset({"web_searches", "web_fetches"})
"""What a call's tools did: no model is sold by it, and paying for it pays for no token."""


def cost_by(prices: Prices, usage: Any) -> Cost | None:
    """What a call's usage costs, without its other models'.

    Args:
        usage: has the fields of `Usage`, and its subsets fit.

    Returns:
        None where something was used that has no price.
    """
    beside = _leaves_beside(prices, usage)
    if beside is None:
        return None
    told = not prices.by_tokens and any(leaf[0] not in _BY_TOOLS for leaf in beside)
    by_images = bool(usage.images)
    images_paid = by_images and any(leaf[0] == "images" for leaf in beside)
    if usage.citation_tokens:
        price = rates_for(prices, usage.input_tokens).details.get("output_citation")
        if price is None:
            return None
        beside.insert(0, leaf_of("output_citation", usage.citation_tokens, price))
    if prices.request:
        beside.append(leaf_of("requests", 1, prices.request))
    if told:
        # sold by the hour or page, which were paid: tokens are only told (Voxtral, Mistral OCR)
        return _sum(prices, beside, exact=True)
    return _of_tokens(prices, usage, beside, by_images, images_paid)


def cost_of_tokens(prices: Prices, tokens: Any) -> Cost | None:
    """As `cost_by`, of another model's tokens inside a response: no request of their own."""
    return _of_tokens(prices, tokens, [], by_images=False, images_paid=False)


def _of_tokens(
    prices: Prices, tokens: Any, beside: list[PricedLeaf], by_images: bool, images_paid: bool
) -> Cost | None:
    rates = rates_for(prices, tokens.input_tokens)
    inputs, outputs = _input(rates, tokens), _output(rates, tokens, by_images, images_paid)
    if inputs is None or outputs is None:
        return None
    exact = inputs.exact and outputs.exact
    return _sum(prices, inputs.leaves + outputs.leaves + beside, exact)


def _sum(prices: Prices, leaves: list[PricedLeaf], exact: bool) -> Cost:
    pico = sum([leaf[3] for leaf in leaves])
    if prices.borrowed and any(leaf[0] in prices.borrowed for leaf in leaves):
        exact = False
    return Cost(tuple(leaves), pico, prices.rule, prices.exact and exact)


class _Total:
    """A total that leaves are taken out of; no token is taken twice.

    Of a cached token it is not always known whether it is text or audio: where the named subsets
    together are more than their total, what is left is all that a later one gets, and the split
    is no longer exact.
    """

    __slots__ = ("exact", "leaves", "left")

    def __init__(self, tokens: int) -> None:
        self.left = tokens
        self.leaves: list[PricedLeaf] = []
        self.exact = True

    def take(self, name: str, tokens: int, price: int) -> None:
        if tokens > self.left:
            tokens = self.left
            self.exact = False
        if tokens:
            self.left -= tokens
            self.leaves.append(leaf_of(name, tokens, price))


def _input(rates: Rates, usage: Any) -> _Total | None:
    total = _Total(usage.input_tokens)
    own = rates.details
    read = usage.cache_read_input_tokens
    fresh: list[tuple[str, int, int]] = []
    for name, tokens_of, cached_name, cached_of in _INPUT_KINDS if own else ():
        tokens = tokens_of(usage)
        if not tokens:
            continue
        cached = cached_of(usage)
        if (price := own.get(cached_name)) is not None:
            total.take(cached_name, cached, price)
            read -= cached
            tokens -= cached
        elif rates.cache_read is not None:
            # charged as cached text, which is not what this kind costs elsewhere
            total.exact = total.exact and not (cached and name in own)
            tokens -= cached
        if (price := own.get(name)) is not None:
            fresh.append((name, tokens, price))
    if rates.cache_read is not None:
        total.take("cache_read", read, rates.cache_read)
    if written := usage.cache_write_input_tokens:
        for name, tokens_of in _WRITES:
            tokens = tokens_of(usage)
            if (price := own.get(name)) is not None:
                total.take(name, tokens, price)
                written -= tokens
            elif tokens and rates.cache_write is not None and name not in _USUAL:
                total.exact = False
        if rates.cache_write is not None:
            total.take("cache_write", written, rates.cache_write)
    for name, tokens, price in fresh:
        total.take(name, tokens, price)
    return _with_rest(total, "input", rates.input)


def _output(rates: Rates, usage: Any, by_images: bool, images_paid: bool) -> _Total | None:
    """
    Args:
        by_images: the call made images.
        images_paid: by their number, so that their tokens are only told.
    """
    total = _Total(usage.output_tokens)
    own = rates.details
    drawn = usage.image_output_tokens
    if by_images and total.left and not drawn:
        # which tokens were the images' was not said: all that nothing was said of may have been
        others = sum(count_of(usage) for name, count_of in _OUTPUT_KINDS if name != "output_image")
        drawn = max(total.left - others, 0)
        total.exact = images_paid and rates.output is None
    if images_paid:
        total.left -= drawn
    for name, tokens_of in _OUTPUT_KINDS if own else ():
        price = own.get(name)
        if price is None:
            continue
        if name != "output_image":
            total.take(name, tokens_of(usage), price)
        elif not images_paid:
            total.take(name, drawn, price)
    return _with_rest(total, "output", rates.output)


def _with_rest(total: _Total, name: str, price: int | None) -> _Total | None:
    if total.left:
        if price is None:
            return None
        total.leaves.insert(0, leaf_of(name, total.left, price))
    return total


def _leaves_beside(prices: Prices, usage: Any) -> list[PricedLeaf] | None:
    """What is counted beside the tokens; None where one of them has no price."""
    leaves: list[PricedLeaf] = []
    for name, quantity_of in _BESIDE:
        quantity = quantity_of(usage)
        if not quantity:
            continue
        price = _image_price(prices, usage) if name == "images" else prices.beside.get(name)
        if price is None:
            if name == "images" and usage.output_tokens and _draws_by_tokens(prices):
                continue  # charged by its tokens; the number is only told
            return None
        if name in PER:
            quantity = max(quantity, prices.minimum_audio_ms)
            cost = round_half_even(quantity * price, PER[name] * ATTO_PER_PICO)
            leaves.append((name, quantity, price, cost))
        else:
            leaves.append(leaf_of(name, quantity, price))
    return leaves


def _draws_by_tokens(prices: Prices) -> bool:
    """Whether images cost their tokens: where some have a price by number, the others have none;
    and a model that is sold by its input alone, and is not free, makes none for nothing."""
    rates = prices.rates
    if prices.images:
        return False
    return bool(rates.output or rates.details.get("output_image") or not rates.input)


def _image_price(prices: Prices, usage: Any) -> int | None:
    for size, quality, price in prices.images:
        if size in (None, usage.image_size) and quality in (None, usage.image_quality):
            return price
    return None

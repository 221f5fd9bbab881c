"""Prices as people read them: USD for so much of something, the way providers publish them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

from spendstream.schemas.prices.book import Prices, Rates
from spendstream.schemas.prices.units import TOKENS, UNITS

_PER: Final = {
    "input_audio_time": "hour",
    "output_audio_time": "hour",
    "input_characters": "1,000,000 characters",
    "images": "image",
    "pages": "1,000 pages",
    "web_searches": "1,000 searches",
    "web_fetches": "1,000 fetches",
    "search_units": "1,000 search units",
    "requests": "1,000 requests",
}


def per(leaf: str) -> str:
    """What a leaf's price is for."""
    return "1,000,000 tokens" if leaf in TOKENS else _PER[leaf]


def source_of(rule: str) -> str | None:
    """Whose prices a rule, or several with a comma between them, names; None: there is none."""
    if not rule:
        return None
    operator = [one.startswith("override ") for one in rule.split(", ")]
    if all(operator):
        return "control.prices"
    return "genai-prices and control.prices" if any(operator) else "genai-prices"


def usd_of(leaf: str, atto: int) -> str:
    """Decimal string of USD; exact."""
    usd = (Decimal(atto) / UNITS[leaf].atto).normalize()
    return f"{usd:f}"


def lines_of(prices: Prices) -> list[dict[str, Any]]:
    """Each price by leaf; `input_above`: of a call with more input than that, as a whole."""
    lines = _rates(prices.rates, None)
    for start, rates in reversed(prices.tiers):
        lines += _rates(rates, start)
    beside = dict(prices.beside)
    if prices.request:
        beside["requests"] = prices.request
    lines += [_line(leaf, atto) for leaf, atto in beside.items()]
    lines += [
        _line("images", image.price) | {"size": image.size, "quality": image.quality}
        for image in prices.images
    ]
    return lines


class Place(NamedTuple):
    """Which of a model's prices a line of `lines_of` is."""

    leaf: str
    input_above: int | None
    size: str | None
    quality: str | None

    def __str__(self) -> str:
        above = None if self.input_above is None else f"above {self.input_above:,}"
        return " ".join(filter(None, (self.leaf, above, self.size, self.quality)))


Lines = Sequence[Mapping[str, Any]]


def moved(before: Lines, after: Lines) -> Iterator[tuple[Place, str | None, str | None]]:
    """Each price that is not the same in both, USD before and after; None: there is none."""
    old, new = (
        {Place._make(map(line.get, Place._fields)): str(line["price_usd"]) for line in lines}
        for lines in (before, after)
    )
    for place in dict.fromkeys((*old, *new)):
        if old.get(place) != new.get(place):
            yield place, old.get(place), new.get(place)


def _by_leaf(rates: Rates) -> dict[str, int]:
    """Atto-USD a token of each leaf that has a price."""
    named = {"input": rates.input, "cache_read": rates.cache_read, "cache_write": rates.cache_write}
    known = {leaf: atto for leaf, atto in named.items() if atto is not None}
    return known | ({} if rates.output is None else {"output": rates.output}) | {**rates.details}


def _rates(rates: Rates, above: int | None) -> list[dict[str, Any]]:
    tier = {} if above is None else {"input_above": above}
    return [_line(leaf, atto) | tier for leaf, atto in _by_leaf(rates).items()]


def _line(leaf: str, atto: int) -> dict[str, Any]:
    return {"leaf": leaf, "price_usd": usd_of(leaf, atto), "per": per(leaf)}

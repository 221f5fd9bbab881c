"""Prices in integers, and the book that answers which of them held for a call.

A `PriceBook` knows the prices of a provider's model at a moment and in a context (batch, service
tier, region). Where they come from is elsewhere (`compile`, `overrides`), as is what
a call's usage costs by them (`leaves`), so that reading a price needs nothing but this file.

A price that is absent is not a price of zero: usage that meets an absent price is *unpriced*.
A zero is a price: the model is published as free.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from spendstream.schemas.money import ATTO_PER_PICO

if TYPE_CHECKING:
    from spendstream.schemas.prices.overrides import Entry

DAY_MS: Final = 86_400_000
MAX_REMEMBERED: Final = 20_000
"""References a book remembers. Senders choose model names, so the memory must be bounded."""

NONE: Final[Mapping[str, int]] = MappingProxyType({})

Context: TypeAlias = tuple[tuple[str, str], ...]
"""What else decides the price of a call, sorted by name: `(("processing", "batch"),)`. The names
are genai-prices', and `region`."""

PLAIN: Final[Context] = ()
"""Neither batch nor a tier or region of its own: most calls."""


class Rates(NamedTuple):
    """Atto-USD a token. None: no such price is published.

    Without a cache price of their own, cached tokens stay in the input leaf at its price; as do
    audio, images, reasoning, … in the leaf around them, where `details` has no price for them.
    """

    input: int | None
    cache_read: int | None
    cache_write: int | None
    output: int | None
    details: Mapping[str, int] = NONE


def rates_of(atto: Mapping[str, int]) -> Rates:
    """Of atto-USD a token by leaf."""
    return Rates(
        atto.get("input"),
        atto.get("cache_read"),
        atto.get("cache_write"),
        atto.get("output"),
        {leaf: price for leaf, price in atto.items() if leaf not in Rates._fields},
    )


class TextPrice(NamedTuple):
    """In whole pico-USD, as nearly all prices of a token are, and in atto-USD as rows write it;
    `own`: not borrowed (see `Prices`)."""

    pico: int
    atto: str
    own: bool


class TextPrices(NamedTuple):
    """Of calls of text with an input above `above`, perhaps with searches."""

    above: int
    input: TextPrice
    cache_read: TextPrice | None
    cache_write: TextPrice | None
    output: TextPrice
    web_search: TextPrice | None


class ImagePrice(NamedTuple):
    """Atto-USD a generated image. None: of any size, of any quality."""

    size: str | None
    quality: str | None
    price: int


@dataclass(frozen=True, slots=True)
class Prices:
    """The prices of one model at one moment, in one context.

    Attributes:
        rule: where they come from, for people: `openai/gpt-4o@2024-10-01`.
        rates: up to the first context-size tier.
        tiers: (start, rates), highest start first; a call whose input is larger than `start`
            is charged by them as a whole.
        request: atto-USD a call, whatever its tokens.
        beside: atto-USD of what is counted beside the tokens, by leaf (`web_searches`).
        images: by number, size and quality; the first that fits counts.
        minimum_audio_ms: a call with any audio by time is charged for so much of it.
        exact: the context's every condition has a price of its own here. Without it a batch call
            is priced as any other, for want of better, and its cost is an estimate.
        borrowed: leaves whose price is not of the context either, though others' are: a batch
            whose cached tokens have the standard price. A call with any is an estimate.
        by_tokens: it has any price of tokens.
        text: of calls that are text alone, the highest size of input first; empty where a part of
            nearly every call (reasoning, short cache writes) has a price of its own, where text
            has none, or one finer than a pico-USD.
    """

    rule: str
    rates: Rates
    tiers: tuple[tuple[int, Rates], ...] = ()
    request: int = 0
    beside: Mapping[str, int] = field(default_factory=lambda: NONE)
    images: tuple[ImagePrice, ...] = ()
    minimum_audio_ms: int = 0
    exact: bool = True
    borrowed: frozenset[str] = frozenset()
    by_tokens: bool = field(init=False)
    text: tuple[TextPrices, ...] = field(init=False)

    def __post_init__(self) -> None:
        by_tokens = bool(self.rates.details) or any(price is not None for price in self.rates[:4])
        object.__setattr__(self, "by_tokens", by_tokens)
        text = [_text(self, above, rates) for above, rates in (*self.tiers, (-1, self.rates))]
        plain = not self.request and None not in text
        object.__setattr__(self, "text", tuple(text) if plain else ())


_USUAL_DETAILS: Final = frozenset({"output_reasoning", "cache_write_5m", "cache_write_30m"})


def _text(prices: Prices, above: int, rates: Rates) -> TextPrices | None:
    search = prices.beside.get("web_searches")
    used = [price for price in (*rates[:4], search) if price is not None]
    if any(price % ATTO_PER_PICO for price in used) or _USUAL_DETAILS & rates.details.keys():
        return None

    def text(leaf: str, atto: int | None) -> TextPrice | None:
        if atto is None:
            return None
        return TextPrice(atto // ATTO_PER_PICO, str(atto), leaf not in prices.borrowed)

    fresh, output = text("input", rates.input), text("output", rates.output)
    if fresh is None or output is None:
        return None
    read, written = text("cache_read", rates.cache_read), text("cache_write", rates.cache_write)
    return TextPrices(above, fresh, read, written, output, text("web_searches", search))


class Daily(NamedTuple):
    """Prices by time of day in UTC: `prices[i]` from `edges[i]` milliseconds after midnight on.
    The first edge is midnight."""

    edges: tuple[int, ...]
    prices: tuple[Prices | None, ...]


@dataclass(frozen=True, slots=True)
class Schedule:
    """Prices that depend on the moment: `spans[0]` before `starts[0]`, `spans[i]` from
    `starts[i - 1]` on."""

    starts: tuple[int, ...]
    spans: tuple[Prices | Daily | None, ...]

    def at(self, time_ms: int) -> Prices | None:
        span = self.spans[bisect_right(self.starts, time_ms)]
        if isinstance(span, Daily):
            return span.prices[bisect_right(span.edges, time_ms % DAY_MS) - 1]
        return span


Found: TypeAlias = Prices | Schedule | None
"""What a book knows of a reference: prices that always hold, dated ones, or nothing."""


class Cleaned(NamedTuple):
    """A published price that is no whole number of atto-USD: float noise, or a third of a cent.

    Attributes:
        price: genai-prices' name of it.
        published: USD, as it is in the data.
        used: atto-USD, rounded half-even, once.
    """

    provider: str
    model: str
    price: str
    published: str
    used: int


class PriceBook:
    """Prices by provider, model, moment and context.

    Attributes:
        version: names the data the book was compiled from; written to every priced row.
        cleaned: lists the prices that compiling had to round. Takes a moment.
    """

    def __init__(
        self,
        version: str,
        find: Callable[[str, str, Context], Found],
        cleaned: Callable[[], tuple[Cleaned, ...]] = tuple,
        only: Callable[[tuple[Entry, ...]], PriceBook] | None = None,
    ) -> None:
        """
        Args:
            find: is asked once a reference and context; it must always answer the same.
            only: makes the book of what `PriceBook.only` is asked for.
        """
        self.version = version
        self.cleaned = cleaned
        self._make_only = only
        self._only: dict[int, tuple[tuple[Entry, ...], PriceBook]] = {}
        self._find = find
        self._found: dict[tuple[str, str, Context], Found] = {}

    def resolve(
        self, provider: str, model: str, time_ms: int, context: Context = PLAIN
    ) -> Prices | None:
        """The prices in force at a moment; None where the reference is unknown or has none."""
        try:
            found = self._found[provider, model, context]
        except KeyError:
            found = self._remember(provider, model, context)
        if found.__class__ is Schedule:
            return found.at(time_ms)
        return found  # type: ignore[return-value]  # mypy does not narrow by `__class__ is`

    def only(self, entries: tuple[Entry, ...]) -> PriceBook:
        """The book of a workspace's own prices: these entries alone, by this book's aliases."""
        # by identity, which costs nothing to compare; the tuple is kept, so that no other gets its
        kept = self._only.get(id(entries))
        if kept is None:
            assert self._make_only is not None
            if len(self._only) >= MAX_REMEMBERED:
                self._only.clear()
            kept = self._only[id(entries)] = entries, self._make_only(entries)
        return kept[1]

    def _remember(self, provider: str, model: str, context: Context) -> Found:
        if len(self._found) >= MAX_REMEMBERED:
            self._found.clear()
        found = self._found[provider, model, context] = self._find(provider, model, context)
        return found

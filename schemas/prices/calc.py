"""Prices a line of JSON that says what a call used: for `spendstream prices calc`, and for tests.

A line has `provider`, `model`, `timestamp` and `usage`, and may bring its own `prices` (by
genai-prices' names) and the `price_context` of its call (`processing`, `service_tier`, `speed`,
`region`, …). With prices of its own, those hold whatever the context; without, the book's do.

`usage` is inclusive totals with named subsets: `input_tokens_total` holds the cached, written,
audio and image tokens, `output_tokens_total` reasoning, citations, audio and images. A count may
be a fraction here, since Cohere bills units in floats.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

from spendstream.schemas.fields import MAX_COUNT
from spendstream.schemas.money import usd_string
from spendstream.schemas.period import to_ms
from spendstream.schemas.prices.book import PLAIN, PriceBook
from spendstream.schemas.prices.calls import price_call
from spendstream.schemas.prices.compile import canonical, price_names
from spendstream.schemas.prices.context import context_said
from spendstream.schemas.prices.details import cost_by
from spendstream.schemas.prices.extras import terms_of
from spendstream.schemas.prices.leaves import Cost
from spendstream.schemas.prices.published import prices_of
from spendstream.schemas.prices.units import SIDES, UNITS
from spendstream.schemas.usage import Usage, broken_sums

FIELDS: Final = {
    "input_tokens_total": "input_tokens",
    "output_tokens_total": "output_tokens",
    "cache_read_tokens": "cache_read_input_tokens",
    "cache_write_tokens": "cache_write_input_tokens",
    "cache_write_5m_tokens": "cache_write_5m_input_tokens",
    "cache_write_30m_tokens": "cache_write_30m_input_tokens",
    "cache_write_1h_tokens": "cache_write_1h_input_tokens",
    "cache_write_12h_tokens": "cache_write_12h_input_tokens",
    "input_audio_tokens": "audio_input_tokens",
    "input_image_tokens": "image_input_tokens",
    "input_video_tokens": "video_input_tokens",
    "cache_audio_read_tokens": "cache_read_audio_input_tokens",
    "cache_image_read_tokens": "cache_read_image_input_tokens",
    "cache_video_read_tokens": "cache_read_video_input_tokens",
    "tool_use_prompt_tokens": "tool_input_tokens",
    "reasoning_tokens": "reasoning_output_tokens",
    "output_audio_tokens": "audio_output_tokens",
    "output_image_tokens": "image_output_tokens",
    "output_video_tokens": "video_output_tokens",
    "citation_tokens": "citation_tokens",
    "web_search_requests": "web_searches",
    "web_fetch_requests": "web_fetches",
    "search_units": "search_units",
    "audio_seconds": "audio_input_ms",
    "input_audio_seconds": "audio_input_ms",
    "output_audio_seconds": "audio_output_ms",
    "input_characters": "input_characters",
    "images": "images",
    "pages": "pages",
}
"""A line's names → those of `Usage`. Seconds become milliseconds."""
TEXTS: Final = ("image_size", "image_quality")
_LARGEST: Final = 9
_FINEST: Final = 21
"""Digits of a price before and behind the point, as an entry's."""
_MOST: Final = 1_000 * MAX_COUNT
"""A line may sum up many calls."""
_KEYS: Final = frozenset(key for unit in UNITS.values() for key in unit.keys)


class CalcError(ValueError):
    """A line cannot be priced as it is; the message names the field and the reason."""


class Tier(NamedTuple):
    """From an input above `start` on."""

    start: int
    price: Decimal


class Tiered(NamedTuple):
    """A price that depends on the size of the input; tiers ascend."""

    base: Decimal
    tiers: tuple[Tier, ...]


def calc(book: PriceBook, line: Mapping[str, Any]) -> Cost | None:
    """What the line's call costs; None: unpriced.

    Raises:
        CalcError: the line is wrong.
    """
    usage = usage_of(line.get("usage"))
    if line.get("prices"):
        terms = terms_of(*canonical(_text(line, "provider"), _text(line, "model")), PLAIN)
        published = published_of(line["prices"])
        # no price at all is how genai-prices writes a free model; a line that means it says "0"
        prices = prices_of("the line's own", published, terms) if published else None
        return None if prices is None else cost_by(prices, usage)
    context = line.get("price_context") or {}
    if not isinstance(context, dict) or not all(isinstance(v, str) for v in context.values()):
        raise CalcError("price_context: a mapping of names to texts is required")
    return price_call(
        book,
        _text(line, "provider"),
        _text(line, "model"),
        usage,
        _time_ms(line),
        context_said(context),
    )


def answer(book: PriceBook, line: Mapping[str, Any]) -> dict[str, Any]:
    """A line's cost and its parts, in USD; or why it has none.

    Of the parts, `input` and `output` are the tokens' and what else goes in or comes out; `other`
    is the rest: searches, fetches, fees.
    """
    known = {"id": line.get("id"), "cost_usd": None}
    try:
        cost = calc(book, line)
    except CalcError as error:
        return known | {"quality": "refused", "error": str(error)}
    if cost is None:
        return known | {"quality": "unpriced"}
    parts = {"input": 0, "output": 0, "other": 0}
    for name, _, _, pico in cost.leaves:
        parts[SIDES.get(name, "other")] += pico
    return {
        "id": line.get("id"),
        "cost_usd": usd_string(cost.pico),
        "quality": "measured" if cost.exact else "estimated",
        "rule": cost.rule,
        "parts": {side: usd_string(pico) for side, pico in parts.items()},
        "leaves": [
            {
                "leaf": name,
                "quantity": _number(quantity),
                "price_usd": f"{Decimal(atto).scaleb(-18).normalize():f}",
                "cost_usd": usd_string(pico),
            }
            for name, quantity, atto, pico in cost.leaves
        ],
    }


def usage_of(said: Any) -> Any:
    """An object with the fields of `Usage`.

    Raises:
        CalcError: a name is unknown, a count is none, subsets are larger than their total.
    """
    if not isinstance(said, dict):
        raise CalcError("usage: a mapping is required")
    found: dict[str, Any] = {name: field.default for name, field in Usage.model_fields.items()}
    found |= {"input_tokens": 0, "output_tokens": 0}
    for name, value in said.items():
        if name in TEXTS:
            found[name] = value
        elif name in FIELDS:
            field = FIELDS[name]
            if found[field]:  # two names of the same
                raise CalcError(f"usage.{name}: said twice")
            found[field] = _count(f"usage.{name}", value, 1000 if field.endswith("_ms") else 1)
        else:
            raise CalcError(f"usage.{name}: unknown field")
    # in a line citations are output tokens, in an event they stand beside them
    found["output_tokens"] -= found["citation_tokens"]
    usage = SimpleNamespace(**found)
    if found["output_tokens"] < 0:
        raise CalcError("usage: citation_tokens > output_tokens_total")
    if broken := broken_sums(usage):
        raise CalcError(f"usage: {broken[0]}")
    return usage


def published_of(said: Any) -> dict[str, Decimal | Tiered]:
    """A line's own prices. Those that no usage can meet are left out.

    Raises:
        CalcError: a price is none, or none that genai-prices knows.
    """
    if not isinstance(said, dict):
        raise CalcError("prices: a mapping is required")
    if unknown := sorted(set(map(str, said)) - price_names()):
        raise CalcError(f"prices.{unknown[0]}: unknown price")
    return {
        name: _published(f"prices.{name}", price) for name, price in said.items() if name in _KEYS
    }


def _published(where: str, price: Any) -> Decimal | Tiered:
    if not isinstance(price, dict):
        return _usd(where, price)
    steps = price.get("tiers", ())
    if not isinstance(steps, list | tuple) or not all(isinstance(step, dict) for step in steps):
        raise CalcError(f"{where}.tiers: a list of mappings is required")
    tiers = [
        Tier(_start(f"{where}.tiers", tier.get("start")), _usd(f"{where}.tiers", tier.get("price")))
        for tier in steps
    ]
    return Tiered(_usd(f"{where}.base", price.get("base")), tuple(sorted(tiers)))


def _usd(where: str, price: Any) -> Decimal:
    try:
        said = isinstance(price, str | int) and not isinstance(price, bool)
        usd = Decimal(price) if said else None
    except InvalidOperation:
        usd = None
    if usd is None or not usd.is_finite() or usd < 0:
        raise CalcError(f"{where}: {price!r} is no price; a decimal string of USD is required")
    if usd and not -_FINEST <= usd.adjusted() < _LARGEST:
        raise CalcError(f"{where}: {price!r} USD is out of bounds")
    return usd


def _start(where: str, start: Any) -> int:
    if type(start) is not int or start < 0:
        raise CalcError(f"{where}: starts at {start!r}; a number of tokens is required")
    return start


def _count(where: str, value: Any, times: int) -> int | Fraction:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not value >= 0:
        raise CalcError(f"{where}: {value!r} is no count")
    try:
        # a float by its shortest decimal, which is what was written: 0.3, not 0.299999999999999989
        exact = Fraction(str(value)) * times
    except ValueError:
        raise CalcError(f"{where}: {value!r} is no count") from None
    if exact > _MOST * times:
        raise CalcError(f"{where}: more than {_MOST:,}")
    return exact.numerator if exact.denominator == 1 else exact


def _number(quantity: int | Fraction) -> int | float:
    """For people: the cost was made of the exact one."""
    return quantity if isinstance(quantity, int) else float(quantity)


def _text(line: Mapping[str, Any], name: str) -> str:
    value = line.get(name)
    if not isinstance(value, str) or not value:
        raise CalcError(f"{name}: a text is required")
    return value


def _time_ms(line: Mapping[str, Any]) -> int:
    said = _text(line, "timestamp")
    try:
        moment = datetime.fromisoformat(said)
    except ValueError:
        raise CalcError(f"timestamp: {said!r} is no time") from None
    return to_ms(moment if moment.tzinfo else moment.replace(tzinfo=UTC))

"""What a call costs, worked out a second time: Decimal over genai-prices' published prices.

Like recount.py it shares no code with what it checks. The rules, written down again:

- A call's tokens are divided among the prices that its model has: each price is that of a kind
  (audio, cached, written for an hour, …), and what has no price of its own is charged with the
  kind around it. Each share costs quantity × price / per, rounded half-even to 12 decimals of a
  dollar, once. Prices are those of the event's own time, and of its batch, tier and region.
- A price that is finer than 18 decimals of a dollar a token is rounded to them, first.
- A model that has a price for input and none for any output is sold by its input. One that is
  sold by the hour, page or character is not sold by tokens, where some of these were used.
- Where the operator has a price for a call (recount_overrides.py), that entry's hold alone.
- A blocked call never reached the provider: it costs nothing.
- Of a cost, input is what went in (tokens, audio, characters, pages), output what came out, with
  citations; searches and fees by request are neither.
- Images are charged once: by their number, where there is such a price, or by their tokens.
- A call without usage, of an unknown model, or in which something was used that has no price, is
  unpriced; so is one with another model's tokens that are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, Final, NamedTuple

from genai_prices.data_snapshot import get_snapshot
from genai_prices.data_units import unit_data
from genai_prices.types import ModelInfo, ModelPrice, TieredPrices, TimeOfDateConstraint
from genai_prices.units import UnitRegistry

from spendstream.api.jobs.recount_overrides import NOBODY, Operator, asked, known_by

EXACT: Final = Context(prec=60)
PICO: Final = Decimal("0.000000000001")
ZERO: Final = Decimal(0)

COUNTS: Final = {
    "cache_read_input_tokens": "cache_read_tokens",
    "cache_write_input_tokens": "cache_write_tokens",
    "cache_write_5m_input_tokens": "cache_write_5m_tokens",
    "cache_write_30m_input_tokens": "cache_write_30m_tokens",
    "cache_write_1h_input_tokens": "cache_write_1h_tokens",
    "cache_write_12h_input_tokens": "cache_write_12h_tokens",
    "audio_input_tokens": "input_audio_tokens",
    "image_input_tokens": "input_image_tokens",
    "video_input_tokens": "input_video_tokens",
    "cache_read_audio_input_tokens": "cache_audio_read_tokens",
    "cache_read_image_input_tokens": "cache_image_read_tokens",
    "cache_read_video_input_tokens": "cache_video_read_tokens",
    "reasoning_output_tokens": "output_reasoning_tokens",
    "audio_output_tokens": "output_audio_tokens",
    "image_output_tokens": "output_image_tokens",
    "video_output_tokens": "output_video_tokens",
}
"""Parts of the tokens: an event's name of the count → genai-prices'."""

BESIDE: Final = {
    "citation_tokens": ("output", ("output_citation_tokens",)),
    "audio_input_ms": ("input", ("input_audio_seconds", "audio_seconds")),
    "audio_output_ms": ("output", ("output_audio_seconds", "audio_seconds")),
    "input_characters": ("input", ("input_characters",)),
    "pages": ("input", ("input_document_pages",)),
    "web_searches": ("other", ("web_searches",)),
    "search_units": ("other", ("rerank_searches",)),
}
"""Counted beside the tokens: its side, and the prices it may be sold by; the first there is."""

REGISTRY: Final = UnitRegistry(unit_data)
MILLION: Final = 1_000_000
FINEST: Final = Decimal(1).scaleb(-12)
"""USD a million tokens: 18 decimals of a dollar a token."""


class Cost(NamedTuple):
    """USD, each a whole number of pico-USD; `other` is neither input nor output."""

    input: Decimal
    output: Decimal
    other: Decimal

    @property
    def total(self) -> Decimal:
        return EXACT.add(EXACT.add(self.input, self.output), self.other)


NOTHING: Final = Cost(ZERO, ZERO, ZERO)


class _Share(NamedTuple):
    """A price of tokens: what it is of, and which of the shares before it are parts of that."""

    counted_as: str
    side: str
    per: int
    price: Decimal | TieredPrices
    within: tuple[int, ...]


class _Sold(NamedTuple):
    """The prices of a model for one event.

    Attributes:
        tokens: the narrower kinds first, so that a share is what they leave of its count.
        times: what a region multiplies the token prices by.
        images: USD an image by size and quality, which only the operator has.
    """

    published: dict[str, Decimal | TieredPrices]
    tokens: tuple[_Share, ...]
    seller: str
    model: str
    times: Decimal = Decimal(1)
    images: tuple[tuple[str | None, str | None, Decimal], ...] = ()


class Prices:
    """Costs from genai-prices' published prices, which are looked up once a model."""

    def __init__(self) -> None:
        self._models: dict[tuple[str, str], tuple[str, ModelInfo, bool] | None] = {}
        self._sold: dict[tuple[int, str, str, str], _Sold] = {}

    def cost(
        self, event: Mapping[str, Any], operator: Operator = NOBODY, listed: bool = True
    ) -> Cost | None:
        """None where the event is unpriced.

        `event` has the fields of a usage event's data and of its usage side by side, and `model`;
        `other_models` has mappings of the same, or their JSON.

        Args:
            operator: whose own prices go before the published ones.
            listed: without it those are left aside.
        """
        if event.get("status") == "blocked":
            return NOTHING
        if event.get("input_tokens") is None:
            return None
        cost = self._own(event, operator, listed, own=True)
        for other in event.get("other_models") or ():
            theirs = json.loads(other) if isinstance(other, str) else other
            conditions = ("provider", "time_ms", "batch", "service_tier", "region")
            called = {**theirs, **{key: event.get(key) for key in conditions}}
            added = self._own(called, operator, listed, own=False)
            if cost is None or added is None:
                return None
            cost = _both(cost, added)
        return cost

    def _own(
        self, event: Mapping[str, Any], operator: Operator, listed: bool, own: bool
    ) -> Cost | None:
        """Without other models' tokens. `own`: not those themselves, which are no request."""
        sold = self._sold_to(event, operator, listed)
        if sold is None:
            return None
        total = event["input_tokens"]
        costs = [_beside(event, sold) if own else NOTHING]
        if sold.tokens or not _sold_beside(event, sold):
            paid = bool(own and event.get("images")) and _image_price(event, sold) is not None
            costs.append(_tokens(event, sold, paid))
        if own and (fee := sold.published.get("requests_kcount")) is not None:
            costs.append(_of("other", _cost(Decimal(1), fee, 1000, total)))
        cost = NOTHING
        for one in costs:
            if one is None:
                return None
            cost = _both(cost, one)
        return cost

    def _sold_to(self, event: Mapping[str, Any], operator: Operator, listed: bool) -> _Sold | None:
        """By an entry, by one of the model that this one is another name of, or as published."""
        provider, model = event["provider"], event["model"]
        for followed in (False, True):
            provider, model = known_by(provider, model)
            found = self._model(provider, model)
            names = [model.strip().lower(), *([found[1].id.lower()] if found is not None else [])]
            entry = operator.entry(event, provider, names)
            if entry is not None:
                said = asked(entry, event["input_tokens"])
                shares = tuple(_Share(*share) for share in said.tokens)
                seller, of = entry["known_as"], names[-1]
                return _Sold(dict(said.published), shares, seller, of, images=said.images)
            other = None if followed else operator.alias(event, provider, names)
            if other is None:
                break
            provider, model = other
        return self._prices(event, *found) if listed and found is not None else None

    def _prices(
        self, event: Mapping[str, Any], seller: str, model: ModelInfo, listed: bool
    ) -> _Sold:
        time_ms, region = event["time_ms"], (event.get("region") or "").lower()
        said = _said(event) if listed else {}
        # without a rule by time of day, a price holds for whole days in UTC
        time = time_ms if _by_time_of_day(model) else time_ms // 86_400_000
        key = (time, seller, model.id, f"{said} {region} {listed}")
        if key not in self._sold:
            moment = datetime.fromtimestamp(time_ms / 1000, UTC)
            prices = model.get_prices(moment, said)
            terms = seller if listed else ""  # its own terms, which none that resells it has
            self._sold[key] = _sold(prices, terms, model.id, region)
        return self._sold[key]

    def _model(self, provider: str, name: str) -> tuple[str, ModelInfo, bool] | None:
        """(id of the provider whose list it is in, model, whether that provider was asked)."""
        key = (provider, name)
        if key not in self._models:
            snapshot = get_snapshot()
            try:
                asked_for, model = snapshot.find_provider_model(name, None, provider, None)
            except LookupError:
                self._models[key] = None
            else:
                # a provider that sells another's model does it at that one's standard prices
                seller = next(
                    one
                    for one in (asked_for, *snapshot.providers)
                    if any(listed is model for listed in one.models)
                )
                self._models[key] = (seller.id, model, seller is asked_for)
        return self._models[key]


def _said(event: Mapping[str, Any]) -> dict[str, str]:
    """genai-prices' price context."""
    tier = (event.get("service_tier") or "").lower()
    said = {}
    if event.get("batch") or tier == "batch":
        said["processing"] = "batch"
    if tier and tier not in ("batch", "default", "standard", "on_demand", "auto"):
        said["service_tier"] = said["speed"] = tier
    return said


def _sold(prices: ModelPrice, seller: str, model: str, region: str) -> _Sold:
    published: dict[str, Decimal | TieredPrices] = {
        name: price for name, price in vars(prices).items() if price is not None
    }
    if not published:
        # genai-prices writes a free model as one without any price
        published = {"input_mtok": ZERO, "output_mtok": ZERO}
    elif "input_mtok" in published and not any(name.startswith("output") for name in published):
        published["output_mtok"] = ZERO
    # Anthropic, data residency: inference in the US costs 1.1 times as much since Opus 4.6
    in_us = (seller, region) == ("anthropic", "us") and _generation(model) >= (4, 6)
    times = Decimal("1.1") if in_us else Decimal(1)
    return _Sold(published, _shares(published), seller, model, times)


def _generation(model: str) -> tuple[int, ...]:
    """`claude-opus-4-6` → (4, 6), `claude-sonnet-5` → (5,); names before 4 stood otherwise."""
    numbers: list[int] = []
    parts = model.split("-")
    if len(parts) < 3 or parts[1].isdigit():
        return ()
    for part in parts[2:4]:
        if not part.isdigit() or len(part) > 2:
            break
        numbers.append(int(part))
    return tuple(numbers)


def _shares(published: Mapping[str, Decimal | TieredPrices]) -> tuple[_Share, ...]:
    units = [REGISTRY.unit_for_price_key(name) for name in published]
    units = [
        unit
        for unit in units
        if unit.dimensions["family"] == "tokens"
        and unit.dimensions.get("token_type") != "citation"  # stands beside the output here
    ]
    units.sort(key=lambda unit: -len(unit.dimensions))
    return tuple(
        _Share(
            unit.usage_key,
            unit.dimensions["direction"],
            unit.per,
            published[unit.price_key],
            tuple(
                place
                for place, other in enumerate(units[:number])
                if unit.dimensions.items() <= other.dimensions.items()
            ),
        )
        for number, unit in enumerate(units)
    )


def _of(side: str, amount: Decimal) -> Cost:
    return NOTHING._replace(**{side: amount})


def _both(one: Cost, other: Cost) -> Cost:
    return Cost(*map(EXACT.add, one, other))


def _tokens(event: Mapping[str, Any], sold: _Sold, images_paid: bool) -> Cost | None:
    """`images_paid`: by their number; theirs are those tokens of the output that the event says
    to be images', or all that it says nothing of."""
    total = event["input_tokens"]
    counts = {"input_tokens": total, "output_tokens": event.get("output_tokens") or 0}
    for ours, theirs in COUNTS.items():
        counts[theirs] = event.get(ours) or 0
    if event.get("images") and not counts["output_image_tokens"]:
        others = sum(counts[f"output_{kind}_tokens"] for kind in ("reasoning", "audio", "video"))
        counts["output_image_tokens"] = max(counts["output_tokens"] - others, 0)
    if images_paid:
        counts["output_tokens"] -= counts["output_image_tokens"]
        counts["output_image_tokens"] = 0
    divided: list[int] = []
    for share in sold.tokens:
        divided.append(counts[share.counted_as] - sum(divided[place] for place in share.within))
    for side in ("input", "output"):
        if not _fits(side, sold.tokens, divided, counts[f"{side}_tokens"]):
            return None
    cost = NOTHING
    for share, quantity in zip(sold.tokens, divided, strict=True):
        if quantity:
            own = _cost(Decimal(quantity), share.price, share.per, total, sold.times)
            cost = _both(cost, _of(share.side, own))
    return cost


def _fits(side: str, shares: tuple[_Share, ...], divided: list[int], tokens: int) -> bool:
    """Whether all tokens of a side have a price. Those that were counted as audio, image or video
    and must have been written to a cache, or have been thought, are charged once: as that."""
    places = {share.counted_as: at for at, share in enumerate(shares) if share.side == side}
    rest = places.get(f"{side}_tokens")
    twice = sum(divided[at] for at in places.values() if at != rest) - tokens
    for kind in ("video", "image", "audio", "reasoning"):
        at = places.get(f"{side}_{kind}_tokens")
        if at is not None and twice > 0:
            less = min(divided[at], twice)
            divided[at] -= less
            twice -= less
    if rest is None:
        return twice == 0
    divided[rest] = -twice
    return True


def _beside(event: Mapping[str, Any], sold: _Sold) -> Cost | None:
    cost = NOTHING
    for name, (side, keys) in BESIDE.items():
        quantity = Decimal(event.get(name) or 0)
        if not quantity:
            continue
        units = [REGISTRY.units[key] for key in keys]
        unit = next((one for one in units if one.price_key in sold.published), None)
        if unit is None:
            return None
        if name.endswith("_ms"):
            quantity = EXACT.divide(quantity, Decimal(1000))
            if sold.seller == "groq" and sold.model.startswith("whisper-large-v3"):
                quantity = max(quantity, Decimal(10))  # seconds a request, at least
        times = sold.times if name == "citation_tokens" else Decimal(1)
        price = sold.published[unit.price_key]
        own = _cost(quantity, price, unit.per, event["input_tokens"], times)
        cost = _both(cost, _of(side, own))
    if fetches := event.get("web_fetches"):
        usd = sold.published.get("web_fetches_kcount")
        if usd is not None:
            own = _cost(Decimal(fetches), usd, 1000, event["input_tokens"])
            cost = _both(cost, _of("other", own))
        elif sold.seller != "anthropic":  # whose fetches cost their tokens alone
            return None
    if images := event.get("images"):
        each = _image_price(event, sold)
        if each is not None:
            own = _cost(Decimal(images), each, 1, event["input_tokens"])
            cost = _both(cost, _of("output", own))
        elif not event.get("output_tokens") or not _sells_output(sold):
            return None
    return cost


def _sold_beside(event: Mapping[str, Any], sold: _Sold) -> bool:
    """Whether something was used that the model may be sold by instead of tokens: not what its
    tools did, nor citations, which are tokens."""
    by_number = bool(event.get("images")) and _image_price(event, sold) is not None
    return by_number or any(
        event.get(name) for name in BESIDE if name not in ("web_searches", "citation_tokens")
    )


def _sells_output(sold: _Sold) -> bool:
    """Or is free: what is sold by its input alone makes no images. One with a price of some images
    has it for them alone."""
    if sold.images:
        return False
    usd = {
        name: price.base if isinstance(price, TieredPrices) else price
        for name, price in sold.published.items()
    }
    usd |= {
        f"{share.counted_as.removesuffix('_tokens')}_mtok": share.price
        for share in sold.tokens
        if isinstance(share.price, Decimal)
    }
    return bool(usd.get("output_mtok") or usd.get("output_image_mtok") or not usd.get("input_mtok"))


def _image_price(event: Mapping[str, Any], sold: _Sold) -> Decimal | None:
    for size, quality, usd in sold.images:
        if (size is None or size == event.get("image_size")) and (
            quality is None or quality == event.get("image_quality")
        ):
            return usd
    return None


def _cost(
    quantity: Decimal,
    price: Decimal | TieredPrices,
    per: int,
    total_input: int,
    times: Decimal = Decimal(1),
) -> Decimal:
    if isinstance(price, TieredPrices):
        # a cliff: the highest tier that the whole call's input is above prices all its tokens
        above = [tier.price for tier in price.tiers if total_input > tier.start]
        price = above[-1] if above else price.base
    price = EXACT.multiply(price, times)
    if per == MILLION:
        price = price.quantize(FINEST, ROUND_HALF_EVEN, EXACT)
    exact = EXACT.divide(EXACT.multiply(quantity, price), Decimal(per))
    return exact.quantize(PICO, ROUND_HALF_EVEN, EXACT)


def _by_time_of_day(model: ModelInfo) -> bool:
    return not isinstance(model.prices, ModelPrice) and any(
        isinstance(conditional.constraint, TimeOfDateConstraint) for conditional in model.prices
    )

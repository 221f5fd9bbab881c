"""What a call costs, worked out a second time: Decimal over genai-prices' published prices.

Like recount.py it shares no code with what it checks. The rules, written down again:

- Usage splits into disjoint leaves. Cached tokens are inside the input; where the model has no
  price for them they stay there. Each leaf costs quantity × price / per, rounded half-even to
  12 decimals of a dollar, once. Prices are those of the event's own time.
- A blocked call never reached the provider: it costs nothing.
- A call without usage, of an unknown model, or with tokens that have no price, is unpriced.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, Final, NamedTuple

from genai_prices.data_snapshot import get_snapshot
from genai_prices.data_units import unit_data
from genai_prices.types import ModelInfo, ModelPrice, TieredPrices, TimeOfDateConstraint

EXACT: Final = Context(prec=60)
PICO: Final = Decimal("0.000000000001")
ZERO: Final = Decimal(0)

ALIASES: Final = {
    "aws.bedrock": "aws",
    "az.ai.inference": "azure",
    "az.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "azure_ai": "azure",
    "azure_openai": "azure",
    "fireworks_ai": "fireworks",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "mistral_ai": "mistral",
    "moonshot_ai": "moonshotai",
    "x_ai": "x-ai",
}
"""Providers as OpenTelemetry names them, where genai-prices knows them by another id. A copy of the
price book's on purpose: the recount shares no code with what it checks."""

LEAVES: Final = {
    "input_tokens": "input_mtok",
    "cache_read_tokens": "cache_read_mtok",
    "cache_write_tokens": "cache_write_mtok",
    "output_tokens": "output_mtok",
    "requests": "requests_kcount",
}


class _Rates(NamedTuple):
    """Price of each leaf with what it is per, of one model at one moment."""

    input: tuple[Decimal | TieredPrices, Decimal] | None
    cache_read: tuple[Decimal | TieredPrices, Decimal] | None
    cache_write: tuple[Decimal | TieredPrices, Decimal] | None
    output: tuple[Decimal | TieredPrices, Decimal] | None
    request: tuple[Decimal | TieredPrices, Decimal] | None


class Prices:
    """Costs from genai-prices' published prices; unit prices are looked up once a model and day."""

    def __init__(self) -> None:
        self._per = {price: Decimal(unit_data[name]["per"]) for name, price in LEAVES.items()}
        self._models: dict[tuple[str, str], ModelInfo | None] = {}
        self._rates: dict[tuple[str, str, int], _Rates | None] = {}

    def cost(self, event: Mapping[str, Any]) -> Decimal | None:
        """USD, a whole number of pico-USD; None where the event is unpriced."""
        if event.get("status") == "blocked":
            return ZERO
        total_input: int | None = event.get("input_tokens")
        if total_input is None:
            return None
        rates = self._at(event["provider"], event["model"], event["time_ms"])
        if rates is None:
            return None
        uncached = total_input
        cost = ZERO
        for quantity, rate in (
            (event.get("cache_read_input_tokens") or 0, rates.cache_read),
            (event.get("cache_write_input_tokens") or 0, rates.cache_write),
        ):
            if rate is not None:
                uncached -= quantity
                cost = EXACT.add(cost, _leaf(quantity, rate, total_input))
        for quantity, rate in (
            (uncached, rates.input),
            (event.get("output_tokens") or 0, rates.output),
        ):
            if quantity and rate is None:
                return None
            if rate is not None:
                cost = EXACT.add(cost, _leaf(quantity, rate, total_input))
        if rates.request is not None:
            cost = EXACT.add(cost, _leaf(1, rates.request, total_input))
        return cost

    def _at(self, provider: str, name: str, time_ms: int) -> _Rates | None:
        model = self._model(provider, name)
        if model is None:
            return None
        if _by_time_of_day(model):
            return self._resolve(model, time_ms)
        # without a rule by time of day, a price holds for whole days in UTC
        key = (provider, name, time_ms // 86_400_000)
        if key not in self._rates:
            self._rates[key] = self._resolve(model, time_ms)
        return self._rates[key]

    def _model(self, provider: str, name: str) -> ModelInfo | None:
        key = (provider, name)
        if key not in self._models:
            lowered = provider.strip().lower()
            try:
                _, found = get_snapshot().find_provider_model(
                    name, None, ALIASES.get(lowered, lowered), None
                )
            except LookupError:
                found = None
            self._models[key] = found
        return self._models[key]

    def _resolve(self, model: ModelInfo, time_ms: int) -> _Rates | None:
        published = model.get_prices(datetime.fromtimestamp(time_ms / 1000, UTC))
        given = {k: v for k, v in vars(published).items() if v is not None}
        if not given:
            # genai-prices writes a free model as one without any price
            free = (ZERO, Decimal(1))
            return _Rates(free, None, None, free, None)
        if not given.keys() & self._per.keys():
            return None  # sold by the hour, image or page only
        return _Rates(
            *((given[key], self._per[key]) if key in given else None for key in LEAVES.values())
        )


def _leaf(quantity: int, rate: tuple[Decimal | TieredPrices, Decimal], total_input: int) -> Decimal:
    price, per = rate
    if isinstance(price, TieredPrices):
        # a cliff: the highest tier that the whole call's input is above prices all its tokens
        above = [tier.price for tier in price.tiers if total_input > tier.start]
        price = above[-1] if above else price.base
    exact = EXACT.divide(EXACT.multiply(Decimal(quantity), price), per)
    return exact.quantize(PICO, ROUND_HALF_EVEN, EXACT)


def _by_time_of_day(model: ModelInfo) -> bool:
    return not isinstance(model.prices, ModelPrice) and any(
        isinstance(conditional.constraint, TimeOfDateConstraint) for conditional in model.prices
    )

"""The same figures, worked out a second time by someone who has not seen how the first was done.

Plain Python and Decimal over what the senders say they sent (manifests) and over the published
prices (genai-prices). It imports nothing of spendstream, so that a mistake in our types, price
table, period arithmetic or rounding shows as a difference and is not made twice. An import
contract keeps it so; what it needs from elsewhere comes in as plain dicts.

The rules, written down again:

- The first event of a (workspace, id) counts, in the order given.
- Usage splits into disjoint leaves. Cached tokens are inside the input; where the model has no
  price for them they stay there. Each leaf costs quantity × price / per, rounded half-even to
  12 decimals of a dollar, once. Prices are those of the event's own time.
- A blocked call never reached the provider: it is counted and costs nothing.
- A call without usage, of an unknown model, or with tokens that have no price, is unpriced.
- A month is a calendar month in UTC.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from pathlib import Path
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


class Counted(NamedTuple):
    """One event that counts. `cost` in USD; None: unpriced."""

    workspace_id: str
    id: str
    time_ms: int
    user_id: str | None
    provider: str
    model: str
    request_type: str | None
    status: str
    input_tokens: int
    output_tokens: int
    cost: Decimal | None


@dataclass(slots=True)
class Sums:
    """`cost` in USD, of the priced requests."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal = ZERO
    unpriced: int = 0

    def add(self, event: Counted) -> None:
        self.requests += 1
        self.input_tokens += event.input_tokens
        self.output_tokens += event.output_tokens
        if event.cost is None:
            self.unpriced += 1
        else:
            self.cost = EXACT.add(self.cost, event.cost)


@dataclass(slots=True)
class Recount:
    """What the events come to. Months are named `2026-11`."""

    events: dict[tuple[str, str], Counted] = field(default_factory=dict)
    repeated: int = 0
    totals: dict[str, Sums] = field(default_factory=dict)
    months: dict[tuple[str, str], Sums] = field(default_factory=dict)


class Standing(NamedTuple):
    """A workspace's month against its plan, in USD."""

    credit: Decimal
    charge: Decimal
    remaining: Decimal
    overage: Decimal


def read_manifests(directory: Path) -> Iterator[dict[str, Any]]:
    """Events of all manifests, oldest file first.

    Raises:
        ValueError: a line is not an event; a torn last line (its writer was killed) is left out.
    """
    for path in sorted(directory.glob("*.jsonl")):
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if not line.endswith("\n"):
                    continue
                try:
                    event = json.loads(line)
                    event["workspace_id"], event["id"]
                except (ValueError, KeyError, TypeError) as error:
                    raise ValueError(f"{path}, line {number}: not an event: {error}") from error
                yield event


def recount(events: Iterable[Mapping[str, Any]]) -> Recount:
    """Count events; each a mapping with the fields of a manifest line (see `Counted`).

    `input_tokens` of None means that the usage is unknown. Times are milliseconds since 1970.
    """
    prices = Prices()
    result = Recount()
    for event in events:
        key = (event["workspace_id"], event["id"])
        if key in result.events:
            result.repeated += 1
            continue
        counted = result.events[key] = Counted(
            *key,
            event["time_ms"],
            event.get("user_id"),
            event["provider"],
            event["model"],
            event.get("request_type"),
            event.get("status") or "ok",
            event.get("input_tokens") or 0,
            event.get("output_tokens") or 0,
            prices.cost(event),
        )
        result.totals.setdefault(counted.workspace_id, Sums()).add(counted)
        month = (counted.workspace_id, month_of(counted.time_ms))
        result.months.setdefault(month, Sums()).add(counted)
    return result


def month_of(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m")


def standing(charge: Decimal, plan: Mapping[str, Any]) -> Standing:
    """A month's charge against a plan `{"credit_pico": …, "overage": …}`."""
    credit = EXACT.multiply(Decimal(plan["credit_pico"]), PICO)
    beyond = EXACT.subtract(charge, credit)
    return Standing(
        credit,
        charge,
        max(ZERO, -beyond),
        max(ZERO, beyond) if plan["overage"] else ZERO,
    )


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

"""A `PriceBook` from genai-prices' offline data (MIT licence, github.com/pydantic/genai-prices).

Its rules are followed, its arithmetic is not: how a model reference is matched, the fallback from
one provider to another (Azure sells OpenAI's models), which dated price wins, and that a tier
reprices the whole call. Each reference is compiled to integers when it is first asked for.

- A price finer than an atto-USD a token is rounded half-even to one, once, here.
- An empty price set is how genai-prices writes a free model (it never writes a zero): a price of
  zero. A set that has no token price, only hours, images or pages, is no price for tokens.
- Units that a usage event does not carry (audio, images, searches, hours) are not compiled, nor
  are variants by service tier and batch.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, time
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from spendstream.schemas.period import to_ms
from spendstream.schemas.prices import (
    Daily,
    Found,
    FromDate,
    PriceBook,
    Prices,
    Rates,
    Schedule,
)

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices

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
"""OpenTelemetry's and LiteLLM's names of providers → genai-prices' ids. They come before
genai-prices' own matching, which takes `azure.ai.openai` for OpenAI itself."""

FREE: Final = Rates(0, None, None, 0)

_ATTO_A_TOKEN: Final = Decimal(10**12)  # from USD a million tokens
_ATTO_A_REQUEST: Final = Decimal(10**15)  # from USD a thousand requests


def compile_book() -> PriceBook:
    """The book of the installed genai-prices. Takes no network.

    Raises:
        ImportError: genai-prices is not installed (it comes with `spendstream[streams]`).
    """
    from genai_prices.data_snapshot import find_provider_by_id, get_snapshot

    providers = get_snapshot().providers

    def find(provider_name: str, model_ref: str) -> Found:
        name = provider_name.strip().lower()
        if name == "litellm":  # its model names carry the provider: `openai/gpt-4o`
            name, _, model_ref = model_ref.partition("/")
        provider = find_provider_by_id(providers, ALIASES.get(name, name))
        if provider is None:
            return None
        model = provider.find_model(model_ref, all_providers=providers)
        return None if model is None else compile_model(_seller(model, provider, providers), model)

    return PriceBook(f"genai-prices {version('genai-prices')} {_digest(providers)}", find)


def compile_model(seller: str, model: ModelInfo) -> Found:
    """Prices of a model in integers; `seller` is the provider whose list the prices are from."""
    from genai_prices.types import ModelPrice, StartDateConstraint

    rule = f"{seller}/{model.id}"
    if isinstance(model.prices, ModelPrice):
        return _prices(rule, model.prices)
    entries: list[FromDate | Daily] = []
    # the last one in force wins; without any, the first, whatever its condition says
    otherwise = _prices(rule, model.prices[0].prices)
    for conditional in reversed(model.prices):
        constraint = conditional.constraint
        if constraint is None:
            otherwise = _prices(rule, conditional.prices)
            break
        if isinstance(constraint, StartDateConstraint):
            day = constraint.start_date
            entries.append(
                FromDate(_midnight_ms(day), _prices(f"{rule}@{day}", conditional.prices))
            )
        else:
            start, end = constraint.start_time, constraint.end_time
            named = f"{rule}@{start:%H:%M}-{end:%H:%M}"
            entries.append(
                Daily(_of_day_ms(start), _of_day_ms(end), _prices(named, conditional.prices))
            )
    return Schedule(tuple(entries), otherwise) if entries else otherwise


def _prices(rule: str, published: ModelPrice) -> Prices | None:
    """None: no price here is for tokens or calls."""
    if all(value is None for value in vars(published).values()):
        return Prices(rule, FREE)
    per_token = (
        published.input_mtok,
        published.cache_read_mtok,
        published.cache_write_mtok,
        published.output_mtok,
    )
    request = _atto(_at(published.requests_kcount, None), _ATTO_A_REQUEST) or 0
    base = _rates(per_token, None)
    if base == (None, None, None, None) and not request:
        return None
    # each price may have tiers of its own: one row of rates for every start that any of them has
    starts = {
        tier.start
        for value in per_token
        if value is not None and not isinstance(value, Decimal)
        for tier in value.tiers
    }
    tiers = tuple((start, _rates(per_token, start)) for start in sorted(starts, reverse=True))
    return Prices(rule, base, tiers, request)


def _rates(per_token: tuple[Decimal | TieredPrices | None, ...], start: int | None) -> Rates:
    return Rates(*(_atto(_at(value, start), _ATTO_A_TOKEN) for value in per_token))


def _at(value: Decimal | TieredPrices | None, start: int | None) -> Decimal | None:
    """A price for input just above `start`; None: from nothing on, before any tier."""
    if value is None or isinstance(value, Decimal):
        return value
    price = value.base
    if start is not None:
        for tier in value.tiers:  # ascending
            if tier.start <= start:
                price = tier.price
    return price


def _atto(usd: Decimal | None, factor: Decimal) -> int | None:
    if usd is None:
        return None
    with localcontext() as context:
        context.prec = 60
        return int((usd * factor).to_integral_value(ROUND_HALF_EVEN))


def _midnight_ms(day: date) -> int:
    return to_ms(datetime.combine(day, time(), UTC))


def _of_day_ms(moment: time) -> int:
    """Milliseconds after midnight UTC, rounded up: a call's time is in whole milliseconds."""
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    utc = datetime.combine(date(1970, 1, 1), zoned).astimezone(UTC).time()
    seconds = (utc.hour * 60 + utc.minute) * 60 + utc.second
    return seconds * 1000 + -(-utc.microsecond // 1000)


def _seller(model: ModelInfo, asked: Provider, providers: list[Provider]) -> str:
    """Id of the provider whose list holds the model: another than `asked` after a fallback."""
    for provider in (asked, *providers):
        if any(own is model for own in provider.models):
            return provider.id
    return asked.id


def _digest(providers: list[Provider]) -> str:
    """Content hash of all that decides a price: matching rules, prices, our aliases."""
    digest = hashlib.sha256(repr(sorted(ALIASES.items())).encode())
    for provider in providers:
        digest.update(repr((provider.id, provider.provider_match)).encode())
        digest.update(repr(provider.fallback_model_providers).encode())
        for model in provider.models:
            digest.update(repr((model.id, model.match, model.prices)).encode())
    return digest.hexdigest()[:12]

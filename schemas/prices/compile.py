"""A `PriceBook` from genai-prices' offline data and the operator's overrides above it.

Each reference is compiled to integers when it is first asked for: its own entries come first, then
those of the model that it is an alias of, then genai-prices' list. genai-prices' rules are
followed: how a model reference is matched, and the fallback from one provider to another (Azure
sells OpenAI's models).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import version as installed
from typing import TYPE_CHECKING, Final

from spendstream.schemas.prices.book import (
    DAY_MS,
    PLAIN,
    Cleaned,
    Context,
    Found,
    PriceBook,
    Prices,
)
from spendstream.schemas.prices.context import context_of
from spendstream.schemas.prices.entries import CompiledAlias, CompiledEntry, Reference
from spendstream.schemas.prices.extras import terms_of
from spendstream.schemas.prices.listed import Listed
from spendstream.schemas.prices.overrides import NO_OVERRIDES, Entry, Overrides
from spendstream.schemas.prices.published import rounded
from spendstream.schemas.prices.times import Span, timetable

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider

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

_US: Final = context_of(False, None, "us")


def compile_book(overrides: Overrides = NO_OVERRIDES) -> PriceBook:
    """The book of the installed genai-prices. Takes no network.

    Raises:
        ImportError: genai-prices is not installed (it comes with `spendstream[streams]`).
    """
    source = _Source(overrides)
    version = _version(overrides)

    def only(entries: tuple[Entry, ...]) -> PriceBook:
        own = _Source(overrides.model_copy(update={"prices": entries}), listed=False)
        return PriceBook(version, own.find)

    return PriceBook(version, source.find, cleaned_prices, only)


def canonical(provider: str, model: str) -> tuple[str, str]:
    """A reference with genai-prices' id of the provider, where `ALIASES` has one. LiteLLM's names
    of models carry their provider: `litellm` and `groq/llama-4` are `groq` and `llama-4`."""
    provider = provider.strip().lower()
    if provider == "litellm" and "/" in model:
        provider, _, model = model.partition("/")
        provider = provider.strip().lower()
    return ALIASES.get(provider, provider), model


@lru_cache(maxsize=1)
def cleaned_prices() -> tuple[Cleaned, ...]:
    """Prices of the installed genai-prices that are finer than an atto-USD, and what is used."""
    found: dict[Cleaned, None] = {}
    for provider in _providers():
        for model in provider.models:
            for published in _all_prices(model):
                for name, usd, used in rounded(vars(published)):
                    found[Cleaned(provider.id, model.id, name, str(usd), used)] = None
    return tuple(found)


def is_retired(provider: str, model: str) -> bool:
    """Whether genai-prices says that a provider does not offer a model any more."""
    listed = _listed(*canonical(provider, model))
    return listed is not None and bool(listed.model.deprecated)


def published_prices(
    provider: str, model: str, time_ms: int, providers: list[Provider] | None = None
) -> Prices | None:
    """Standard prices of a model, without the operator's.

    Args:
        providers: of genai-prices' data; the installed where none are given.
    """
    listed = _listed(*canonical(provider, model), providers)
    return None if listed is None else listed.at(time_ms, time_ms % DAY_MS, PLAIN)


@lru_cache(maxsize=1)
def price_names() -> frozenset[str]:
    """All prices that genai-prices knows, also of what no event carries."""
    from genai_prices.data_units import unit_data
    from genai_prices.units import UnitRegistry

    return frozenset(unit.price_key for unit in UnitRegistry(unit_data).units.values())


def variant_conditions(provider: str, model: str) -> list[dict[str, str]]:
    """For which calls a model's list has prices of their own: `{"processing": "batch"}`."""
    listed = _listed(*canonical(provider, model))
    # who resells a model has not the seller's variants
    variants = (listed.model.price_variants if listed is not None and listed.own else None) or ()
    return [dict(conditions) for conditions in {tuple(one.when.items()): 0 for one in variants}]


def read_providers(data: bytes) -> list[Provider]:
    """Those of a `data.json` that genai-prices publishes for its next version.

    Raises:
        ValueError: it is none.
    """
    # its own way to read one, which otherwise fetches it as well
    from genai_prices.types import _providers_from_raw

    raw = json.loads(data)
    if not isinstance(raw, list):
        raise ValueError("a list of providers is required")
    return _providers_from_raw(raw)


class _Source:
    """Finds what a reference costs; without `listed`, by the operator's entries alone."""

    def __init__(self, overrides: Overrides, *, listed: bool = True) -> None:
        self._listed = listed
        self._entries = sorted(
            (
                CompiledEntry(entry, *canonical(entry.provider, entry.model), place)
                for place, entry in enumerate(overrides.prices)
            ),
            key=lambda one: one.rank,
            reverse=True,
        )
        self._aliases = sorted(
            (
                CompiledAlias(alias, *canonical(alias.provider, alias.model), place)
                for place, alias in enumerate(overrides.aliases)
            ),
            key=lambda one: one.rank,
            reverse=True,
        )

    def find(self, provider: str, model: str, context: Context) -> Found:
        candidates = self._candidates(provider, model, with_aliases=True)
        return timetable(
            candidates.spans(), lambda time_ms, of_day: candidates.at(time_ms, of_day, context)
        )

    def _candidates(self, provider: str, model: str, with_aliases: bool) -> _Candidates:
        provider, model = canonical(provider, model)
        listed = _listed(provider, model)
        reference = Reference(
            provider, model.strip().lower(), listed.model.id.lower() if listed else None
        )
        aliases = [
            (alias, self._candidates(alias.target.provider, alias.target.model, False))
            for alias in (self._aliases if with_aliases else ())
            if alias.matcher.fits(reference)
        ]
        entries = [entry for entry in self._entries if entry.matcher.fits(reference)]
        return _Candidates(entries, aliases, listed if self._listed else None)


class _Candidates:
    """All that may price one reference; the first that fits does."""

    def __init__(
        self,
        entries: list[CompiledEntry],
        aliases: list[tuple[CompiledAlias, _Candidates]],
        listed: Listed | None,
    ) -> None:
        self._entries = entries
        self._aliases = aliases
        self._listed = listed

    def spans(self) -> Iterator[Span]:
        yield from (entry.span for entry in self._entries)
        for alias, target in self._aliases:
            yield alias.span
            yield from target.spans()
        if self._listed is not None:
            yield from self._listed.spans()

    def at(self, time_ms: int, of_day_ms: int, context: Context) -> Prices | None:
        for entry in self._entries:
            if entry.span.holds(time_ms, of_day_ms) and entry.fits(context):
                if entry.is_published:
                    break
                return entry.at(context)
        for alias, target in self._aliases:
            if alias.span.holds(time_ms, of_day_ms):
                return target.at(time_ms, of_day_ms, context)
        return None if self._listed is None else self._listed.at(time_ms, of_day_ms, context)


def _listed(
    provider_name: str, model_ref: str, providers: list[Provider] | None = None
) -> Listed | None:
    from genai_prices.data_snapshot import find_provider_by_id

    providers = _providers() if providers is None else providers
    provider = find_provider_by_id(providers, provider_name)
    if provider is None:
        return None
    model = provider.find_model(model_ref, all_providers=providers)
    if model is None:
        return None
    seller = _seller(model, provider, providers)
    return Listed(seller.id, model, own=seller is provider)


def _providers() -> list[Provider]:
    from genai_prices.data_snapshot import get_snapshot

    return get_snapshot().providers


def _seller(model: ModelInfo, asked: Provider, providers: list[Provider]) -> Provider:
    """The provider whose list holds the model: another than `asked` after a fallback."""
    for provider in (asked, *providers):
        if any(own is model for own in provider.models):
            return provider
    return asked


def _all_prices(model: ModelInfo) -> Iterator[object]:
    prices = model.prices
    yield from (one.prices for one in prices) if isinstance(prices, list) else (prices,)
    yield from (variant.prices for variant in model.price_variants or ())


def _version(overrides: Overrides) -> str:
    """`genai-prices 0.2.3 <hash>`, and `+3` for three entries of the operator's."""
    package = installed("genai-prices")
    if overrides == NO_OVERRIDES:
        return f"genai-prices {package} {_digest()[:12]}"
    count = len(overrides.prices) + len(overrides.aliases)
    both = hashlib.sha256((_digest() + overrides.model_dump_json()).encode()).hexdigest()
    return f"genai-prices {package}+{count} {both[:12]}"


@lru_cache(maxsize=1)
def _digest() -> str:
    """Content hash of all that decides a listed price: matching rules, prices, our own terms."""
    digest = hashlib.sha256(repr(sorted(ALIASES.items())).encode())
    for provider in _providers():
        digest.update(repr((provider.id, provider.provider_match)).encode())
        digest.update(repr(provider.fallback_model_providers).encode())
        for model in provider.models:
            digest.update(repr((model.id, model.match, model.prices)).encode())
            terms = terms_of(provider.id, model.id, _US)
            digest.update(repr((model.price_variants, terms)).encode())
    return digest.hexdigest()

"""What of a call, besides its model and moment, decides its price: batch, service tier, region.

A context is genai-prices' `price_context` as sorted pairs: `processing: batch`,
`service_tier: flex`; and our `region`. What every provider charges its standard price for
(`default`, `global`, nothing said) is left out, so that most calls share one context.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from spendstream.schemas.prices.book import Context

BATCH: Final = ("processing", "batch")
STANDARD: Final[Mapping[str, frozenset[str]]] = {
    # OpenAI and Bedrock, Anthropic and Gemini, Groq, what was asked for
    "service_tier": frozenset({"default", "standard", "on_demand", "auto"}),
    "region": frozenset({"global", "not_available"}),
    "processing": frozenset({"standard"}),
    "speed": frozenset({"standard"}),
}


@lru_cache(maxsize=4096)
def context_of(batch: bool, service_tier: str | None, region: str | None) -> Context:
    """The context of an event; a tier or region is the same in capitals."""
    said = {"service_tier": (service_tier or "").lower(), "region": (region or "").lower()}
    if batch or said["service_tier"] == "batch":  # Anthropic calls it a tier
        said["processing"] = "batch"
    if said["service_tier"] == "batch":
        del said["service_tier"]
    return normalized(said.items())


def context_said(said: Mapping[str, str]) -> Context:
    """As `context_of`, of genai-prices' `price_context`; `inference_geo` is a region."""
    rest = {name: value.lower() for name, value in said.items()}
    batch = rest.get("processing") == "batch"
    region = rest.pop("inference_geo", None) or rest.pop("region", None)
    known = context_of(batch, rest.pop("service_tier", None), region)
    return normalized({**rest, **dict(known)}.items())


def normalized(said: Iterable[tuple[str, str]]) -> Context:
    """Sorted pairs, without what is standard."""
    return tuple(
        sorted((name, value) for name, value in said if value and value not in _standard(name))
    )


def says(context: Context, name: str, value: str) -> bool:
    """Whether a context fulfils a condition. Anthropic's fast mode, a `speed` to genai-prices, is
    the tier `fast` of an event."""
    return (name, value) in context or (name == "speed" and ("service_tier", value) in context)


def _standard(name: str) -> frozenset[str]:
    return STANDARD.get(name, frozenset())

"""The operator's own prices, worked out a second time: which entry is a call's, and what it asks.

Shares no code with what it checks (recount.py); entries and aliases come in as the plain JSON that
`control.prices` and plans hold. The rules, written down again:

- An entry is for the models that its name or pattern fits, by the name in the event or by that of
  genai-prices, from its `valid_from` on, where the call fulfils its conditions.
- Of several the exact name goes before a pattern, more letters before fewer, more conditions before
  fewer, later before earlier, and the last one written before the others.
- One that is `published` leaves the call to its alias or to the published price, as if none fitted.
- LiteLLM's names of models begin with their provider. A tier or region is the same in capitals.
- Where none fits, the first alias that does names another model, whose entries and listed prices
  hold then. An alias leads to no other alias.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple

from genai_prices.data_snapshot import find_provider_by_id, get_snapshot

Plain = Mapping[str, Any]
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

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

KINDS: Final[Mapping[str, frozenset[str]]] = {
    "input": frozenset({"input"}),
    "input_audio": frozenset({"input", "audio"}),
    "input_image": frozenset({"input", "image"}),
    "input_video": frozenset({"input", "video"}),
    "cache_read": frozenset({"input", "read"}),
    "cache_read_audio": frozenset({"input", "read", "audio"}),
    "cache_read_image": frozenset({"input", "read", "image"}),
    "cache_read_video": frozenset({"input", "read", "video"}),
    "cache_write": frozenset({"input", "written"}),
    "cache_write_5m": frozenset({"input", "written", "5m"}),
    "cache_write_30m": frozenset({"input", "written", "30m"}),
    "cache_write_1h": frozenset({"input", "written", "1h"}),
    "cache_write_12h": frozenset({"input", "written", "12h"}),
    "output": frozenset({"output"}),
    "output_reasoning": frozenset({"output", "reasoning"}),
    "output_audio": frozenset({"output", "audio"}),
    "output_image": frozenset({"output", "image"}),
    "output_video": frozenset({"output", "video"}),
}
"""What each price of tokens is of: a kind is part of every other whose words it has all of."""

COUNTED_AS: Final[Mapping[str, str]] = {
    "input": "input_tokens",
    "input_audio": "input_audio_tokens",
    "input_image": "input_image_tokens",
    "input_video": "input_video_tokens",
    "cache_read": "cache_read_tokens",
    "cache_read_audio": "cache_audio_read_tokens",
    "cache_read_image": "cache_image_read_tokens",
    "cache_read_video": "cache_video_read_tokens",
    "cache_write": "cache_write_tokens",
    "cache_write_5m": "cache_write_5m_tokens",
    "cache_write_30m": "cache_write_30m_tokens",
    "cache_write_1h": "cache_write_1h_tokens",
    "cache_write_12h": "cache_write_12h_tokens",
    "output": "output_tokens",
    "output_reasoning": "output_reasoning_tokens",
    "output_audio": "output_audio_tokens",
    "output_image": "output_image_tokens",
    "output_video": "output_video_tokens",
}

BESIDE: Final[Mapping[str, str]] = {
    "output_citation": "output_citation_mtok",
    "input_audio_time": "input_audio_hours",
    "output_audio_time": "output_audio_hours",
    "input_characters": "input_mchars",
    "pages": "input_document_kpages",
    "web_searches": "web_searches_kcount",
    "web_fetches": "web_fetches_kcount",
    "search_units": "rerank_searches_kcount",
    "requests": "requests_kcount",
}
"""Prices beside the tokens → what the recount calls them, as genai-prices would."""


class Asked(NamedTuple):
    """What an entry asks.

    Attributes:
        published: USD, of what stands beside the tokens.
        tokens: (what is counted, side, per, price, which of those before are parts of it).
        images: (size, quality, USD an image); the first that fits counts.
    """

    published: dict[str, Decimal]
    tokens: tuple[tuple[str, str, int, Decimal, tuple[int, ...]], ...]
    images: tuple[tuple[str | None, str | None, Decimal], ...]


class Operator:
    """Entries and aliases in the order in which they are asked, with what is asked of each."""

    def __init__(self, entries: Iterable[Plain] = (), aliases: Iterable[Plain] = ()) -> None:
        self.entries = _ranked(entries)
        self.aliases = _ranked(aliases)

    def entry(self, event: Plain, provider: str, names: Sequence[str]) -> Plain | None:
        """The entry that is the call's; None: it has none."""
        for entry in self.entries:
            if _is_for(entry, event, provider, names) and _fulfils(event, entry.get("when") or {}):
                return None if entry.get("published") else entry
        return None

    def alias(self, event: Plain, provider: str, names: Sequence[str]) -> tuple[str, str] | None:
        """(provider, model) that the call's model stands for."""
        for alias in self.aliases:
            if _is_for(alias, event, provider, names):
                return alias["same_as"]["provider"], alias["same_as"]["model"]
        return None


def asked(entry: Plain, total_input: int) -> Asked:
    """An entry's prices for a call of so much input."""
    prices = {**(entry.get("prices") or {})}
    for step in entry.get("long_context") or ():
        if total_input > step["input_above"]:
            prices |= step["prices"]
    times = 1_000_000 // (entry.get("tokens_per") or 1_000_000)
    tokens = sorted((name for name in prices if name in KINDS), key=lambda name: -len(KINDS[name]))
    return Asked(
        {
            theirs: Decimal(prices[name]) * (times if name == "output_citation" else 1)
            for name, theirs in BESIDE.items()
            if name in prices
        },
        tuple(
            (
                COUNTED_AS[name],
                "input" if "input" in KINDS[name] else "output",
                1_000_000,
                Decimal(prices[name]) * times,
                tuple(n for n, other in enumerate(tokens[:at]) if KINDS[name] <= KINDS[other]),
            )
            for at, name in enumerate(tokens)
        ),
        tuple(
            (image.get("size"), image.get("quality"), Decimal(image["price"]))
            for image in entry.get("images") or ()
        ),
    )


def _is_for(said: Plain, event: Plain, provider: str, names: Sequence[str]) -> bool:
    return (
        said["known_as"] == provider
        and any(_matches(said["known_model"], name) for name in names)
        and event["time_ms"] >= said["since_ms"]
    )


def _matches(pattern: str, name: str) -> bool:
    first, *others = pattern.split("*")
    if not others:
        return name == pattern
    *middle, last = others
    if not name.startswith(first) or len(name) < len(first) + len(last):
        return False
    rest = name[len(first) :]
    if not rest.endswith(last):
        return False
    rest = rest[: len(rest) - len(last)]
    for part in middle:
        at = rest.find(part)
        if at < 0:
            return False
        rest = rest[at + len(part) :]
    return True


def _fulfils(event: Plain, when: Plain) -> bool:
    tier = (event.get("service_tier") or "").lower()
    if when.get("batch") and not (event.get("batch") or tier == "batch"):
        return False
    if when.get("tier") and tier != when["tier"].lower():
        return False
    if when.get("region") and (event.get("region") or "").lower() != when["region"].lower():
        return False
    if when.get("between"):
        start, end = when["between"]
        now = datetime.fromtimestamp(event["time_ms"] // 1000, UTC).strftime("%H:%M")
        return bool(start <= now < end if start < end else now >= start or now < end)
    return True


def _ranked(said: Iterable[Plain]) -> list[Plain]:
    ranked = []
    for place, one in enumerate(said):
        provider, model = known_by(one["provider"], one["model"])
        when, since_ms = one.get("when") or {}, _ms(one["valid_from"])
        conditions = sum(bool(when.get(name)) for name in ("batch", "tier", "region", "between"))
        closeness = ("*" not in model, len(model.replace("*", "")))
        known = {
            **one, "known_as": provider, "known_model": model.lower(), "since_ms": since_ms,
        }  # fmt: skip
        ranked.append(((closeness, conditions, since_ms, place), known))
    return [known for _, known in sorted(ranked, key=lambda one: one[0], reverse=True)]


def _ms(moment: str) -> int:
    return (datetime.fromisoformat(moment) - EPOCH) // timedelta(milliseconds=1)


def known_as(provider: str) -> str:
    """A provider by genai-prices' id, where ALIASES or its own rules know one."""
    lowered = provider.strip().lower()
    name = ALIASES.get(lowered, lowered)
    found = find_provider_by_id(get_snapshot().providers, name)
    return name if found is None else found.id


def known_by(provider: str, model: str) -> tuple[str, str]:
    """A model by its own provider, where the gateway's name of it says which."""
    if provider.strip().lower() == "litellm" and "/" in model:
        provider, model = model.split("/", 1)
    return known_as(provider), model


NOBODY: Final = Operator()

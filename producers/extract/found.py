"""What a provider's file found in a response, and how it becomes a Usage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Final

from pydantic import Field, ValidationError

from spendstream.producers.extract.counts import numbers
from spendstream.producers.extract.plain import Object, Unreadable
from spendstream.schemas.event import MAX_TAGS, UsageQuality
from spendstream.schemas.fields import MAX_NAME, MAX_TEXT
from spendstream.schemas.usage import (
    MAX_OTHER_MODELS,
    SUBSETS,
    OtherModel,
    Tokens,
    Usage,
    broken_sums,
)

_NOTHING: Final = {"input_tokens": 0, "output_tokens": 0}
_USUAL: Final = _NOTHING.keys() | {"cache_read_input_tokens", "reasoning_output_tokens"}
"""Subsets that most answers have alone, each within a total of its own."""
_DEFAULTS: Final = dict.fromkeys(Tokens.model_fields, 0)


@dataclass(slots=True)
class Found:
    """`counts` by the names of Usage; what is 0 may be left out. `block` is the provider's own
    usage block. `conflicts` are contradictions within it, in words."""

    counts: dict[str, int]
    block: Object = field(default_factory=dict)
    conflicts: list[str] = field(default_factory=list)
    estimated: bool = False
    other_models: list[tuple[str, dict[str, int]]] = field(default_factory=list)
    image_size: str | None = None
    image_quality: str | None = None
    model: str | None = None
    response_id: str | None = None
    service_tier: str | None = None
    region: str | None = None
    cost_pico: int | None = None
    batch: bool = False


class ExtractedUsage(Usage):
    """A Usage with what else the response said. None of this is sent inside `usage`; `event_fields`
    are the fields of UsageEvent that it fills."""

    quality: UsageQuality = "measured"
    conflicts: tuple[str, ...] = Field((), description="contradictions that were settled, in words")
    provider_usage: dict[str, int] | None = Field(
        None, description="the provider's block where it contradicts itself"
    )
    model: str | None = Field(None, description="the model that answered")
    response_id: str | None = None
    service_tier: str | None = None
    region: str | None = None
    reported_cost_pico: str | None = Field(None, description="pico-USD, as the provider says")
    batch: bool = False

    def event_fields(self) -> dict[str, Any]:
        """Keyword arguments of UsageEvent."""
        return {
            "usage": self,
            "usage_quality": self.quality,
            "provider_usage": self.provider_usage,
            "response_model": self.model,
            "response_id": self.response_id,
            "service_tier": self.service_tier,
            "region": self.region,
            "reported_cost_pico": self.reported_cost_pico,
            "batch": self.batch,
        }


def settled(found: Found) -> ExtractedUsage:
    """The Usage of what was found. Raises Unreadable.

    Where subsets exceed their total the total stands, as every provider documents it: the subsets
    are cut to fit, the usage is `conflicting`, and the provider's block is kept beside it.
    """
    conflicts = list(found.conflicts)
    counts = _fitted(found.counts, conflicts)
    others = tuple(
        _other(model, _fitted(other, conflicts)) for model, other in _few(found.other_models)
    )
    quality: UsageQuality = "measured"
    provider_usage = None
    if found.estimated:
        quality = "estimated"
    elif conflicts:
        quality = "conflicting"
        kept = {name: n for name, n in numbers(found.block).items() if len(name) <= MAX_NAME}
        provider_usage = dict(list(kept.items())[:MAX_TAGS])
    said: dict[str, Any] = {
        **counts,
        "image_size": _bounded(found.image_size, MAX_NAME),
        "image_quality": _bounded(found.image_quality, MAX_NAME),
        "provider_usage": provider_usage,
        "model": _bounded(found.model, MAX_TEXT),
        "response_id": _bounded(found.response_id, MAX_TEXT),
        "service_tier": _bounded(found.service_tier, MAX_NAME),
        "region": _bounded(found.region, MAX_NAME),
        "reported_cost_pico": None if found.cost_pico is None else str(found.cost_pico),
    }
    try:
        return ExtractedUsage(
            other_models=others,
            quality=quality,
            conflicts=tuple(conflicts),
            batch=found.batch,
            # what is not given need not be checked
            **{name: value for name, value in said.items() if value is not None},
        )
    except ValidationError as error:
        raise Unreadable(_first(error)) from None


def _few(others: list[tuple[str, dict[str, int]]]) -> list[tuple[str, dict[str, int]]]:
    """A pass each, since prices may depend on how long its prompt was; a model each where that
    would be more than an event holds."""
    if len(others) <= MAX_OTHER_MODELS:
        return others
    models: dict[str, dict[str, int]] = {}
    for model, counts in others:
        total = models.setdefault(model, {})
        for name, n in counts.items():
            total[name] = total.get(name, 0) + n
    return list(models.items())


def _other(model: str, counts: Mapping[str, int]) -> OtherModel:
    try:
        return OtherModel(model=_bounded(model, MAX_TEXT) or "unknown", **counts)
    except ValidationError as error:
        raise Unreadable(_first(error)) from None


def _fitted(counts: Mapping[str, int], conflicts: list[str]) -> dict[str, int]:
    """The counts, every group of subsets cut to its total, from the last named on."""
    said = {**_NOTHING, **{name: n for name, n in counts.items() if n}}
    if said.keys() <= _USUAL and (
        said.get("cache_read_input_tokens", 0) <= said["input_tokens"]
        and said.get("reasoning_output_tokens", 0) <= said["output_tokens"]
    ):
        return said
    fitted = {**_DEFAULTS, **said}
    broken = broken_sums(SimpleNamespace(**fitted))
    if not broken:
        return said
    conflicts += broken
    for parts, total in SUBSETS:
        room = fitted[total]
        for name in parts:
            fitted[name] = min(fitted[name], room)
            room -= fitted[name]
    return fitted


def _bounded(text: str | None, length: int) -> str | None:
    """Text that fits a field of the event, or None: it names things, and is not worth a call."""
    if text is None or not 0 < len(text) <= length or not text.isprintable():
        return None
    return text


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'usage'}: {first['msg']}"


def added(founds: Iterable[Found | None]) -> Found | None:
    """Several responses as one: the turns of a realtime session, the lines of a batch. The first
    one's names stand; None where none has usage."""
    total: Found | None = None
    for found in founds:
        if found is None:
            continue
        if total is None:
            total = found
            continue
        for name, n in found.counts.items():
            total.counts[name] = total.counts.get(name, 0) + n
        total.block = {**total.block, f"response_{len(total.block)}": found.block}
        total.conflicts += found.conflicts
        total.other_models += found.other_models
        total.estimated = total.estimated or found.estimated
        total.batch = total.batch or found.batch
        if found.cost_pico is not None:
            total.cost_pico = (total.cost_pico or 0) + found.cost_pico
    return total

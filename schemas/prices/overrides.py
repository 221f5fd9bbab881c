"""The operator's own prices: dated entries that are only ever added, above genai-prices' data.

An entry is all that a model costs under its conditions from a moment on: what it does not name has
no price, and a call that used it is unpriced (`"0"` is a price, of what is free); a part of the
tokens without one costs what the kind around it does. An entry with `published: true` takes back
those that it goes before: from then on genai-prices' list holds.

Of several that fit a call the one for the exact model counts before one for a pattern, a longer
pattern before a shorter one, more conditions before fewer, a later `valid_from` before an earlier
one, and the last in the list before those above it.

Prices are decimal strings of USD: a million tokens or characters (a thousand tokens with
`tokens_per: 1000`), an hour of audio, a thousand pages, searches, fetches, search units or
requests, an image.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from itertools import pairwise
from typing import Annotated, Final, Literal, Self

from annotated_types import Ge, MaxLen
from pydantic import BeforeValidator, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, to_json

from spendstream.schemas.fields import MAX_COUNT, Model, Name, Text
from spendstream.schemas.mistakes import path, place_and_reason
from spendstream.schemas.prices.context import STANDARD
from spendstream.schemas.prices.units import LEAVES, TOKENS, UNITS

MAX_ENTRIES: Final = 10_000


class OverridesError(ValueError):
    """The overrides are wrong. `errors` has one sentence a mistake, each with the field's path."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


def read_moment(said: str) -> datetime:
    """A date (midnight), or a time; in UTC where it names no other zone. Raises ValueError."""
    try:
        moment = datetime.fromisoformat(said)
    except ValueError:
        raise ValueError(f"{said!r} is neither a date nor a time") from None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


Price = Annotated[str, Field(pattern=r"^[0-9]{1,9}(\.[0-9]{1,21})?$")]
TimeOfDay = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
Moment = Annotated[
    datetime, BeforeValidator(lambda said: read_moment(said) if isinstance(said, str) else said)
]
"""As `read_moment` reads it."""


class When(Model):
    """Conditions that a call must fulfil, all of them."""

    batch: Literal[True] | None = None
    tier: Name | None = Field(None, description="the event's service_tier: `flex`, `priority`")
    region: Name | None = None
    between: tuple[TimeOfDay, TimeOfDay] | None = Field(
        None, description="[from, until) each day in UTC; may span midnight"
    )

    @model_validator(mode="after")
    def _is_a_condition(self) -> Self:
        if (self.tier or "").lower() == "batch":
            raise ValueError("tier: a batch is said as `batch: true`")
        for name, value in (("tier", self.tier), ("region", self.region)):
            if (value or "").lower() in STANDARD["service_tier" if name == "tier" else "region"]:
                raise ValueError(f"{name}: {value!r} is the standard price, which needs none")
        if self.between and self.between[0] == self.between[1]:
            raise ValueError("between: begins when it ends")
        return self


class LongContext(Model):
    """Prices of a whole call whose input is above so many tokens; those not named stay."""

    input_above: Annotated[int, Ge(1), Field(le=MAX_COUNT)]
    prices: dict[str, Price]


class Image(Model):
    """USD an image. Without size or quality: of any."""

    size: Name | None = None
    quality: Name | None = None
    price: Price


class Entry(Model):
    """What a model costs."""

    provider: Name = Field(description="as events name it, or genai-prices does")
    model: Text = Field(description="as events name it, or genai-prices' id of it; `*` is any text")
    valid_from: Moment
    when: When = When()
    tokens_per: Literal[1000, 1_000_000] = 1_000_000
    prices: dict[str, Price] = Field(default_factory=dict)
    long_context: tuple[LongContext, ...] = Field((), description="by input_above, ascending")
    images: tuple[Image, ...] = Field((), description="the first that fits an image counts")
    published: Literal[True] | None = Field(
        None, description="instead of prices: genai-prices' again, as if there were no entry"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _check_gateway(self.provider, self.model)
        if self.published and (self.prices or self.images or self.long_context):
            raise ValueError("published: stands instead of prices")
        if not self.prices and not self.images and not self.published:
            raise ValueError("prices: required, or `published: true`")
        self._check("prices", self.prices)
        for index, step in enumerate(self.long_context):
            self._check(f"long_context[{index}].prices", step.prices)
            if beside := step.prices.keys() - TOKENS.keys():
                raise ValueError(
                    f"long_context[{index}].prices.{min(beside)}: only tokens cost more above a "
                    "context size"
                )
        if any(a.input_above >= b.input_above for a, b in pairwise(self.long_context)):
            raise ValueError("long_context: input_above must ascend")
        for index, image in enumerate(self.images):
            _exact(f"images[{index}].price", image.price, UNITS["images"].atto)
        return self

    def _check(self, where: str, prices: Mapping[str, str]) -> None:
        for leaf, price in prices.items():
            if leaf not in LEAVES:
                raise ValueError(f"{where}.{leaf}: unknown (there are {', '.join(LEAVES)})")
            if leaf == "images":
                raise ValueError(f"{where}.images: stands in `images` beside the prices")
            _exact(f"{where}.{leaf}", price, self.factor(leaf))
        known = self.prices.keys() | prices.keys()
        for kind in ("audio", "image", "video"):
            if {"cache_read", f"input_{kind}"} <= known and f"cache_read_{kind}" not in known:
                raise ValueError(
                    f"{where}.cache_read_{kind}: required beside cache_read and input_{kind}"
                )

    def factor(self, leaf: str) -> int:
        """Atto-USD a unit of one USD of that price."""
        factor = UNITS[leaf].atto
        return factor * (1_000_000 // self.tokens_per) if leaf in TOKENS else factor


class Target(Model):
    """The model that a name stands for."""

    provider: Name
    model: Text


class Alias(Model):
    """A deployment's or a gateway's name of a model; what it stands for is no alias itself."""

    provider: Name
    model: Text = Field(description="the name; `*` is any text")
    valid_from: Moment
    same_as: Target

    @model_validator(mode="after")
    def _has_a_provider(self) -> Self:
        _check_gateway(self.provider, self.model)
        return self


class Overrides(Model):
    """Entries and aliases, in the order in which they were added."""

    prices: Annotated[tuple[Entry, ...], MaxLen(MAX_ENTRIES)] = ()
    aliases: Annotated[tuple[Alias, ...], MaxLen(MAX_ENTRIES)] = ()


NO_OVERRIDES: Final = Overrides()


def _check_gateway(provider: str, model: str) -> None:
    """A call's model in LiteLLM is one of its provider's, and so is asked for by that."""
    if provider.strip().lower() == "litellm" and "*" in model.partition("/")[0]:
        raise ValueError("model: litellm's names begin with their provider, like openai/gpt-4o")


def parse_overrides(document: object) -> Overrides:
    """Of a YAML or JSON document.

    Raises:
        OverridesError: names the field and the reason of each mistake.
    """
    try:
        # through JSON, where a list is a tuple and a text a date also to a strict model
        return Overrides.model_validate_json(to_json(document))
    except ValidationError as error:
        raise OverridesError([_message(item) for item in error.errors()]) from error


def _message(error: ErrorDetails) -> str:
    where, why = place_and_reason(error)
    return f"{path(where) or 'overrides'}: {why}"


def _exact(where: str, usd: str, factor: int) -> None:
    try:
        exact_atto(usd, factor)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def exact_atto(usd: str, factor: int) -> int:
    """Atto-USD of a price. Raises ValueError where it is no whole number of them."""
    with localcontext() as context:
        context.prec = 60
        atto = Decimal(usd) * factor
        if atto != atto.to_integral_value():
            raise ValueError(f"{usd} USD is finer than an atto-USD a unit")
        return int(atto)

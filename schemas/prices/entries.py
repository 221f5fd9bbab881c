"""The operator's entries and aliases, compiled: which of them fits a call, and its prices."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import NamedTuple

from spendstream.schemas.period import to_ms
from spendstream.schemas.prices.book import PLAIN, Context, ImagePrice, Prices, rates_of
from spendstream.schemas.prices.context import BATCH, says
from spendstream.schemas.prices.extras import has_regions, terms_of
from spendstream.schemas.prices.overrides import Alias, Entry, exact_atto
from spendstream.schemas.prices.published import Terms
from spendstream.schemas.prices.times import Span
from spendstream.schemas.prices.units import TOKENS, UNITS


class Reference(NamedTuple):
    """A model as a call names it: the provider by genai-prices' id where it has one, in lower case,
    and by which other name genai-prices knows the model. Its terms go by that one, if it has one.
    """

    provider: str
    model: str
    listed_as: str | None = None

    @property
    def known_as(self) -> str:
        return self.listed_as or self.model


class Matcher:
    """Whether an entry is for a model; the name with more literal characters is the closer."""

    def __init__(self, provider: str, model: str) -> None:
        self._provider = provider
        literal = model.lower()
        self._pattern = re.compile(".*".join(map(re.escape, literal.split("*"))), re.DOTALL)
        self.closeness = ("*" not in literal, len(literal.replace("*", "")))

    def fits(self, reference: Reference) -> bool:
        return reference.provider == self._provider and any(
            name is not None and self._pattern.fullmatch(name) is not None
            for name in (reference.model, reference.listed_as)
        )


class CompiledEntry:
    """An entry of the operator's."""

    def __init__(self, entry: Entry, provider: str, model: str, place: int) -> None:
        """`provider` and `model` are the entry's, by their canonical names; `place` is its own in
        the list."""
        self._entry = entry
        self._provider = provider
        self._model = model
        self.matcher = Matcher(provider, model)
        when = entry.when
        window = None
        if when.between is not None:
            start, end = ((int(text[:2]) * 60 + int(text[3:])) * 60_000 for text in when.between)
            window = (start, end)
        self.span = Span(to_ms(entry.valid_from), window)
        self._conditions = tuple(
            (name, value)
            for name, value in (
                BATCH if when.batch else (BATCH[0], None),
                ("service_tier", when.tier and when.tier.lower()),
                ("region", when.region and when.region.lower()),
            )
            if value is not None
        )
        self.rank = (
            self.matcher.closeness,
            len(self._conditions) + (window is not None),
            entry.valid_from,
            place,
        )

    @property
    def is_published(self) -> bool:
        """It has no prices: the list's hold."""
        return bool(self._entry.published)

    def fits(self, context: Context) -> bool:
        return all(says(context, name, value) for name, value in self._conditions)

    def at(self, context: Context, reference: Reference) -> Prices:
        """Its prices of a model; an estimate where it does not name the call's conditions."""
        named = {name for name, _ in self._conditions}
        exact = all(
            name in named or (name == "region" and not has_regions(self._provider))
            for name, _ in context
        )
        prices = self._prices(terms_of(self._provider, reference.known_as, PLAIN))
        return prices if exact else replace(prices, exact=False)

    def _prices(self, terms: Terms) -> Prices:
        entry = self._entry
        atto = {leaf: self._atto(leaf, usd) for leaf, usd in entry.prices.items()}
        tiers = []
        tokens = {leaf: price for leaf, price in atto.items() if leaf in TOKENS}
        beside = {leaf: price for leaf, price in atto.items() if leaf not in TOKENS}
        rates = rates_of(tokens)
        for step in entry.long_context:
            tokens |= {leaf: self._atto(leaf, usd) for leaf, usd in step.prices.items()}
            tiers.append((step.input_above, rates_of(tokens)))
        images = tuple(
            ImagePrice(image.size, image.quality, exact_atto(image.price, UNITS["images"].atto))
            for image in entry.images
        )
        return Prices(
            self._rule(),
            rates,
            tuple(tiers[::-1]),
            beside.pop("requests", 0),
            {**terms.beside, **beside},
            images,
            terms.minimum_audio_ms,
        )

    def _atto(self, leaf: str, usd: str) -> int:
        return exact_atto(usd, self._entry.factor(leaf))

    def _rule(self) -> str:
        entry = self._entry
        moment = entry.valid_from
        midnight = not (moment.hour or moment.minute or moment.second or moment.microsecond)
        since = f"{moment:%Y-%m-%d}" if midnight else f"{moment:%Y-%m-%dT%H:%M:%SZ}"
        said = [value for _, value in self._conditions]
        if entry.when.between is not None:
            said.append("-".join(entry.when.between))
        return f"override {self._provider}/{self._model}@{since}" + "".join(
            f" +{one}" for one in said
        )


class CompiledAlias:
    """Another name of a model, from a moment on."""

    def __init__(self, alias: Alias, provider: str, model: str, place: int) -> None:
        self.target = alias.same_as
        self.matcher = Matcher(provider, model)
        self.span = Span(to_ms(alias.valid_from))
        self.rank = (self.matcher.closeness, alias.valid_from, place)

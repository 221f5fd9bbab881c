"""One model of genai-prices' data, at a moment and in a context (MIT licence,
github.com/pydantic/genai-prices).

Its rules are followed, its arithmetic is not: of several prices the last one in force holds, and
without any the first, whatever its condition says; of variants, each price is that of the first
one in force whose every condition the context fulfils, and they are the seller's own: who sells
another's model (Azure OpenAI's) has its standard prices alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any, NamedTuple

from spendstream.schemas.period import to_ms
from spendstream.schemas.prices.book import Context, Prices
from spendstream.schemas.prices.context import says
from spendstream.schemas.prices.extras import knows_region, terms_of
from spendstream.schemas.prices.published import NO_TERMS, prices_of
from spendstream.schemas.prices.times import ALWAYS, Span, Window

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo


class Listed(NamedTuple):
    """A model in a provider's list; `own`: that provider was asked, and not one that resells it."""

    seller: str
    model: ModelInfo
    own: bool = True

    def spans(self) -> Iterator[Span]:
        """When any of its prices begins or ends."""
        if isinstance(self.model.prices, list):
            yield from (span_of(one.constraint) for one in self.model.prices)
        yield from (span_of(one.constraint) for one in self.model.price_variants or ())

    def at(self, time_ms: int, of_day_ms: int, context: Context) -> Prices | None:
        """The prices in the stretch that begins at `time_ms`, at a time of day."""
        published, when = self._standard(time_ms, of_day_ms)
        rule = f"{self.seller}/{self.model.id}{when}"
        missing = {name for name, value in context if self._is_missing(name, value)}
        own: dict[str, Any] = {}
        exact = not missing
        conditioned = False
        for variant in (self.model.price_variants or ()) if self.own else ():
            conditions = variant.when
            span = span_of(variant.constraint)
            if not span.holds(time_ms, of_day_ms) or not all(
                says(context, name, value) for name, value in conditions.items()
            ):
                continue
            if not conditioned:
                conditioned = True
                # of several the first prices the call: it must be for all of the call's
                # conditions, of which an event says a speed as its tier
                said = set(conditions) | ({"service_tier"} if "speed" in conditions else set())
                exact = missing <= said
            rule += f" +{'+'.join(conditions.values())}{named(variant.constraint)}"
            for name, price in vars(variant.prices).items():
                if price is not None:
                    own.setdefault(name, price)
        terms = terms_of(self.seller, self.model.id, context) if self.own else NO_TERMS
        if terms.times is not None:
            rule += f" ×{terms.times}"
        borrowed = published.keys() - own.keys() if conditioned else ()
        return prices_of(rule, {**published, **own}, terms, exact, borrowed)

    def _standard(self, time_ms: int, of_day_ms: int) -> tuple[dict[str, Any], str]:
        """Published prices without their variants, and the name of their condition."""
        prices = self.model.prices
        if not isinstance(prices, list):
            return _set(prices), ""
        for one in reversed(prices):
            if span_of(one.constraint).holds(time_ms, of_day_ms):
                return _set(one.prices), named(one.constraint)
        return _set(prices[0].prices), ""

    def _is_missing(self, name: str, value: str) -> bool:
        """Whether a condition needs a variant, for the cost to be no estimate."""
        return name != "region" or (self.own and not knows_region(self.seller, value))


def _set(prices: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(prices).items() if value is not None}


def span_of(constraint: Any) -> Span:
    """Of genai-prices' `StartDateConstraint` (a day in UTC) or `TimeOfDateConstraint`."""
    if constraint is None:
        return ALWAYS
    if hasattr(constraint, "start_date"):
        return Span(to_ms(datetime.combine(constraint.start_date, time(), UTC)))
    return Span(window=_window(constraint))


def named(constraint: Any) -> str:
    """For people: `@2024-10-01`, `@00:30-16:30`."""
    if constraint is None:
        return ""
    if hasattr(constraint, "start_date"):
        return f"@{constraint.start_date}"
    return f"@{constraint.start_time:%H:%M}-{constraint.end_time:%H:%M}"


def _window(constraint: Any) -> Window:
    return _of_day_ms(constraint.start_time), _of_day_ms(constraint.end_time)


def _of_day_ms(moment: time) -> int:
    """Milliseconds after midnight UTC, rounded up: a call's time is in whole milliseconds."""
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    utc = datetime.combine(date(1970, 1, 1), zoned).astimezone(UTC).time()
    seconds = (utc.hour * 60 + utc.minute) * 60 + utc.second
    return seconds * 1000 + -(-utc.microsecond // 1000)

"""What an operator may not expect of an entry, in sentences: calls that it prices as well, prices
that the model has had and the entry does not name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from spendstream.api.prices.words import lines_of
from spendstream.schemas.prices.book import Context, PriceBook, Prices
from spendstream.schemas.prices.compile import canonical, variant_conditions
from spendstream.schemas.prices.context import STANDARD, context_of
from spendstream.schemas.prices.extras import has_regions
from spendstream.schemas.prices.overrides import Entry

_KINDS: Final = ("audio", "image", "video")
_AROUND: Final = {
    **{f"cache_read_{kind}": ("cache_read", f"input_{kind}", "input") for kind in _KINDS},
    **{f"cache_write_{kept}": ("cache_write", "input") for kept in ("5m", "30m", "1h", "12h")},
    **dict.fromkeys(("cache_read", "cache_write", *(f"input_{k}" for k in _KINDS)), ("input",)),
    **dict.fromkeys(("output_reasoning", *(f"output_{k}" for k in _KINDS)), ("output",)),
}
"""What tokens cost that have no price of their own: the first of these that has one."""


class Kind(NamedTuple):
    """Conditions of a call, as an entry's `when` has them."""

    batch: bool = False
    tier: str | None = None
    region: str | None = None

    @property
    def context(self) -> Context:
        return context_of(*self)

    def __str__(self) -> str:
        said = " ".join(filter(None, ("batch" if self.batch else None, self.tier)))
        return f"{said} calls".lstrip() + (f" in {self.region}" if self.region else "")

    @property
    def when(self) -> str:
        """In YAML."""
        said = {"batch": "true" if self.batch else None, "tier": self.tier, "region": self.region}
        return ", ".join(f"{name}: {value}" for name, value in said.items() if value)


def kind_of(entry: Entry) -> Kind:
    """Of the calls that an entry is for."""
    return Kind(bool(entry.when.batch), entry.when.tier, entry.when.region)


def notes(entry: Entry, before: PriceBook, after: PriceBook, time_ms: int) -> list[str]:
    """None where the entry prices no call at that time, or as it would be expected.

    Args:
        after: with the entry, and whatever is added with it.
    """
    return [
        *_priced_as_well(entry, before, after, time_ms),
        *_not_named(entry, before, after, time_ms),
    ]


def _by(
    entry: Entry, before: PriceBook, after: PriceBook, time_ms: int, kind: Kind
) -> tuple[Prices, Prices] | None:
    """A call's prices before and after, where it had some and the entry is what prices it now."""
    call = (entry.provider, entry.model, time_ms, kind.context)
    old, new = before.resolve(*call), after.resolve(*call)
    if old is None or new is None or new != after.only((entry,)).resolve(*call):
        return None
    return old, new


def _priced_as_well(
    entry: Entry, before: PriceBook, after: PriceBook, time_ms: int
) -> Iterator[str]:
    for kind in _narrower(entry):
        found = _by(entry, before, after, time_ms, kind)
        if found is not None and found[0].exact and not found[1].exact:
            yield (
                f"{kind} are priced by this entry too, as estimates (before: "
                f"{_briefly(_first_tier(found[0]).values())}); add an entry with "
                f"`when: {{{kind.when}}}` for them"
            )


def _narrower(entry: Entry) -> Iterable[Kind]:
    """Of the entry's calls those for which providers may have prices of their own."""
    own = kind_of(entry)
    found = []
    if not (own.batch or own.tier):
        found += [
            own._replace(
                batch=said.get("processing") == "batch",
                tier=said.get("service_tier") or said.get("speed"),
            )
            for said in variant_conditions(entry.provider, entry.model)
            # others are nothing that an event says
            if said.keys() <= {"processing", "service_tier", "speed"}
        ]
    if not own.region and has_regions(canonical(entry.provider, entry.model)[0]):
        found.append(own._replace(region="us"))
    standard = STANDARD["service_tier"]
    return dict.fromkeys(one for one in found if one.tier not in standard)


def _not_named(entry: Entry, before: PriceBook, after: PriceBook, time_ms: int) -> Iterator[str]:
    found = _by(entry, before, after, time_ms, kind_of(entry))
    if found is None:
        return
    old, new = map(_first_tier, found)
    at_price_of: dict[str, list[str]] = {}
    unpriced = []
    missing = [leaf for leaf in old if leaf not in new and leaf != "requests"]
    for leaf in missing:
        chain = _AROUND.get(leaf, ())
        around = next((kind for kind in chain if kind in new), None)
        if around is None:
            if not chain or chain[-1] not in missing:  # else that is said, and this is part of it
                # images that come with tokens are charged by these
                name = "images without output tokens" if leaf == "images" else leaf
                unpriced.append(f"{name} (before: {_usd(old[leaf])})")
        elif old[leaf]["price_usd"] != new[around]["price_usd"]:
            at_price_of.setdefault(around, []).append(f"{leaf} (before: {old[leaf]['price_usd']})")
    for around, leaves in at_price_of.items():
        yield (
            f"tokens of {_and(leaves)} will cost the {around} price, {_usd(new[around])}: the "
            "entry names no other for them"
        )
    if unpriced:
        yield f"calls with {_and(unpriced)} will be unpriced: the entry has no price for that"
    if "requests" in old and "requests" not in new:
        yield f"there is no fee for a request any more (before: {_usd(old['requests'])})"
    if found[0].tiers and not found[1].tiers:
        start, _ = found[0].tiers[-1]
        lines = [line for line in lines_of(found[0]) if line.get("input_above") == start]
        yield (
            f"calls with an input above {start:,} tokens will cost a token what others cost "
            f"(before: {_briefly(lines)})"
        )


def _first_tier(prices: Prices) -> dict[str, dict[str, Any]]:
    """Each leaf's line, of a call with little input; of images the first."""
    found: dict[str, dict[str, Any]] = {}
    for line in lines_of(prices):
        if "input_above" not in line:
            found.setdefault(line["leaf"], line)
    return found


def _briefly(lines: Iterable[Mapping[str, Any]]) -> str:
    """What tokens cost that go in and come out; of a model that is not sold by these, anything."""
    lines = tuple(lines)
    both = [line for line in lines if line["leaf"] in ("input", "output")] or lines[:1]
    said = ", ".join(f"{line['leaf']} {line['price_usd']}" for line in both)
    return f"{said} USD per {both[0]['per']}"


def _usd(line: Mapping[str, Any]) -> str:
    return f"{line['price_usd']} USD per {line['per']}"


def _and(said: Sequence[str]) -> str:
    *others, last = said
    return f"{', '.join(others)} and {last}" if others else last

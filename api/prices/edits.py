"""What adding prices would change, before it is done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from spendstream.api.prices.notes import kind_of, notes
from spendstream.api.prices.words import lines_of
from spendstream.schemas.period import to_ms
from spendstream.schemas.prices.book import PLAIN, Prices
from spendstream.schemas.prices.compile import compile_book
from spendstream.schemas.prices.overrides import Alias, Entry
from spendstream.schemas.prices.version import PriceVersion, overrides_of


def described(said: Entry | Alias) -> dict[str, Any]:
    """As it is written; what it does not say is left out."""
    return said.model_dump(mode="json", exclude_defaults=True)


def effects(
    held: Sequence[PriceVersion], new: Iterable[Entry | Alias], at_ms: int
) -> list[dict[str, Any]]:
    """Of each that is new: what it says, the model's prices before and after, and `notes`.

    Those are the prices at `at_ms`, or where it begins later, then. A pattern has none: it is for
    many models.
    """
    new = tuple(new)
    before = compile_book(overrides_of(held))
    versions = [*held, *(_version(len(held) + n, said) for n, said in enumerate(new, 1))]
    after = compile_book(overrides_of(versions))
    found = []
    for said in new:
        one: dict[str, Any] = {"adds": described(said), "notes": []}
        if "*" not in said.model:
            context = kind_of(said).context if isinstance(said, Entry) else PLAIN
            moment = max(at_ms, to_ms(said.valid_from))
            for name, book in (("before", before), ("after", after)):
                one[name] = _said(book.resolve(said.provider, said.model, moment, context))
            if isinstance(said, Entry):
                one["notes"] = notes(said, before, after, moment)
        found.append(one)
    return found


def _said(prices: Prices | None) -> dict[str, Any] | None:
    return None if prices is None else {"rule": prices.rule, "prices": lines_of(prices)}


def _version(number: int, said: Entry | Alias) -> PriceVersion:
    entry = said if isinstance(said, Entry) else None
    alias = said if isinstance(said, Alias) else None
    return PriceVersion(version=number, entry=entry, alias=alias, written_at_ms=0, author="-")

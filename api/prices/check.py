"""What of the prices asks for somebody to look: unpriced models, retired ones, prices that moved.

What was priced stays as it was. That a price is another one now, for the same call at the same
time, says that the published data was corrected, or that the operator has added to it since: what
re-rating would change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, Final

from clickhouse_connect.driver.client import Client

from spendstream.api.prices.rows import CALL, Row, by_model, price_again, stored_leaves
from spendstream.api.prices.words import lines_of, moved, per, usd_of
from spendstream.schemas.period import from_ms, iso_seconds
from spendstream.schemas.prices.book import DAY_MS, PLAIN, Context, PriceBook
from spendstream.schemas.prices.compile import (
    is_retired,
    price_starts,
    published_prices,
    variant_conditions,
)
from spendstream.schemas.prices.context import context_said
from spendstream.schemas.prices.leaves import PricedLeaf

_KIND: Final = ("provider", "model", "batch", "service_tier", "region")
"""Calls that differ in none of these have the same prices, at one time and by one book."""


def check_prices(
    client: Client,
    book: PriceBook,
    now_ms: int,
    newer: list[Any] | None = None,
    retired_days: int = 31,
) -> dict[str, Any]:
    """What was seen in usage, against the prices of now.

    Args:
        book: of now; its version is the one that prices should be at.
        newer: providers of another genai-prices data file, which is compared with the installed.
        retired_days: a retired model that was last called longer ago asks for nothing.

    Returns:
        `ok`: nothing asks for somebody to act. What was priced by other prices, and what has its
        price by now, asks for nothing: it is listed, and stays as it is until it is re-rated.
    """
    seen = [
        (str(provider), str(model))
        for provider, model in client.query(
            "SELECT provider, model FROM usage_total GROUP BY provider, model "
            "ORDER BY provider, model"
        ).result_rows
    ]
    unpriced = list(_unpriced(client, book))
    retired = list(_retired(client, seen, now_ms - retired_days * DAY_MS))
    in_newer = [] if newer is None else list(_newer(seen, newer, now_ms))
    return {
        "ok": all(one["priced_now"] for one in unpriced)
        and not any(one["still_called"] for one in retired)
        and not in_newer,
        "price_version": book.version,
        "models_seen": len(seen),
        "unpriced": unpriced,
        "retired": retired,
        "changed_since_priced": list(_changed(client, book)),
        "changed_in_newer_data": in_newer,
        "cleaned": [one._asdict() | {"used": str(one.used)} for one in book.cleaned()],
    }


def _unpriced(client: Client, book: PriceBook) -> Iterator[dict[str, Any]]:
    """Calls with usage that had no price; `priced_now`: the last of them has one by now."""
    where = "cost_quality = 'unpriced' AND isNotNull(input_tokens)"
    rows = _last_of_each(client, _KIND, where, book)
    for row in sorted(rows, key=lambda row: -row["events"]):
        yield _kind(row) | {
            "events": row["events"],
            "last": iso_seconds(int(row["time_ms"])),
            "priced_now": price_again(row, book) is not None,
        }


def _retired(
    client: Client, seen: list[tuple[str, str]], since_ms: int
) -> Iterator[dict[str, Any]]:
    """Models that are not offered any more; `still_called`: since then."""
    days = client.query("SELECT provider, model, max(day) FROM usage_day GROUP BY provider, model")
    last = {(str(provider), str(model)): day for provider, model, day in days.result_rows}
    for one in seen:
        if is_retired(*one):
            day = last.get(one)  # None: so long ago that the days are not kept any more
            yield _named(*one) | {
                "last_day": day and str(day),
                "still_called": day is not None and day >= from_ms(since_ms).date(),
            }


def _changed(client: Client, book: PriceBook) -> Iterator[dict[str, Any]]:
    """The last call of each kind that another version priced: what it cost a piece, then and now.

    The whole call is priced again, so that other models' parts of it are looked at, too.
    """
    where = "price_rule != '' AND price_version != {version:String}"
    for row in _last_of_each(client, (*_KIND, "price_version"), where, book):
        again = price_again(row, book)
        then = by_model(row, stored_leaves(row))
        now = by_model(row, () if again is None else again.leaves)
        # of several parts of one other model each has the same prices
        changes = {
            (model, *change): None
            for (model, old), (_, new) in zip(then, now, strict=True)
            for change in _changes(old, new)
        }
        for model, leaf, old_usd, new_usd in changes:
            yield _kind(row) | {
                "priced_as": model,
                "leaf": leaf,
                "then_usd": old_usd,
                "now_usd": new_usd,
                "per": per(leaf),
                "price_version": row["price_version"],
                "events": row["events"],
            }


def _changes(
    then: Sequence[PricedLeaf], now: Sequence[PricedLeaf]
) -> Iterator[tuple[str, str | None, str | None]]:
    old, new = ({leaf: usd_of(leaf, atto) for leaf, _, atto, _ in one} for one in (then, now))
    for leaf in dict.fromkeys((*old, *new)):
        if old.get(leaf) != new.get(leaf):
            yield leaf, old.get(leaf), new.get(leaf)


def _last_of_each(
    client: Client, group: Sequence[str], where: str, book: PriceBook
) -> Iterator[Row]:
    """The last call of each group, with the number of `events` in it."""
    columns = {**CALL, "leaves": "leaves", "price_version": "price_version"}
    names = ", ".join(group)
    rows = client.query(
        # as one value: `seq` is a partition's own, and columns of several rows must not be mixed
        f"SELECT count(), argMax(tuple({', '.join(columns.values())}), tuple(seq, partition)) "
        f"FROM usage_raw WHERE {where} GROUP BY {names} ORDER BY {names}",
        parameters={"version": book.version},
    ).result_rows
    for events, last in rows:
        values = last.values() if isinstance(last, Mapping) else last
        yield dict(zip(columns, values, strict=True)) | {"events": int(events)}


def _newer(seen: list[tuple[str, str]], newer: list[Any], now_ms: int) -> Iterator[dict[str, Any]]:
    """Now, and from each moment on at which one of the two changes; of standard calls and of each
    kind that one of the two has a price for. A change is told once, where it begins."""
    for provider, model in seen:
        either = (None, newer)
        starts = {now_ms}.union(*(price_starts(provider, model, now_ms, one) for one in either))
        kinds: dict[Context, None] = {PLAIN: None}
        for one in either:
            for said in variant_conditions(provider, model, one):
                kinds[context_said(said)] = None
        told: set[tuple[object, ...]] = set()
        for at_ms, context in product(sorted(starts), kinds):
            ours, theirs = (
                () if prices is None else lines_of(prices)
                for prices in (
                    published_prices(provider, model, at_ms, context, one) for one in either
                )
            )
            for place, before, after in moved(ours, theirs):
                if (context, place, before, after) in told:
                    continue
                told.add((context, place, before, after))
                yield _named(provider, model) | {
                    "calls": " ".join(value for _, value in context) or None,
                    "from": None if at_ms == now_ms else iso_seconds(at_ms),
                    "leaf": place.leaf,
                    "input_above": place.input_above,
                    "installed_usd": before,
                    "newer_usd": after,
                    "per": per(place.leaf),
                }


def _kind(row: Row) -> dict[str, Any]:
    return _named(row["provider"], row["model"]) | {
        "batch": bool(row["batch"]),
        "service_tier": row["service_tier"] or None,
        "region": row["region"] or None,
    }


def _named(provider: str, model: str) -> dict[str, Any]:
    return {"provider": provider, "model": model}

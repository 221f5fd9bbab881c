"""What of the prices asks for somebody to look: unpriced models, retired ones, prices that moved.

What was priced stays as it was. That a price is another one now, for the same call at the same
time, says that the published data was corrected, or that the operator has added to it since: what
re-rating would change.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from clickhouse_connect.driver.client import Client

from spendstream.api.prices.words import by_leaf, lines_of, per, usd_of
from spendstream.schemas.period import from_ms
from spendstream.schemas.prices.book import PriceBook
from spendstream.schemas.prices.compile import is_retired, published_prices
from spendstream.schemas.prices.context import context_of
from spendstream.schemas.prices.leaves import rates_for
from spendstream.schemas.prices.units import TOKENS

_LAST: Final = (
    "SELECT provider, model, price_version, batch, service_tier, region, count(), "
    "toUnixTimestamp64Milli(argMax(time, seq)), argMax(ifNull(input_tokens, 0), seq), "
    "argMax(leaves.leaf, seq), argMax(leaves.price_atto, seq) FROM usage_raw "
    "WHERE price_rule != '' AND empty(other_models) AND price_version != {version:String} "
    "GROUP BY provider, model, price_version, batch, service_tier, region "
    "ORDER BY provider, model, price_version, batch, service_tier, region"
)


def check_prices(
    client: Client, book: PriceBook, now_ms: int, newer: list[Any] | None = None
) -> dict[str, Any]:
    """What was seen in usage, against the prices of now.

    Args:
        book: of now; its version is the one that prices should be at.
        newer: providers of another genai-prices data file, which is compared with the installed.
    """
    seen = [
        (str(provider), str(model))
        for provider, model in client.query(
            "SELECT provider, model FROM usage_total GROUP BY provider, model "
            "ORDER BY provider, model"
        ).result_rows
    ]
    unpriced = list(_unpriced(client, book, now_ms))
    retired = [_named(*one) for one in seen if is_retired(*one)]
    moved = list(_moved(client, book))
    in_newer = [] if newer is None else list(_newer(seen, newer, now_ms))
    return {
        "ok": not (unpriced or retired or moved or in_newer),
        "price_version": book.version,
        "models_seen": len(seen),
        "unpriced": unpriced,
        "retired": retired,
        "changed_since_priced": moved,
        "changed_in_newer_data": in_newer,
        "cleaned": [one._asdict() | {"used": str(one.used)} for one in book.cleaned()],
    }


def _unpriced(client: Client, book: PriceBook, now_ms: int) -> Iterator[dict[str, Any]]:
    """Calls with usage that had no price; `priced_now`: the model has some by now."""
    rows = client.query(
        "SELECT provider, model, count(), toUnixTimestamp64Milli(max(time)) FROM usage_raw "
        "WHERE cost_quality = 'unpriced' AND isNotNull(input_tokens) "
        "GROUP BY provider, model ORDER BY count() DESC, provider, model"
    ).result_rows
    for provider, model, events, last in rows:
        yield _named(provider, model) | {
            "events": int(events),
            "last": from_ms(int(last)).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "priced_now": book.resolve(provider, model, now_ms) is not None,
        }


def _moved(client: Client, book: PriceBook) -> Iterator[dict[str, Any]]:
    """The last call of each model that another version priced: its tokens' prices, then and now."""
    rows = client.query(_LAST, parameters={"version": book.version}).result_rows
    for provider, model, version, batch, tier, region, events, *last in rows:
        time_ms, tokens, leaves, atto = last
        context = context_of(bool(batch), tier or None, region or None)
        prices = book.resolve(provider, model, int(time_ms), context)
        now = {} if prices is None else by_leaf(rates_for(prices, int(tokens)))
        for leaf, then in zip(leaves, map(int, atto), strict=True):
            if leaf in TOKENS and now.get(leaf) != then:
                yield _named(provider, model) | {
                    "leaf": leaf,
                    "then_usd": usd_of(leaf, then),
                    "now_usd": None if leaf not in now else usd_of(leaf, now[leaf]),
                    "per": per(leaf),
                    "price_version": version,
                    "events": int(events),
                }


def _newer(seen: list[tuple[str, str]], newer: list[Any], now_ms: int) -> Iterator[dict[str, Any]]:
    for provider, model in seen:
        ours, theirs = (
            {} if prices is None else {_place(line): line for line in lines_of(prices)}
            for prices in (
                published_prices(provider, model, now_ms),
                published_prices(provider, model, now_ms, newer),
            )
        )
        for place in sorted(ours.keys() | theirs.keys()):
            before, after = ours.get(place), theirs.get(place)
            if before != after:
                yield _named(provider, model) | {
                    "leaf": place[0],
                    "installed_usd": before and before["price_usd"],
                    "newer_usd": after and after["price_usd"],
                    "per": per(place[0]),
                }


def _place(line: dict[str, Any]) -> tuple[str, int]:
    return line["leaf"], line.get("input_above", 0)


def _named(provider: str, model: str) -> dict[str, Any]:
    return {"provider": provider, "model": model}

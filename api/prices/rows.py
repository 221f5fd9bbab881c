"""The call of a stored row: its usage, the same call priced again, whose leaf is whose."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from spendstream.schemas.prices.book import PriceBook
from spendstream.schemas.prices.calls import price_call
from spendstream.schemas.prices.context import context_of
from spendstream.schemas.prices.leaves import Cost, PricedLeaf
from spendstream.schemas.prices.units import TOKENS
from spendstream.schemas.usage import OtherModel, Usage

Row = Mapping[str, Any]

_TOTALS: Final = (
    "input_tokens", "output_tokens", "cache_read_input_tokens", "cache_write_input_tokens",
    "reasoning_output_tokens",
)  # fmt: skip
CALL: Final[Mapping[str, str]] = {
    "provider": "provider",
    "model": "model",
    "batch": "batch",
    "service_tier": "service_tier",
    "region": "region",
    "time_ms": "toUnixTimestamp64Milli(time)",
    **{name: name for name in _TOTALS},
    "usage_details": "usage_details",
    "image_size": "image_size",
    "image_quality": "image_quality",
    "other_models": "other_models",
}
"""What of `usage_raw` decides a call's cost: name in a row here → expression."""


def price_again(row: Row, book: PriceBook) -> Cost | None:
    """What the call costs by a book, at its own time and in its own context. None: unpriced."""
    if row["input_tokens"] is None:
        return None
    context = context_of(bool(row["batch"]), row["service_tier"] or None, row["region"] or None)
    provider, model = row["provider"], row["model"]
    return price_call(book, provider, model, usage_of(row), int(row["time_ms"]), context)


def usage_of(row: Row) -> Usage:
    """The event's usage. It was checked when it was priced, and is not again."""
    counts = {name: int(row[name]) for name in _TOTALS} | dict(row["usage_details"])
    return Usage.model_construct(
        **counts,
        image_size=row["image_size"] or None,
        image_quality=row["image_quality"] or None,
        other_models=tuple(OtherModel.model_construct(**one) for one in other_models(row)),
    )


def other_models(row: Row) -> list[dict[str, Any]]:
    """Name and tokens of each other model inside the response, in their order."""
    return list(map(json.loads, row["other_models"]))


def stored_leaves(row: Row) -> list[PricedLeaf]:
    """As the worker priced it."""
    names = ("leaf", "quantity", "price_atto", "cost_pico")
    leaves = (
        [leaf[name] for name in names] if isinstance(leaf, Mapping) else leaf
        for leaf in row["leaves"]
    )
    return [(str(leaf), *map(int, numbers)) for leaf, *numbers in leaves]  # type: ignore[misc]


def by_model(row: Row, leaves: Sequence[PricedLeaf]) -> list[tuple[str, list[PricedLeaf]]]:
    """Each model of the call with its leaves, the call's own first.

    Other models' leaves stand last, in the models' order; and a model's tokens are all there.
    """
    others = []
    end = len(leaves)
    for other in reversed(other_models(row)):
        start, left = end, other["input_tokens"] + other["output_tokens"]
        while left > 0 and start > 0 and leaves[start - 1][0] in TOKENS:
            start -= 1
            left -= leaves[start][1]
        others.append((str(other["model"]), list(leaves[start:end])))
        end = start
    return [(str(row["model"]), list(leaves[:end])), *reversed(others)]

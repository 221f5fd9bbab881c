"""The book against genai-prices' own arithmetic, leaf by leaf: every model of every provider, in
every context that it has a price for, on both sides of every moment and size that changes it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time
from decimal import ROUND_HALF_EVEN, Decimal
from random import Random

from genai_prices import calc_price
from genai_prices.data_snapshot import get_snapshot
from genai_prices.data_units import unit_data
from genai_prices.decompose import compute_leaf_values
from genai_prices.types import (
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
    calc_unit_price,
)
from genai_prices.units import UnitRegistry

from spendstream.schemas.period import from_ms, to_ms
from spendstream.schemas.prices.book import Context, Prices, Schedule
from spendstream.schemas.prices.calls import price_call
from spendstream.schemas.prices.compile import compile_book
from spendstream.schemas.prices.context import normalized
from spendstream.schemas.prices.details import cost_by
from spendstream.schemas.prices.listed import Listed
from spendstream.schemas.prices.times import timetable
from spendstream.schemas.prices.units import UNITS
from tests.support.price_usages import Parts, parts_of

NOW_MS = to_ms(datetime(2026, 11, 22, 10, tzinfo=UTC))
PROVIDERS = get_snapshot().providers
REGISTRY = UnitRegistry(unit_data)
LEAF_OF = {key: leaf for leaf, unit in reversed(list(UNITS.items())) for key in unit.keys}
"""genai-prices' name of a price → our leaf; `audio_hours` is that of the input."""
PICO, ATTO = Decimal(1).scaleb(-12), Decimal(1).scaleb(-18)


def moments(model: ModelInfo) -> Iterator[int]:
    """Now, and both sides of every moment at which the model's price changes."""
    yield NOW_MS
    conditional = model.prices if isinstance(model.prices, list) else []
    constraints = [one.constraint for one in conditional]
    constraints += [variant.constraint for variant in model.price_variants or ()]
    today = from_ms(NOW_MS).date()
    for constraint in {str(one): one for one in constraints}.values():
        if isinstance(constraint, StartDateConstraint):
            edges = [datetime.combine(constraint.start_date, time(), UTC)]
        elif isinstance(constraint, TimeOfDateConstraint):
            edges = [
                datetime.combine(today, constraint.start_time),
                datetime.combine(today, constraint.end_time),
            ]
        else:
            continue
        for edge in edges:
            yield to_ms(edge) - 1
            yield to_ms(edge)


def contexts(model: ModelInfo) -> Iterator[dict[str, str]]:
    yield {}
    whens = [variant.when for variant in model.price_variants or ()]
    yield from whens
    for when in whens:
        if "processing" not in when:
            yield {**when, "processing": "batch"}


def sizes(prices: ModelPrice, random: Random) -> Iterator[int]:
    """Any, and both sides of each tier."""
    yield random.choice([0, 1, 37, 999, 123_457, 7_654_321])
    starts = {
        tier.start
        for value in vars(prices).values()
        if isinstance(value, TieredPrices)
        for tier in value.tiers
    }
    for start in starts:
        yield start
        yield start + 1


def by_hand(prices: ModelPrice, parts: Parts) -> dict[str, tuple[Decimal, int]] | None:
    """(quantity, pico-USD) by leaf, with genai-prices' own functions; None: unpriced."""
    published = {k: v for k, v in vars(prices).items() if v is not None}
    usage = parts.theirs()
    if not published:
        sides = (("input", parts.input_tokens), ("output", parts.output_tokens))
        return {name: (Decimal(tokens), 0) for name, tokens in sides if tokens}
    priced = {
        unit.usage_key: unit for unit in REGISTRY.units.values() if unit.price_key in published
    }
    fee = priced.pop("requests", None)
    counts = compute_leaf_values(set(priced), usage, priced)
    leaves: dict[str, tuple[Decimal, int]] = {}
    for key, unit in priced.items():
        if not (quantity := Decimal(str(counts[key]))):
            continue
        price = published[unit.price_key]
        if unit.per == 10**6:
            # a price finer than an atto-USD is rounded to one first
            each = calc_unit_price(price, 1, parts.input_tokens, unit.per)
            exact = each.quantize(ATTO, ROUND_HALF_EVEN) * quantity
        else:
            exact = calc_unit_price(price, counts[key], parts.input_tokens, unit.per)
        leaves[LEAF_OF[unit.price_key]] = (
            quantity * 1000 if unit.per == 3600 else quantity,
            int(exact.quantize(PICO, ROUND_HALF_EVEN).scaleb(12)),
        )
    if fee is not None:
        leaves["requests"] = (Decimal(1), int(published[fee.price_key].scaleb(9)))
    outputs = any(name.startswith("output") for name in published)
    if "input_mtok" in published and not outputs and parts.output_tokens:
        leaves["output"] = (Decimal(parts.output_tokens), 0)  # sold by its input
    return leaves


def found_at(provider: str, model: ModelInfo, time_ms: int, context: Context) -> Prices | None:
    listed = Listed(provider, model)
    found = timetable(listed.spans(), lambda at, of_day: listed.at(at, of_day, context))
    return found.at(time_ms) if isinstance(found, Schedule) else found


def compare(provider: Provider, model: ModelInfo, random: Random) -> int:
    """How many usages were priced alike; fails at the first that was not."""
    compared = 0
    for said in contexts(model):
        for time_ms in moments(model):
            moment = from_ms(time_ms)
            published = model.get_prices(moment, said)
            prices = found_at(provider.id, model, time_ms, normalized(said.items()))
            for size in sizes(published, random):
                parts = parts_of(published, random, size)
                where = f"{provider.id}/{model.id} {moment} {said} {parts}"
                cost = None if prices is None else cost_by(prices, parts.ours())
                assert cost is not None, where
                ours = {name: (Decimal(n), pico) for name, n, _, pico in cost.leaves}
                assert ours == by_hand(published, parts), where
                theirs = model.calc_price(
                    parts.theirs(), provider, genai_request_timestamp=moment, price_context=said
                )
                # half a pico a leaf, half an atto a token
                slack = len(ours) * PICO / 2 + sum(n for n, _ in ours.values()) * ATTO / 2
                assert abs(Decimal(cost.pico) * PICO - theirs.total_price) <= slack, where
                compared += 1
    return compared


def test_every_leaf_costs_what_genai_prices_says() -> None:
    random = Random(20261122)
    compared = {
        provider.id: sum(compare(provider, model, random) for model in provider.models)
        for provider in PROVIDERS
    }
    assert all(compared.values())
    assert sum(compared.values()) > 6_000


def test_references_fall_back_as_genai_prices_does() -> None:
    """Through the book: names, another provider's models, contexts that are then ignored."""
    book = compile_book()
    random = Random(7)
    for provider in PROVIDERS:
        for model in random.sample(provider.models, min(12, len(provider.models))):
            for asked in {provider.id, "azure" if provider.id == "openai" else provider.id}:
                said = random.choice([{}, {"processing": "batch"}, {"service_tier": "flex"}])
                matched = next(p for p in PROVIDERS if p.id == asked).find_model(
                    model.id, all_providers=PROVIDERS
                )
                if matched is None:
                    assert book.resolve(asked, model.id, NOW_MS) is None
                    continue
                parts = parts_of(matched.get_prices(from_ms(NOW_MS)), random, 12_345)
                theirs = calc_price(
                    parts.theirs(),
                    model.id,
                    provider_id=asked,
                    genai_request_timestamp=from_ms(NOW_MS),
                    price_context=said,
                )
                cost = price_call(
                    book, asked, model.id, parts.ours(), NOW_MS, normalized(said.items())
                )
                assert cost is not None
                difference = abs(Decimal(cost.pico) * PICO - theirs.total_price)
                assert difference <= len(cost.leaves) * PICO, f"{asked}/{model.id}"

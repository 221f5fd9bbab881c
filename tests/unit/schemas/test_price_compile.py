"""The compiled book against genai-prices' own arithmetic, over all its providers and models."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta, timezone
from decimal import ROUND_HALF_EVEN, Decimal
from random import Random

import pytest
from genai_prices import Usage, calc_price
from genai_prices.data_snapshot import get_snapshot
from genai_prices.data_units import unit_data
from genai_prices.decompose import compute_leaf_values
from genai_prices.types import (
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
    calc_unit_price,
)
from genai_prices.units import UnitRegistry

from spendstream.schemas.period import from_ms, to_ms
from spendstream.schemas.price_compile import ALIASES, compile_book, compile_model
from spendstream.schemas.prices import PriceBook, Prices, Schedule, price

BOOK = compile_book()
NOW_MS = to_ms(datetime(2026, 11, 22, 10, tzinfo=UTC))
LEAVES = {
    "input": "input_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write": "cache_write_tokens",
    "output": "output_tokens",
}
UNITS = {key: unit for key, unit in UnitRegistry(unit_data).units.items() if key in LEAVES.values()}
MODELS = [(provider, model) for provider in get_snapshot().providers for model in provider.models]


def tiered_starts(prices: ModelPrice) -> list[int]:
    return [
        tier.start
        for value in vars(prices).values()
        if isinstance(value, TieredPrices)
        for tier in value.tiers
    ]


def moments(model: ModelInfo) -> Iterator[int]:
    """Now, and both sides of every moment at which the model's price changes."""
    yield NOW_MS
    if isinstance(model.prices, ModelPrice):
        return
    for conditional in model.prices:
        constraint = conditional.constraint
        if isinstance(constraint, StartDateConstraint):
            edges = [datetime.combine(constraint.start_date, time(), UTC)]
        elif isinstance(constraint, TimeOfDateConstraint):
            today = from_ms(NOW_MS).date()
            edges = [
                datetime.combine(today, constraint.start_time),
                datetime.combine(today, constraint.end_time),
            ]
        else:
            continue
        for edge in edges:
            yield to_ms(edge) - 1
            yield to_ms(edge)


def usages(model: ModelInfo, random: Random) -> Iterator[tuple[int, int, int, int]]:
    """(input, cache read, cache write, output): one of any size, and both sides of each tier."""
    total = random.choice([1, 37, 999, 123_457, 7_654_321])
    read = random.randint(0, total)
    yield total, read, random.randint(0, total - read), random.randint(0, 50_001)
    conditionals = (
        [ConditionalPrice(prices=model.prices)]
        if isinstance(model.prices, ModelPrice)
        else model.prices
    )
    for start in {start for item in conditionals for start in tiered_starts(item.prices)}:
        yield start, start // 3, start // 7, 11
        yield start + 1, start // 3, start // 7, 11


def by_hand(
    prices: ModelPrice, usage: tuple[int, int, int, int]
) -> list[tuple[str, int, int]] | None:
    """Leaves with a quantity and their cost in pico-USD, with genai-prices' own functions."""
    published = {k: v for k, v in vars(prices).items() if v is not None}
    if not published:
        return [(n, q, 0) for n, q in (("input", usage[0]), ("output", usage[3])) if q]
    priced = {key: unit for key, unit in UNITS.items() if unit.price_key in published}
    if not priced and "requests_kcount" not in published:
        return None
    counts = compute_leaf_values(set(priced), to_usage(usage), priced)
    if (usage[0] and "input_tokens" not in counts) or (usage[3] and "output_tokens" not in counts):
        return None
    leaves: list[tuple[str, int, int]] = []
    for name, key in LEAVES.items():
        if quantity := counts.get(key):
            unit_price = calc_unit_price(published[UNITS[key].price_key], 1, usage[0], 10**6)
            atto = unit_price.quantize(Decimal(1).scaleb(-18), ROUND_HALF_EVEN)
            pico = (atto * Decimal(quantity)).quantize(Decimal(1).scaleb(-12), ROUND_HALF_EVEN)
            leaves.append((name, int(quantity), int(pico.scaleb(12))))
    if fee := published.get("requests_kcount"):
        leaves.append(("requests", 1, int(fee.scaleb(9))))
    return leaves


def to_usage(usage: tuple[int, int, int, int]) -> Usage:
    return Usage(
        input_tokens=usage[0],
        cache_read_tokens=usage[1],
        cache_write_tokens=usage[2],
        output_tokens=usage[3],
    )


@pytest.mark.parametrize("provider_id", [p.id for p in get_snapshot().providers])
def test_every_model_costs_what_genai_prices_says(provider_id: str) -> None:
    random = Random(provider_id)
    for provider, model in MODELS:
        if provider.id != provider_id:
            continue
        found = compile_model(provider.id, model)
        for time_ms in moments(model):
            prices = found.at(time_ms) if isinstance(found, Schedule) else found
            for usage in usages(model, random):
                where = f"{provider.id}/{model.id} {from_ms(time_ms)} {usage}"
                expected = by_hand(model.get_prices(from_ms(time_ms)), usage)
                leaves = None if prices is None else price(prices, *usage)
                if expected is None:
                    assert leaves is None, where
                    continue
                assert leaves is not None, where
                assert [(name, quantity, cost) for name, quantity, _, cost in leaves] == expected, (
                    where
                )
                total = Decimal(sum(leaf[3] for leaf in leaves)).scaleb(-12)
                theirs = model.calc_price(
                    to_usage(usage), provider, genai_request_timestamp=from_ms(time_ms)
                ).total_price
                # half a pico a leaf, half an atto a token
                slack = len(leaves) * Decimal("0.5e-12") + (usage[0] + usage[3]) * Decimal("5e-19")
                assert abs(total - theirs) <= slack, where


def test_every_reference_finds_the_model_that_genai_prices_finds() -> None:
    """A model's id may be matched by an earlier model of the list, or by none."""
    snapshot = get_snapshot()
    for provider, listed in MODELS:
        model = provider.find_model(listed.id, all_providers=snapshot.providers)
        prices = BOOK.resolve(provider.id, listed.id, NOW_MS)
        if model is None:
            assert prices is None, listed.id
        elif prices is not None:
            assert prices.rule.partition("@")[0].endswith(f"/{model.id}".partition("@")[0])


def test_a_call_costs_what_calc_price_says() -> None:
    prices = BOOK.resolve("anthropic", "claude-sonnet-4-5", NOW_MS)
    assert prices is not None
    leaves = price(prices, 250_000, 100_000, 50_000, 1_000)
    assert leaves is not None
    theirs = calc_price(
        to_usage((250_000, 100_000, 50_000, 1_000)),
        "claude-sonnet-4-5",
        provider_id="anthropic",
        genai_request_timestamp=from_ms(NOW_MS),
    )
    assert Decimal(sum(leaf[3] for leaf in leaves)).scaleb(-12) == theirs.total_price


@pytest.mark.parametrize(
    ("provider", "model", "rule"),
    [
        ("openai", "gpt-4o", "openai/gpt-4o"),
        ("OpenAI ", "GPT-4o", "openai/gpt-4o"),
        ("azure.ai.openai", "gpt-4o", "openai/gpt-4o"),
        ("gcp.gemini", "gemini-2.5-flash", "google/gemini-2.5-flash"),
        ("gcp.vertex_ai", "gemini-2.5-flash", "google/gemini-2.5-flash"),
        ("anthropic", "claude-sonnet-4-5", "anthropic/claude-sonnet-4-5"),
        ("x_ai", "grok-4", "x-ai/grok-4-0709"),
        ("mistral_ai", "mistral-large-latest", "mistral/mistral-large"),
        ("litellm", "openai/gpt-4o", "openai/gpt-4o"),
        ("openai", "no-such-model", None),
        ("no-such-provider", "gpt-4o", None),
        ("litellm", "gpt-4o", None),
        ("", "", None),
    ],
)
def test_references(provider: str, model: str, rule: str | None) -> None:
    prices = BOOK.resolve(provider, model, NOW_MS)
    assert (prices and prices.rule) == rule


def test_aliases_name_providers_that_exist() -> None:
    ids = {provider.id for provider in get_snapshot().providers}
    assert set(ALIASES.values()) <= ids


def test_time_of_day_is_in_the_rule() -> None:
    noon = BOOK.resolve("deepseek", "deepseek-chat", NOW_MS)
    night = BOOK.resolve("deepseek", "deepseek-chat", NOW_MS + 12 * 3_600_000)
    assert noon is not None
    assert night is not None
    assert noon.rule == "deepseek/deepseek-chat@00:30-16:30"
    assert night.rates != noon.rates


def test_a_date_is_in_the_rule() -> None:
    dated = next(
        found
        for _, model in MODELS
        if isinstance(found := compile_model("seller", model), Schedule) and found.otherwise
    )
    rules = [entry.prices.rule for entry in dated.entries if entry.prices]
    assert all(rule.startswith("seller/") and "@" in rule for rule in rules)


def test_an_empty_price_set_is_free_and_a_foreign_one_is_no_price() -> None:
    free = BOOK.resolve("openrouter", "agentica-org/deepcoder-14b-preview:free", NOW_MS)
    assert isinstance(free, Prices)
    assert price(free, 5, 0, 0, 5) == (("input", 5, 0, 0), ("output", 5, 0, 0))
    assert BOOK.resolve("groq", "whisper-large-v3", NOW_MS) is None


def test_finer_than_an_atto_is_rounded_once() -> None:
    prices = BOOK.resolve("openrouter", "google/gemini-2.5-flash", NOW_MS)
    assert prices is not None
    assert prices.rates.cache_write == 83_333_333_333  # published: 0.0833333333333333 USD/M


def test_constraint_times_of_other_zones_are_utc() -> None:
    # 23:30 UTC, and half a millisecond that no call's time can express
    late = time(0, 30, microsecond=500, tzinfo=timezone(timedelta(hours=1)))
    model = ModelInfo(
        id="m",
        match=MODELS[0][1].match,
        prices=[
            ConditionalPrice(prices=ModelPrice(input_mtok=Decimal(1))),
            ConditionalPrice(
                TimeOfDateConstraint(late, time(2)),
                prices=ModelPrice(input_mtok=Decimal(2)),
            ),
        ],
    )
    found = compile_model("p", model)
    assert isinstance(found, Schedule)
    midnight = to_ms(datetime(2026, 11, 22, tzinfo=UTC))
    steps = [*range(-2_000_000, 8_000_000, 250_000), -1_800_001, -1_800_000, -1_799_999, 7_200_000]
    for time_ms in (midnight + step for step in steps):
        prices = found.at(time_ms)
        assert prices is not None
        assert prices.rates.input is not None
        expected = model.get_prices(from_ms(time_ms)).input_mtok
        assert prices.rates.input == int(Decimal(str(expected)) * 10**12)


def test_the_version_names_package_and_content() -> None:
    again: PriceBook = compile_book()
    assert again.version == BOOK.version
    name, package, digest = BOOK.version.split(" ")
    assert name == "genai-prices"
    assert package.startswith("0.2.")
    assert len(digest) == 12

"""The compiled book: references, names of rules, dates and times of day, what compiling cleans."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta, timezone
from decimal import Decimal

import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import (
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    PriceVariant,
    StartDateConstraint,
    TimeOfDateConstraint,
)

from spendstream.schemas.period import from_ms, to_ms
from spendstream.schemas.prices.book import PLAIN, Context, Daily, Found, PriceBook, Schedule
from spendstream.schemas.prices.calls import price_call
from spendstream.schemas.prices.compile import ALIASES, compile_book
from spendstream.schemas.prices.context import context_of
from spendstream.schemas.prices.leaves import Cost
from spendstream.schemas.prices.listed import Listed
from spendstream.schemas.prices.times import timetable
from spendstream.schemas.usage import OtherModel, Usage

BOOK = compile_book()
NOW_MS = to_ms(datetime(2026, 11, 22, 10, tzinfo=UTC))
MODELS = [(provider, model) for provider in get_snapshot().providers for model in provider.models]


def compile_model(seller: str, model: ModelInfo, context: Context = PLAIN) -> Found:
    listed = Listed(seller, model)
    return timetable(listed.spans(), lambda at, of_day: listed.at(at, of_day, context))


def cost_of(
    provider: str, model: str, usage: Usage, context: Context = PLAIN, time_ms: int = NOW_MS
) -> Cost | None:
    return price_call(BOOK, provider, model, usage, time_ms, context)


def leaves_of(cost: Cost | None) -> dict[str, int] | None:
    return None if cost is None else {name: pico for name, _, _, pico in cost.leaves}


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
    prices = BOOK.resolve("openai", "o3", NOW_MS)
    assert prices is not None
    assert prices.rule == "openai/o3@2025-06-10"


def test_an_empty_price_set_is_free() -> None:
    free = "agentica-org/deepcoder-14b-preview:free"
    cost = cost_of("openrouter", free, Usage(input_tokens=5, output_tokens=5))
    assert leaves_of(cost) == {"input": 0, "output": 0}
    # but not whatever else it may be used for
    searched = Usage(input_tokens=5, output_tokens=5, web_searches=1)
    assert cost_of("openrouter", free, searched) is None


def test_a_model_that_is_sold_by_its_input_has_free_output() -> None:
    used = Usage(input_tokens=1_000_000, output_tokens=7)
    cost = cost_of("openai", "text-embedding-3-small", used)
    assert leaves_of(cost) == {"input": 20_000_000_000, "output": 0}


def test_a_model_that_is_sold_by_the_hour() -> None:
    hour = Usage(input_tokens=0, output_tokens=0, audio_input_ms=3_600_000)
    assert leaves_of(cost_of("groq", "whisper-large-v3", hour)) == {
        "input_audio_time": 111_000_000_000
    }
    # tokens that are only told beside it
    told = hour.model_copy(update={"input_tokens": 9, "output_tokens": 9})
    assert leaves_of(cost_of("groq", "whisper-large-v3", told)) == {
        "input_audio_time": 111_000_000_000
    }
    # without the audio nothing of it is known
    assert cost_of("groq", "whisper-large-v3", Usage(input_tokens=9, output_tokens=9)) is None


def test_groq_charges_ten_seconds_at_least() -> None:
    for ms, paid in ((1, 10_000), (9_999, 10_000), (10_001, 10_001)):
        cost = cost_of(
            "groq",
            "whisper-large-v3",
            Usage(input_tokens=0, output_tokens=0, audio_input_ms=ms),
        )
        assert cost is not None
        assert cost.leaves[0][1] == paid
        assert cost.pico == round(111 * 10**9 * paid / 3_600_000)


USED = Usage(input_tokens=1_000, output_tokens=100)


@pytest.mark.parametrize(
    ("provider", "model", "batch", "tier", "region", "paid", "exact"),
    [
        # USD a million: 2.5 and 10 standard, batch half of it, priority 4.25 and 17
        ("openai", "gpt-4o", False, None, None, 3_500, True),
        ("openai", "gpt-4o", False, "default", None, 3_500, True),
        ("openai", "gpt-4o", True, None, None, 1_750, True),
        # a batch's own lines say `default`
        ("openai", "gpt-4o", True, "default", None, 1_750, True),
        ("openai", "gpt-4o", False, "priority", None, 5_950, True),
        ("openai", "gpt-4o", False, "flex", None, 3_500, False),
        ("openai", "o3", False, "flex", None, 1_400, True),
        # Azure sells it at the standard price as far as is known
        ("azure.ai.openai", "gpt-4o", True, None, None, 3_500, False),
        ("anthropic", "claude-opus-4-6", False, "standard", None, 7_500, True),
        ("anthropic", "claude-opus-4-6", False, "batch", None, 3_750, True),
        ("anthropic", "claude-opus-4-6", False, None, "global", 7_500, True),
        ("anthropic", "claude-opus-4-6", False, None, "us", 8_250, True),
        ("anthropic", "claude-opus-4-6", True, None, "us", 4_125, True),
        ("anthropic", "claude-opus-4-6", False, None, "mars", 7_500, False),
        # older models cost the same everywhere
        ("anthropic", "claude-opus-4-5", False, None, "us", 7_500, True),
        ("anthropic", "claude-sonnet-5", False, None, "US", 3_300, True),
        # who resells it has no such region
        ("azure.ai.openai", "claude-opus-4-6", False, None, "us", 7_500, True),
        ("azure.ai.openai", "claude-opus-4-6", False, None, "eastus2", 7_500, True),
        # a price for each condition, and none for both
        ("openai", "gpt-5.4", True, "priority", None, 8_000, False),
        ("openai", "gpt-4o", False, "Priority", None, 5_950, True),
        ("anthropic", "claude-opus-4-6", False, "priority", None, 7_500, False),
        # of others the region says where it ran
        ("openai", "gpt-4o", False, None, "eu", 3_500, True),
        ("gcp.gemini", "gemini-2.5-flash", True, None, None, 275, True),
        ("mistral_ai", "mistral-medium-latest", True, None, None, 1_125, True),
    ],
)
def test_batch_tier_and_region(
    provider: str,
    model: str,
    batch: bool,
    tier: str | None,
    region: str | None,
    paid: int,
    exact: bool,
) -> None:
    """`paid` in millionths of a USD."""
    cost = cost_of(provider, model, USED, context_of(batch, tier, region))
    assert cost is not None
    assert (cost.pico, cost.exact) == (paid * 10**6, exact)


def test_a_batch_without_a_price_of_cached_tokens_is_exact_until_some_are_used() -> None:
    """OpenAI's batch variant of gpt-4.1 has prices of input and output alone."""
    some = Usage(input_tokens=1_000, output_tokens=100, cache_read_input_tokens=10)
    for usage, batch, exact in ((USED, True, True), (some, True, False), (some, False, True)):
        cost = cost_of("openai", "gpt-4.1", usage, context_of(batch, None, None))
        assert cost is not None
        assert cost.exact is exact


def test_an_hour_at_the_standard_price_makes_a_batch_an_estimate() -> None:
    """Voxtral's batch variant has prices of tokens alone."""
    heard = Usage(input_tokens=10, output_tokens=10, audio_input_ms=1_000)
    for batch in (False, True):
        context = context_of(batch, None, None)
        cost = cost_of("mistral", "voxtral-small-24b-2507", heard, context)
        assert cost is not None
        assert cost.exact is not batch


def test_anthropics_fast_mode_is_a_tier() -> None:
    fast = {
        variant.when["speed"]: model.id
        for provider, model in MODELS
        if provider.id == "anthropic"
        for variant in model.price_variants or ()
        if "speed" in variant.when
    }
    (model,) = fast.values()
    standard = cost_of("anthropic", model, USED)
    cost = cost_of("anthropic", model, USED, context_of(False, "fast", None))
    assert standard is not None
    assert cost is not None
    assert cost.exact
    assert cost.pico > standard.pico


def test_a_variant_prices_what_it_names_from_its_day_on() -> None:
    model = ModelInfo(
        id="m",
        match=MODELS[0][1].match,
        prices=ModelPrice(input_mtok=Decimal(4), output_mtok=Decimal(8)),
        price_variants=[
            PriceVariant(
                {"processing": "batch"},
                ModelPrice(input_mtok=Decimal(2)),
                StartDateConstraint(datetime(2026, 10, 14, tzinfo=UTC).date()),
            )
        ],
    )
    begins = to_ms(datetime(2026, 10, 14, tzinfo=UTC))
    found = compile_model("p", model, context_of(True, None, None))
    assert isinstance(found, Schedule)
    before, after = found.at(begins - 1), found.at(begins)
    assert before is not None
    assert after is not None
    assert (before.rates.input, before.exact, before.rule) == (4 * 10**12, False, "p/m")
    assert (after.rates.input, after.rates.output) == (2 * 10**12, 8 * 10**12)
    assert (after.exact, after.rule) == (True, "p/m +batch@2026-10-14")


def test_another_models_tokens_cost_their_own_price() -> None:
    other = OtherModel(model="claude-haiku-4-5", input_tokens=2_000, output_tokens=10)
    used = Usage(input_tokens=1_000, output_tokens=100, other_models=(other, other))
    cost = cost_of("anthropic", "claude-opus-4-6", used)
    assert cost is not None
    # 5 and 25 a million, 1 and 5 for each pass of the other
    assert cost.pico == (7_500 + 2 * 2_050) * 10**6
    assert [name for name, *_ in cost.leaves] == ["input", "output"] * 3
    assert cost.rule == "anthropic/claude-opus-4-6@2026-03-13, anthropic/claude-haiku-4-5"
    unknown = other.model_copy(update={"model": "unheard-of"})
    assert (
        cost_of(
            "anthropic", "claude-opus-4-6", used.model_copy(update={"other_models": (unknown,)})
        )
        is None
    )


def test_fetches_are_free_where_the_provider_says_so() -> None:
    fetched = USED.model_copy(update={"web_fetches": 3})
    cost = cost_of("anthropic", "claude-opus-4-6", fetched)
    assert (leaves_of(cost) or {})["web_fetches"] == 0
    assert cost_of("openai", "gpt-4o", fetched) is None


def test_what_was_cleaned_is_listed() -> None:
    listed = {(one.provider, one.model, one.price): one for one in BOOK.cleaned()}
    noise = listed["huggingface_together", "Qwen/Qwen3-VL-8B-Instruct", "input_mtok"]
    assert (noise.published, noise.used) == ("0.18000000000000002", 180_000_000_000)
    third = listed["openrouter", "google/gemini-2.5-flash", "cache_write_mtok"]
    assert (third.published, third.used) == ("0.0833333333333333", 83_333_333_333)
    for one in BOOK.cleaned():
        assert one.price.endswith("_mtok")
        assert abs(Decimal(one.published) * 10**12 - one.used) <= Decimal("0.5")


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
    assert isinstance(found.spans[0], Daily)
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

"""The operator's prices: which of them counts, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.schemas.money import cents_display, usd_string
from spendstream.schemas.period import to_ms
from spendstream.schemas.prices.book import PLAIN, Context, PriceBook
from spendstream.schemas.prices.calls import price_call
from spendstream.schemas.prices.compile import compile_book
from spendstream.schemas.prices.context import context_of
from spendstream.schemas.prices.leaves import Cost
from spendstream.schemas.prices.overrides import OverridesError, parse_overrides
from spendstream.schemas.usage import Usage

JAN, JUNE = to_ms(datetime(2026, 1, 1, tzinfo=UTC)), to_ms(datetime(2026, 6, 1, tzinfo=UTC))
NOON = to_ms(datetime(2026, 11, 22, 12, tzinfo=UTC))
USED = Usage(input_tokens=1_000, output_tokens=500)


def entry(model: str = "gpt-4o", valid_from: str = "2026-01-01", **more: Any) -> dict[str, Any]:
    return {
        "provider": "openai",
        "model": model,
        "valid_from": valid_from,
        "prices": {"input": "10", "output": "30"},
        **more,
    }


def book(*entries: dict[str, Any], aliases: tuple[dict[str, Any], ...] = ()) -> PriceBook:
    return compile_book(parse_overrides({"prices": entries, "aliases": aliases}))


def cost(
    prices: PriceBook,
    model: str = "gpt-4o",
    time_ms: int = NOON,
    context: Context = PLAIN,
    usage: Usage = USED,
    provider: str = "openai",
) -> Cost:
    found = price_call(prices, provider, model, usage, time_ms, context)
    assert found is not None
    return found


def test_a_thousand_and_five_hundred_tokens_cost_two_and_a_half_cents() -> None:
    prices = book(entry(tokens_per=1000, prices={"input": "0.01", "output": "0.03"}))
    found = cost(prices)
    assert usd_string(found.pico) == "0.025"
    assert cents_display(found.pico) == "$0.03"
    assert found.leaves == (
        ("input", 1_000, 10**13, 10**10),
        ("output", 500, 3 * 10**13, 15 * 10**9),
    )


class TestWhichCounts:
    def test_an_entry_holds_from_its_moment_on(self) -> None:
        prices = book(entry(), entry(valid_from="2026-06-01T02:00:00+02:00", prices={"input": "1"}))
        listed = cost(book(), time_ms=JAN - 1)
        assert cost(prices, time_ms=JAN - 1) == listed
        assert cost(prices, time_ms=JAN).rule == "override openai/gpt-4o@2026-01-01"
        assert cost(prices, time_ms=JUNE - 1).rule == "override openai/gpt-4o@2026-01-01"
        only_input = Usage(input_tokens=1_000_000, output_tokens=0)
        later = cost(prices, time_ms=JUNE, usage=only_input)
        assert (later.rule, later.pico) == ("override openai/gpt-4o@2026-06-01", 10**12)

    def test_what_an_entry_does_not_name_has_no_price(self) -> None:
        prices = book(entry(prices={"input": "1"}))
        assert price_call(prices, "openai", "gpt-4o", USED, NOON) is None
        searched = Usage(input_tokens=1, output_tokens=0, web_searches=1)
        assert price_call(prices, "openai", "gpt-4o", searched, NOON) is None

    @pytest.mark.parametrize(
        ("asked", "model"),
        [
            ("gpt-4o", "gpt-4o"),
            ("GPT-4o", "gpt-4o"),
            # by genai-prices' id of a dated name
            ("gpt-4o-2024-08-06", "gpt-4o"),
            ("gpt-4o-mini", "gpt-4o-mini*"),
            ("gpt-4o-mini-2024-07-18", "gpt-4o-mini*"),
            ("gpt-4o-audio-preview", "gpt-4o*"),
            ("gpt-5", "*"),
            ("never-heard-of", "*"),
        ],
    )
    def test_the_closest_name_counts(self, asked: str, model: str) -> None:
        names = ("*", "gpt-4o", "gpt-4o*", "gpt-4o-mini*")
        prices = book(*(entry(name) for name in names))
        assert cost(prices, asked).rule == f"override openai/{model}@2026-01-01"

    def test_more_conditions_count_before_a_later_date(self) -> None:
        prices = book(
            entry(when={"batch": True}, prices={"input": "5", "output": "15"}),
            entry(when={"batch": True, "region": "eu"}, prices={"input": "6", "output": "16"}),
            entry(when={"tier": "priority"}, prices={"input": "20", "output": "60"}),
            entry(valid_from="2026-06-01"),
        )
        for batch, tier, region, millionths, exact in (
            (False, None, None, 25_000, True),
            (True, None, None, 12_500, True),
            (True, None, "eu", 14_000, True),
            (False, None, "eu", 25_000, True),
            (False, "priority", None, 50_000, True),
            (False, "flex", None, 25_000, False),
            # as many conditions: the last one
            (True, "priority", None, 50_000, False),
        ):
            found = cost(prices, context=context_of(batch, tier, region))
            assert (found.pico, found.exact) == (millionths * 10**6, exact)

    def test_a_published_entry_takes_back_the_others(self) -> None:
        back = {key: said for key, said in entry().items() if key != "prices"}
        back |= {"valid_from": "2026-06-01", "published": True}
        prices = book(entry(), entry(when={"batch": True}), back)
        assert cost(prices, time_ms=JUNE - 1).rule == "override openai/gpt-4o@2026-01-01"
        assert cost(prices, time_ms=JUNE) == cost(book(), time_ms=JUNE)
        # more conditions count before a later date, here too
        batch = context_of(True, None, None)
        assert cost(prices, time_ms=JUNE, context=batch).rule.endswith("@2026-01-01 +batch")

    @pytest.mark.parametrize("model", ["openai/gpt-4o", "OpenAI/gpt-*"])
    def test_litellms_names_carry_the_provider(self, model: str) -> None:
        prices = book(entry(model, provider="litellm"))
        for provider, name in (("litellm", "openai/gpt-4o"), ("openai", "gpt-4o")):
            assert cost(prices, name, provider=provider).rule.startswith("override openai/gpt-")

    @pytest.mark.parametrize("said", ["gemini", "vertex_ai", "gcp.gemini", "google"])
    @pytest.mark.parametrize("asked", ["gemini", "vertex_ai", "gcp.vertex_ai", "google"])
    def test_an_entry_holds_for_all_names_of_its_provider(self, said: str, asked: str) -> None:
        prices = book(entry("gemini-2.5-flash", provider=said))
        assert cost(prices, "gemini-2.5-flash", provider=asked).rule.startswith("override google/")

    def test_a_pattern_has_the_models_terms(self) -> None:
        """Groq's ten seconds at least."""
        spoken = {"input_audio_time": "0.36"}
        second = Usage(input_tokens=0, output_tokens=0, audio_input_ms=1_000)
        for pattern in ("whisper-large-v3", "whisper-large-v3*", "*"):
            prices = book(entry(pattern, provider="groq", prices=spoken))
            found = cost(prices, "whisper-large-v3", provider="groq", usage=second)
            assert found.pico == 10**9

    def test_a_tier_is_the_same_in_capitals(self) -> None:
        prices = book(entry(when={"tier": "Flex"}, prices={"input": "5", "output": "15"}))
        for tier in ("flex", "FLEX"):
            assert cost(prices, context=context_of(False, tier, None)).exact

    def test_the_last_of_equals_counts(self) -> None:
        prices = book(entry(), entry(prices={"input": "1", "output": "1"}))
        assert cost(prices).pico == 1_500 * 10**6

    def test_time_of_day(self) -> None:
        night = entry(when={"between": ["16:30", "00:30"]}, prices={"input": "1", "output": "1"})
        prices = book(entry(), night)
        midnight = NOON - 12 * 3_600_000
        rules = {
            minute: cost(prices, time_ms=midnight + minute * 60_000).rule
            for minute in (29, 30, 989, 990)
        }
        named = "override openai/gpt-4o@2026-01-01"
        assert rules == {
            29: f"{named} +16:30-00:30",
            30: named,
            989: named,
            990: f"{named} +16:30-00:30",
        }

    def test_long_context_reprices_the_whole_call(self) -> None:
        steps = [
            {"input_above": 1_000, "prices": {"input": "20"}},
            {"input_above": 2_000, "prices": {"output": "60"}},
        ]
        prices = book(entry(long_context=steps))
        for size, millionths in ((1_000, 25_000), (1_001, 35_020), (2_001, 70_020)):
            usage = USED.model_copy(update={"input_tokens": size})
            assert cost(prices, usage=usage).pico == millionths * 10**6

    def test_images(self) -> None:
        images = [{"size": "1024x1024", "quality": "hd", "price": "0.08"}, {"price": "0.04"}]
        prices = book(entry("dall-e-3", prices={}, images=images))
        for quality, paid in (("hd", 16), ("standard", 8)):
            usage = Usage(
                input_tokens=0,
                output_tokens=0,
                images=2,
                image_size="1024x1024",
                image_quality=quality,
            )
            assert cost(prices, "dall-e-3", usage=usage).pico == paid * 10**10

    def test_every_unit(self) -> None:
        given_prices = {
            "input": "0",
            "output": "0",
            "input_audio_time": "0.36",
            "input_characters": "15",
            "pages": "1",
            "web_searches": "10",
            "web_fetches": "1",
            "search_units": "2",
            "requests": "5",
            "output_citation": "2",
            "cache_write_30m": "1.25",
            "cache_write": "1",
        }
        usage = Usage(
            input_tokens=1_000_000,
            output_tokens=0,
            cache_write_input_tokens=1_000_000,
            cache_write_30m_input_tokens=1_000_000,
            audio_input_ms=10_000,
            input_characters=1_000,
            pages=2,
            web_searches=3,
            web_fetches=4,
            search_units=5,
            citation_tokens=1_000_000,
        )
        found = cost(book(entry(prices=given_prices)), usage=usage)
        assert {name: usd_string(pico) for name, _, _, pico in found.leaves} == {
            "cache_write_30m": "1.25",
            "output_citation": "2",
            "input_audio_time": "0.001",
            "input_characters": "0.015",
            "pages": "0.002",
            "web_searches": "0.03",
            "web_fetches": "0.004",
            "search_units": "0.01",
            "requests": "0.005",
        }


ALIAS: Final = {
    "provider": "azure.ai.openai",
    "model": "our-deployment",
    "valid_from": "2026-06-01",
    "same_as": {"provider": "openai", "model": "gpt-4o"},
}


class TestAliases:
    def test_a_deployment_costs_what_its_model_does(self) -> None:
        prices = book(aliases=(ALIAS,))
        found = cost(prices, "our-deployment", provider="azure.ai.openai")
        assert found == cost(prices)
        args = ("azure.ai.openai", "our-deployment", USED, JUNE - 1)
        assert price_call(prices, *args) is None

    def test_by_the_operators_own_prices_too(self) -> None:
        prices = book(entry(), aliases=(ALIAS,))
        found = cost(prices, "our-deployment", provider="azure")
        assert found.rule == "override openai/gpt-4o@2026-01-01"

    def test_it_can_be_pointed_at_another_model(self) -> None:
        moved = ALIAS | {
            "valid_from": "2026-09-01",
            "same_as": {"provider": "openai", "model": "gpt-4o-mini"},
        }
        prices = book(aliases=(ALIAS, moved))
        rules = [
            cost(prices, "our-deployment", time_ms, provider="azure").rule
            for time_ms in (JUNE, to_ms(datetime(2026, 9, 1, tzinfo=UTC)))
        ]
        assert rules == ["openai/gpt-4o", "openai/gpt-4o-mini"]


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ([], "overrides: Input should be an object"),
        ({"price": []}, "price: Extra inputs are not permitted"),
        ({"prices": [entry(valid_from="soon")]}, "prices[0].valid_from: 'soon' is neither"),
        ({"prices": [entry(prices={"input": 0.1})]}, "prices[0].prices.input: 0.1 is a float"),
        ({"prices": [entry(prices={"input": "-1"})]}, "prices[0].prices.input: '-1' is none"),
        ({"prices": [entry(prices={"input": "1e3"})]}, "prices[0].prices.input: '1e3' is none"),
        ({"prices": [entry(prices={"inputs": "1"})]}, "prices[0].prices.inputs: unknown (there"),
        (
            {"prices": [entry(prices={"input": "0.0000000000001"})]},
            "prices[0].prices.input: 0.0000000000001 USD is finer than an atto-USD a unit",
        ),
        # beyond what decimals of the usual precision can tell
        (
            {"prices": [entry(prices={"input": "999999999.000000000000000000001"})]},
            "prices[0].prices.input: 999999999.000000000000000000001 USD is finer",
        ),
        ({"prices": [entry(prices={})]}, "prices[0].prices: required"),
        (
            {"prices": [entry("*/gpt-4o", provider="litellm")]},
            "prices[0].model: litellm's names begin with their provider",
        ),
        ({"prices": [entry(published=True)]}, "prices[0].published: stands instead of prices"),
        ({"prices": [entry(when={"tier": "DEFAULT"})]}, "prices[0].when.tier: 'DEFAULT' is the"),
        ({"prices": [entry(tokens_per=10)]}, "prices[0].tokens_per: Input should be 1000 or"),
        ({"prices": [entry(prices={"images": "1"})]}, "prices[0].prices.images: stands in"),
        (
            {"prices": [entry(), entry(when={"tier": "default"})]},
            "prices[1].when.tier: 'default' is the standard price",
        ),
        ({"prices": [entry(when={"batch": False})]}, "prices[0].when.batch: Input should be True"),
        (
            {"prices": [entry(when={"between": ["1:00", "02:00"]})]},
            "prices[0].when.between[0]: '1:00' is none",
        ),
        (
            {"prices": [entry(when={"between": ["01:00", "01:00"]})]},
            "prices[0].when.between: begins when it ends",
        ),
        (
            {"prices": [entry(long_context=[{"input_above": 9, "prices": {"pages": "1"}}])]},
            "prices[0].long_context[0].prices.pages: only tokens cost more",
        ),
        (
            {
                "prices": [
                    entry(long_context=[{"input_above": 9, "prices": {}}] * 2),
                ]
            },
            "prices[0].long_context: input_above must ascend",
        ),
        (
            {"prices": [entry(prices={"input": "1", "input_audio": "2", "cache_read": "1"})]},
            "prices[0].prices.cache_read_audio: required beside cache_read and input_audio",
        ),
        ({"aliases": [{"provider": "azure"}]}, "aliases[0].model: Field required"),
    ],
)
def test_what_is_refused_names_field_and_reason(document: Any, told: str) -> None:
    with pytest.raises(OverridesError) as refused:
        parse_overrides(document)
    assert any(error.startswith(told) for error in refused.value.errors), refused.value.errors


def test_the_version_is_the_contents() -> None:
    versions = [
        book(*entries).version
        for entries in ((), (entry(),), (entry(), entry()), (entry(valid_from="2026-01-02"),))
    ]
    assert len(set(versions)) == 4
    assert book(entry()).version == versions[1]
    assert versions[1].split(" ")[1].endswith("+1")


DAYS = st.integers(1, 28).map(lambda day: f"2026-03-{day:02}")
ENTRIES = st.builds(
    lambda model, day, when, usd: entry(
        model, day, when=when, prices={"input": usd, "output": usd}
    ),
    st.sampled_from(["gpt-4o", "gpt-4o*", "*"]),
    DAYS,
    st.sampled_from([{}, {"batch": True}, {"between": ["08:00", "20:00"]}]),
    st.sampled_from(["1", "2", "0.5"]),
)


@given(
    st.lists(ENTRIES, max_size=5),
    ENTRIES,
    st.integers(0, 40 * 24),
    st.booleans(),
)
def test_a_new_price_never_moves_a_call_before_it(
    entries: list[dict[str, Any]], added: dict[str, Any], hours: int, batch: bool
) -> None:
    time_ms = to_ms(datetime(2026, 2, 25, tzinfo=UTC)) + hours * 3_600_000
    context = context_of(batch, None, None)
    before = cost(book(*entries), time_ms=time_ms, context=context)
    after = cost(book(*entries, added), time_ms=time_ms, context=context)
    begins = to_ms(datetime.fromisoformat(added["valid_from"]).replace(tzinfo=UTC))
    assert before == after or time_ms >= begins

"""What is said of an entry that an operator may not expect of it."""

from __future__ import annotations

from typing import Any

import pytest

from spendstream.api.prices.edits import effects
from spendstream.schemas.prices.overrides import parse_overrides
from spendstream.schemas.prices.version import PriceVersion

NOW = 1_795_348_800_000  # 2026-11-22T12:00:00Z
ALL = {"input": "2.5", "output": "10", "cache_read": "1.25", "web_searches": "10"}
BATCH = (
    "batch calls are priced by this entry too, as estimates (before: input 1.25, output 5 USD per "
    "1,000,000 tokens); add an entry with `when: {batch: true}` for them"
)


def entry(prices: dict[str, str], **more: Any) -> dict[str, Any]:
    said = {"provider": "openai", "model": "gpt-4o", "valid_from": "2026-01-01", "prices": prices}
    return said | more


def notes(*entries: dict[str, Any], held: tuple[dict[str, Any], ...] = ()) -> list[list[str]]:
    """Of each entry."""
    there = [
        PriceVersion(version=number, entry=one, written_at_ms=0, author="a")
        for number, one in enumerate(parse_overrides({"prices": list(held)}).prices, 1)
    ]
    new = parse_overrides({"prices": list(entries)}).prices
    return [change["notes"] for change in effects(there, new, NOW)]


def test_calls_that_had_prices_of_their_own_are_priced_by_the_entry() -> None:
    (found,) = notes(entry(ALL))
    assert found[-1] == BATCH
    assert {note.partition(" calls")[0] for note in found} == {"batch", "fast", "priority"}
    assert all("as estimates" in note for note in found)


def test_those_with_an_entry_of_their_own_are_not_said() -> None:
    of_batch = entry(ALL, when={"batch": True})
    together = notes(entry(ALL), of_batch)
    there = notes(entry(ALL), held=(of_batch,))
    for found in (*together, *there):
        assert not [note for note in found if note.startswith("batch")]
    assert together[1] == []


def test_nor_those_that_were_estimates_before() -> None:
    assert notes(entry(ALL), held=(entry({**ALL, "input": "3"}),)) == [[]]


def test_a_region_that_the_provider_charges_for() -> None:
    opus = {"provider": "anthropic", "model": "claude-opus-4-6"}
    (found,) = notes(entry({"input": "5", "output": "25"}, when={"batch": True}) | opus)
    assert found[0].startswith("batch calls in us are priced by this entry too")
    assert "`when: {batch: true, region: us}`" in found[0]


def test_tokens_that_the_entry_does_not_name_cost_what_is_around_them() -> None:
    opus = {"provider": "anthropic", "model": "claude-opus-4-6"}
    own = {"input": "7", "output": "25", "web_searches": "10"}
    found = notes(entry(own) | opus)[0]
    assert found[-1] == (
        "tokens of cache_read (before: 0.5), cache_write (before: 6.25) and cache_write_1h "
        "(before: 10) will cost the input price, 7 USD per 1,000,000 tokens: the entry names no "
        "other for them"
    )
    with_write = notes(entry({**own, "cache_write": "6.25", "cache_read": "0.5"}) | opus)[0]
    assert with_write[-1].startswith(
        "tokens of cache_write_1h (before: 10) will cost the cache_wri"
    )


def test_kinds_of_tokens() -> None:
    held = entry({"input": "1", "output": "2", "output_reasoning": "3", "input_audio": "2"})
    same = notes(entry({"input": "2", "output": "3"}), held=(held,))[0]
    assert same == []  # what is around them costs what they have cost
    found = notes(entry({"input": "4", "output": "5"}), held=(held,))[0]
    assert {note.partition(":")[0] for note in found} == {
        "tokens of input_audio (before",
        "tokens of output_reasoning (before",
    }


def test_what_has_no_price_any_more_makes_calls_unpriced() -> None:
    held = entry({**ALL, "requests": "5", "output_citation": "1"}, images=[{"price": "0.04"}])
    found = notes(entry({"output": "10"}), held=(held,))[0]
    assert found == [
        "calls with input (before: 2.5 USD per 1,000,000 tokens), output_citation (before: 1 USD "
        "per 1,000,000 tokens), web_searches (before: 10 USD per 1,000 searches) and images "
        "without output tokens (before: 0.04 USD per image) will be unpriced: the entry has no "
        "price for that",
        "there is no fee for a request any more (before: 5 USD per 1,000 requests)",
    ]


def test_a_context_size_that_is_not_named_any_more() -> None:
    long = [{"input_above": 1_000, "prices": {"input": "9"}}]
    held = entry(ALL, long_context=long)
    assert notes(entry(ALL), held=(held,)) == [
        [
            "calls with an input above 1,000 tokens will cost a token what others cost (before: "
            "input 9, output 10 USD per 1,000,000 tokens)"
        ]
    ]
    assert notes(entry(ALL, long_context=long), held=(held,)) == [[]]


@pytest.mark.parametrize(
    "said",
    [
        entry({"input": "7"}, model="unheard-of"),
        entry({"input": "7"}, model="gpt-4*"),
        entry({"input": "7"}, provider="nobody"),
        entry(ALL, provider="azure"),
    ],
)
def test_nothing_is_said_where_nothing_of_the_kind_applies(said: dict[str, Any]) -> None:
    assert notes(said) == [[]]


def test_an_entry_that_prices_nothing_has_no_notes() -> None:
    later = entry(ALL, valid_from="2026-02-01")
    assert notes(entry({"input": "1"}), held=(later,)) == [[]]

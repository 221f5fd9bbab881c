"""Prices that public projects assert for given usage, and what genai-prices makes of more of it.

The cases stay outside the repository (their README says where they are from); without them this is
skipped. `DIFFERS` names every case where ours is another figure, and why: an unlisted difference
fails, and so does a listed one that is none any more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from spendstream.schemas.money import PICO_PER_USD
from spendstream.schemas.prices.calc import answer
from spendstream.schemas.prices.compile import compile_book
from spendstream.schemas.prices.overrides import parse_overrides
from spendstream.schemas.prices.units import UNITS

CASES: Final = Path(__file__).parents[3] / "shared/data/conformance/pricing.jsonl"
BOOK: Final = compile_book()
DIFFERS: Final = {
    "billed-pydai-openrouter-test_openrouter_file_annotation-0": (
        "0.002167750000, ours 0.00016775: the response was charged 0.002 USD beside its tokens for"
        " the reading of a file (OpenRouter's plugin), which its usage does not say; the tokens"
        " are priced as listed. Such a call is charged what the provider reports"
        " (pydantic/pydantic-ai tests/models/cassettes/test_openrouter/"
        "test_openrouter_file_annotation.yaml @4fda38988f2939fa6ea9cdefcf120693e10ef491)"
    ),
}

FINER: Final = frozenset(f"gen-subpico-{number}" for number in ("00", "06", "07", "08"))
"""A price that is no whole number of atto-USD: in a price file that is a mistake."""


def anything(case: dict[str, Any]) -> bool:
    return True


def in_the_book(case: dict[str, Any]) -> bool:
    """Its figure is the installed genai-prices' one, too."""
    by_it = "genai-prices" in case.get("oracle", "")
    return by_it or case.get("genai_prices_0_2_3") == "agrees"


def in_a_price_file(case: dict[str, Any]) -> bool:
    """It has prices, and a price file would not refuse them."""
    fits = case["expected_cost_usd"] is not None and case["id"] not in FINER
    return fits and "prices" in case


def cases(wanted: Callable[[dict[str, Any]], bool] = anything) -> Iterator[Any]:
    if CASES.exists():
        with CASES.open(encoding="utf-8") as lines:
            for case in filter(wanted, map(json.loads, lines)):
                yield pytest.param(case, id=case["id"])
    else:
        why = f"the conformance cases are not there: {CASES.name}"
        yield pytest.param({}, marks=pytest.mark.skip(reason=why))


@pytest.mark.parametrize("case", tuple(cases()))
def test_priced(case: dict[str, Any]) -> None:
    """By the case's own prices where it has any, else by the book."""
    differs = differences(case)
    if case["id"] in DIFFERS:
        assert differs, "it is listed as one that differs"
    else:
        assert not differs


@pytest.mark.parametrize("case", tuple(cases(in_the_book)))
def test_priced_by_the_book(case: dict[str, Any]) -> None:
    """In the case's context, at its time, without its own prices."""
    assert not differences({name: case[name] for name in case if name != "prices"})


@pytest.mark.parametrize("case", tuple(cases(in_a_price_file)))
def test_priced_by_an_override(case: dict[str, Any]) -> None:
    """The case's own prices as the operator's: the same, where a price file can say them."""
    own = entry(case["provider"], case["model"], case["prices"])
    overrides = parse_overrides({"prices": [own]})
    said = {name: case[name] for name in case if name not in ("prices", "price_context")}
    found = answer(compile_book(overrides), said)
    assert found["rule"].startswith("override ")
    assert pico(found["cost_usd"]) == pico(case["expected_cost_usd"])


def entry(provider: str, model: str, prices: dict[str, Any]) -> dict[str, Any]:
    """A price file's entry with a case's prices."""
    leaf_of = {key: leaf for leaf, unit in reversed(list(UNITS.items())) for key in unit.keys}
    named = {leaf_of[name]: price for name, price in prices.items() if name in leaf_of}
    starts = {
        tier["start"]
        for price in named.values()
        if isinstance(price, dict)
        for tier in price["tiers"]
    }
    plain = {leaf: price for leaf, price in named.items() if not isinstance(price, dict)}
    tiered = {leaf: price for leaf, price in named.items() if isinstance(price, dict)}
    return {
        "provider": provider,
        "model": model,
        "valid_from": "2020-01-01",
        # a model that is sold by its input says so here
        "prices": {"output": "0"} | plain | {leaf: p["base"] for leaf, p in tiered.items()},
        "long_context": [
            {
                "input_above": start,
                "prices": {
                    leaf: tier["price"]
                    for leaf, price in tiered.items()
                    for tier in price["tiers"]
                    if tier["start"] == start
                },
            }
            for start in sorted(starts)
        ],
    }


def test_few_differ() -> None:
    assert len(DIFFERS) * 100 <= sum(1 for _ in cases()) or not CASES.exists()


def differences(case: dict[str, Any]) -> list[str]:
    found = answer(BOOK, case)
    expected = case["expected_cost_usd"]
    if expected is None:
        return [] if found["quality"] == "refused" else [f"expected an error, found {found}"]
    if found["cost_usd"] is None:
        return [f"expected {expected}, found {found}"]
    leaves = found["leaves"]
    wrong = [
        f"{name}: expected {usd}, found {got}"
        for name, usd, got in (
            ("cost", expected, found["cost_usd"]),
            *(
                (side, usd, found["parts"][side])
                for side, usd in case.get("expected_parts", {}).items()
            ),
        )
        if pico(usd) != pico(got)
    ]
    if sum(pico(leaf["cost_usd"]) for leaf in leaves) != pico(found["cost_usd"]):
        wrong.append(f"the leaves do not add up: {found}")
    return wrong


def pico(usd: str) -> int:
    """Some expected figures have decimals beyond the pico-dollar."""
    return int((Decimal(usd) * PICO_PER_USD).to_integral_value(ROUND_HALF_EVEN))

"""Prices that public projects assert for given usage, and what genai-prices makes of more of it.

The cases stay outside the repository (their README says where they are from); without them this is
skipped. `DIFFERS` names every case where ours is another figure, and why: an unlisted difference
fails, and so does a listed one that is none any more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from spendstream.schemas.money import PICO_PER_USD
from spendstream.schemas.price_calc import answer
from spendstream.schemas.price_compile import compile_book

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


def cases(of_the_book: bool = False) -> Iterator[Any]:
    """All, or those whose figure the installed genai-prices has, too."""
    if CASES.exists():
        with CASES.open(encoding="utf-8") as lines:
            for line in lines:
                case = json.loads(line)
                agrees = case.get("genai_prices_0_2_3") == "agrees" or "genai-prices" in case.get(
                    "oracle", ""
                )
                if agrees or not of_the_book:
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


@pytest.mark.parametrize("case", tuple(cases(of_the_book=True)))
def test_priced_by_the_book(case: dict[str, Any]) -> None:
    """In the case's context, at its time, without its own prices."""
    assert not differences({name: case[name] for name in case if name != "prices"})


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

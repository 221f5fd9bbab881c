"""The operator's price file: USD by whatever the price list says, checked as a whole."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest

from spendstream.api.prices.file import read_overrides
from spendstream.schemas.money import usd_from_pico
from spendstream.schemas.prices.calls import price_call
from spendstream.schemas.prices.compile import compile_book
from spendstream.schemas.prices.overrides import OverridesError
from spendstream.schemas.usage import Usage

TABLE = {
    "gpt-4o-mini": ("0.00015", "0.0006"),
    "gpt-4o": ("0.005", "0.015"),
    "gpt-5": ("0.002", "0.008"),
    "gpt-5-mini": ("0.00008", "0.0003"),
    "o1": ("0.015", "0.06"),
    "o3": ("0.02", "0.08"),
}
"""USD a thousand tokens, in and out."""
NOON = 1_795_348_800_000


def test_a_list_of_prices_a_thousand_tokens(tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text(
        "prices:\n"
        + "".join(
            f"  - {{provider: openai, model: {model}, valid_from: 2026-01-01, tokens_per: 1000,\n"
            f'     prices: {{input: "{fresh}", output: "{made}"}}}}\n'
            for model, (fresh, made) in TABLE.items()
        )
    )
    book = compile_book(read_overrides(file))
    for model, (fresh, made) in TABLE.items():
        usage = Usage(input_tokens=1_234, output_tokens=567)
        cost = price_call(book, "openai", model, usage, NOON)
        assert cost is not None
        assert cost.exact
        assert cost.rule == f"override openai/{model}@2026-01-01"
        exact = (1_234 * Decimal(fresh) + 567 * Decimal(made)) / 1000
        assert usd_from_pico(cost.pico) == exact


def test_the_documented_example_is_right(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "schemas/README.md").read_text(encoding="utf-8")
    example = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert example is not None
    file = tmp_path / "prices.yaml"
    file.write_text(example[1])
    overrides = read_overrides(file)
    assert (len(overrides.prices), len(overrides.aliases)) == (4, 1)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("prices: [", "not YAML"),
        ("prices: []\nprices: []", "line 2: 'prices' is given twice"),
        ("prices: [{provider: openai}]", "prices[0].model: Field required"),
    ],
)
def test_mistakes(text: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text(text)
    with pytest.raises(OverridesError, match=re.escape(told)):
        read_overrides(file)
    with pytest.raises(OverridesError, match="cannot be read"):
        read_overrides(tmp_path / "gone.yaml")

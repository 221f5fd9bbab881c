from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.schemas.money import (
    cents_display,
    pico_from_usd,
    round_half_even,
    usd_from_pico,
    usd_string,
)

AMOUNT = st.integers(-(10**30), 10**30)


@given(AMOUNT)
def test_pico_survives_the_way_through_decimal_and_text(pico: int) -> None:
    assert pico_from_usd(usd_from_pico(pico)) == pico
    text = usd_string(pico)
    assert pico_from_usd(text) == pico
    assert "E" not in text
    assert "." not in text or not text.endswith("0")


@given(AMOUNT)
def test_rounding_is_half_even(atto: int) -> None:
    # 60 digits are more than any amount here has
    exact = Decimal(f"{atto}e-6")
    assert round_half_even(atto, 10**6) == int(exact.to_integral_value(ROUND_HALF_EVEN))


@pytest.mark.parametrize(
    ("atto", "pico"),
    [
        (0, 0),
        (499_999, 0),
        (500_000, 0),
        (500_001, 1),
        (1_499_999, 1),
        (1_500_000, 2),
        (2_500_000, 2),
        (-500_000, 0),
        (-500_001, -1),
        (-1_500_000, -2),
    ],
)
def test_halves_go_to_the_even_side(atto: int, pico: int) -> None:
    assert round_half_even(atto, 10**6) == pico


@pytest.mark.parametrize(
    ("amount", "reason"),
    [
        ("0.0000000000001", "finer than a pico-USD"),
        ("NaN", "not a finite amount"),
        ("-Infinity", "not a finite amount"),
        ("ten", "not a decimal amount"),
        ("", "not a decimal amount"),
    ],
)
def test_amounts_that_are_refused(amount: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        pico_from_usd(amount)


@pytest.mark.parametrize(
    ("usd", "shown"),
    [
        ("0", "$0.00"),
        ("0.004999999999", "$0.00"),
        ("0.005", "$0.01"),
        ("1234.565", "$1,234.57"),
        ("1234567.891", "$1,234,567.89"),
        ("-0.005", "-$0.01"),
        ("-12", "-$12.00"),
    ],
)
def test_display_rounds_half_up_to_the_cent(usd: str, shown: str) -> None:
    assert cents_display(pico_from_usd(usd)) == shown

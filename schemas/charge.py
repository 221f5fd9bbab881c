"""What a workspace is charged for what a call cost: the markup of its plan."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Final

from pydantic import Field

from spendstream.schemas.money import round_half_even

MarkupPercent = Annotated[str, Field(pattern=r"^(1000(\.0{1,6})?|[0-9]{1,3}(\.[0-9]{1,6})?)$")]
"""Decimal string, at most 1000 with six decimals: a cost of 1 USD and `12.5` are 1.125 USD."""

WHOLE: Final = 100 * 10**6
"""The cost itself, in the parts that a markup is counted in: millionths of a percent."""


def parts_of(markup_percent: str) -> int:
    """Charge in parts of WHOLE."""
    return WHOLE + int(Decimal(markup_percent).scaleb(6))


def charge_of(cost_pico: int, parts: int) -> int:
    """Pico-USD, rounded half-even once."""
    return round_half_even(cost_pico * parts, WHOLE)

"""Money: integers all the way, a decimal only at the edges.

Amounts are **pico-USD** (10⁻¹² USD), unit prices **atto-USD** (10⁻¹⁸ USD) because some
published token prices are finer than a pico. Each leaf of an event is rounded half-even to
pico-USD once; every sum after that is exact. No float appears anywhere.

In public topics an amount is the *string* of the integer: JSON readers that use doubles lose
integers above 2⁵³, which is 9,007 USD in pico.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Final

PICO_PER_USD: Final = 10**12
ATTO_PER_PICO: Final = 10**6


def pico_from_usd(amount: Decimal | str) -> int:
    """Exact pico-USD of a decimal amount of USD.

    Raises:
        ValueError: not a finite decimal, or finer than a pico-USD.
    """
    try:
        value = Decimal(amount)
    except ArithmeticError:
        raise ValueError(f"not a decimal amount of USD: {amount!r}") from None
    if not value.is_finite():
        raise ValueError(f"not a finite amount of USD: {amount!r}")
    with localcontext() as context:
        context.prec = 60
        scaled = value.scaleb(12)
        if scaled != scaled.to_integral_value():
            raise ValueError(f"finer than a pico-USD (12 decimals): {amount}")
        return int(scaled)


def usd_from_pico(pico: int) -> Decimal:
    """The same amount as a Decimal of USD, with up to 12 decimals, trailing zeros kept off."""
    with localcontext() as context:
        context.prec = 60
        value = Decimal(pico).scaleb(-12).normalize()
        # normalize() turns 100 into 1E+2; quantize brings the plain form back
        return value.quantize(Decimal(1)) if value == value.to_integral_value() else value


def usd_string(pico: int) -> str:
    """Plain decimal string of USD (`0.0025`, never `2.5E-3`), as in the HTTP API and `--json`."""
    return f"{usd_from_pico(pico):f}"


def round_half_even(amount: int, unit: int) -> int:
    """`amount` in whole `unit`s, rounded half-even; negative amounts round symmetrically."""
    quotient, remainder = divmod(amount, unit)
    twice = remainder * 2
    if twice > unit or (twice == unit and quotient & 1):
        return quotient + 1
    return quotient


def cents_display(pico: int) -> str:
    """`$1,234.57`: rounded half-up to the cent. For people only, never for arithmetic."""
    with localcontext() as context:
        context.prec = 60
        cents = Decimal(pico).scaleb(-12).quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)
    sign = "-" if cents < 0 else ""
    return f"{sign}${abs(cents):,.2f}"

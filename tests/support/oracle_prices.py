"""What a call costs, for the oracle: a handful of models, with prices as their providers publish
them, so that a mistake in the price book cannot agree with itself."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TypeAlias

from tests.support.records import Call

Prices: TypeAlias = Mapping[tuple[str, str], tuple[str, str | None, str | None, str]]
"""USD a million tokens by provider and model: input, cache read, cache write, output."""

# as published by the providers
PRICES: Prices = {
    ("openai", "gpt-4o"): ("2.5", "1.25", None, "10"),
    ("openai", "gpt-4o-mini"): ("0.15", "0.075", None, "0.6"),
    ("anthropic", "claude-sonnet-4-5"): ("3", "0.3", "3.75", "15"),
}
LONG_CONTEXT = {("anthropic", "claude-sonnet-4-5"): (200_000, ("6", "0.6", "7.5", "22.5"))}
"""Above so many input tokens the whole call costs this."""


def cost_of(call: Call, prices: Prices = PRICES) -> int | None:
    """Pico-USD; None: unpriced."""
    sides = sides_of(call, prices)
    return None if sides is None else sum(sides)


def sides_of(call: Call, prices: Prices = PRICES) -> tuple[int, int] | None:
    """What input and output cost, in pico-USD; None: unpriced."""
    if call.status == "blocked":
        return 0, 0
    if call.input_tokens is None or (call.provider, call.model) not in prices:
        return None
    plain = prices[call.provider, call.model]
    over, long = LONG_CONTEXT.get((call.provider, call.model), (10**9, plain))
    fresh, read, write, output = long if call.input_tokens > over else plain
    uncached = call.input_tokens
    parts = []
    for cached, price in ((call.cache_read, read), (call.cache_write, write)):
        if price is not None:
            uncached -= cached
            parts.append((cached, price))
    parts.append((uncached, fresh))
    return sum(_pico(n, price) for n, price in parts), _pico(call.output_tokens, output)


def _pico(tokens: int, price: str) -> int:
    exact = Decimal(tokens) * Decimal(price) * 10**6
    return int(exact.quantize(Decimal(1), rounding=ROUND_HALF_EVEN))

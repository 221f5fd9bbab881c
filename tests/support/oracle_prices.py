"""What a call costs, for the oracle: a handful of models, with prices as their providers publish
them, so that a mistake in the price book cannot agree with itself."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

from tests.support.records import Call

# USD a million tokens, as published by the providers: input, cache read, cache write, output
PRICES: dict[tuple[str, str], tuple[str, str | None, str | None, str]] = {
    ("openai", "gpt-4o"): ("2.5", "1.25", None, "10"),
    ("openai", "gpt-4o-mini"): ("0.15", "0.075", None, "0.6"),
    ("anthropic", "claude-sonnet-4-5"): ("3", "0.3", "3.75", "15"),
}
LONG_CONTEXT = {("anthropic", "claude-sonnet-4-5"): (200_000, ("6", "0.6", "7.5", "22.5"))}
"""Above so many input tokens the whole call costs this."""


def cost_of(call: Call) -> int | None:
    """Pico-USD; None: unpriced."""
    if call.status == "blocked":
        return 0
    if call.input_tokens is None or (call.provider, call.model) not in PRICES:
        return None
    prices = PRICES[call.provider, call.model]
    over, long = LONG_CONTEXT.get((call.provider, call.model), (10**9, prices))
    fresh, read, write, output = long if call.input_tokens > over else prices
    uncached = call.input_tokens
    parts = [(call.output_tokens, output)]
    for cached, price in ((call.cache_read, read), (call.cache_write, write)):
        if price is not None:
            uncached -= cached
            parts.append((cached, price))
    parts.append((uncached, fresh))
    return sum(
        int((Decimal(n) * Decimal(price) * 10**6).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))
        for n, price in parts
    )

"""What pricing costs beside genai-prices' `calc_price`, which does the same in decimals.

`python -m tests.bench.prices`. Microseconds, the best of several rounds in turn: of a call by the
book, of an event with its row's leaves, of `calc_price`; the ratio is of the same run. It fails
where an event of text takes more than a fortieth of `calc_price`'s time: nearly all are.
(Its share of the worker's CPU is told by `make bench`.)
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from time import perf_counter_ns
from typing import Any, Final

import genai_prices
import msgspec

from spendstream.schemas.event import UsageEvent
from spendstream.schemas.period import to_ms
from spendstream.schemas.prices.calls import price_call
from spendstream.schemas.prices.compile import compile_book
from spendstream.schemas.prices.context import context_of
from spendstream.streams.core.pricing import price_event
from spendstream.streams.core.structs import struct_of

MOMENT: Final = datetime(2026, 11, 22, 12, tzinfo=UTC)
ROUNDS: Final = 9
CALLS: Final = {"ours": 20_000, "theirs": 400}
AT_MOST: Final = 1 / 40

TEXT: Final = {"input_tokens": 1_000, "output_tokens": 500}
CACHED: Final = {
    **TEXT,
    "cache_read_input_tokens": 300,
    "cache_write_input_tokens": 100,
    "cache_write_5m_input_tokens": 100,
}
CASES: Final[dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]]] = {
    "text": ("openai", "gpt-4o", TEXT, {}),
    "cached": ("anthropic", "claude-opus-4-6", CACHED, {}),
    "batch": ("openai", "gpt-4o", TEXT, {"batch": True}),
    "audio": ("gcp.gemini", "gemini-2.5-flash", {**TEXT, "audio_input_tokens": 400}, {}),
    "searches": ("anthropic", "claude-opus-4-6", {**CACHED, "web_searches": 2}, {}),
}
"""Provider, model, usage, and what else the event says."""
THEIRS: Final = {
    "cache_read_input_tokens": "cache_read_tokens",
    "cache_write_input_tokens": "cache_write_tokens",
    "cache_write_5m_input_tokens": "cache_write_5m_tokens",
    "audio_input_tokens": "input_audio_tokens",
}


def main() -> None:
    heads = ("a call", "an event", "calc_price", "event / theirs")
    print(f"{'µs':10}" + "".join(f"{head:>16}" for head in heads))
    worst = 0.0
    for name, (provider, model, usage, more) in CASES.items():
        call, event, theirs = best(*ways(provider, model, usage, more))
        ratio = event / theirs
        if name in ("text", "cached", "batch"):
            worst = max(worst, ratio)
        row = (f"{call:.2f}", f"{event:.2f}", f"{theirs:.1f}", f"1/{1 / ratio:.0f}")
        print(f"{name:10}" + "".join(f"{cell:>16}" for cell in row))
    if worst > AT_MOST:
        sys.exit(f"an event of text takes 1/{1 / worst:.0f} of calc_price's time")


def ways(
    provider: str, model: str, usage: dict[str, Any], more: dict[str, Any]
) -> tuple[Callable[[], object], ...]:
    """A call by the book; an event with its row's leaves; genai-prices."""
    book = compile_book()
    time_ms = to_ms(MOMENT)
    sent = {"provider": provider, "response_model": model, "workspace_id": "w", "usage": usage}
    event = msgspec.convert(sent | more, struct_of(UsageEvent, raw=frozenset({"metadata"})))
    context = context_of(event.batch, event.service_tier, event.region)
    same = genai_prices.Usage(**{THEIRS.get(key, key): count for key, count in usage.items()})
    if "audio_input_tokens" in usage:
        same.cache_read_tokens = same.cache_audio_read_tokens = 0
    asked = {"gcp.gemini": "google"}.get(provider, provider)
    said = {"processing": "batch"} if event.batch else None
    return (
        lambda: price_call(book, provider, model, event.usage, time_ms, context),
        lambda: price_event(book, event, time_ms),
        lambda: genai_prices.calc_price(
            same,
            model,
            provider_id=asked,
            genai_request_timestamp=MOMENT,
            price_context=said,
        ),
    )


def best(*ways: Callable[[], object]) -> list[float]:
    """Microseconds of each, the least of all rounds."""
    least = [float("inf")] * len(ways)
    for _ in range(ROUNDS):
        for number, way in enumerate(ways):
            calls = CALLS["theirs" if number == len(ways) - 1 else "ours"]
            begun = perf_counter_ns()
            for _ in range(calls):
                way()
            least[number] = min(least[number], (perf_counter_ns() - begun) / calls / 1000)
    return least


if __name__ == "__main__":
    main()

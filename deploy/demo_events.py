"""An hour of generated LLM calls, for `spendstream demo`: the same for the same seed.

Token counts follow the quantiles of a real conversation service, and arrivals its rate and
burstiness (Azure LLM inference trace 2023, Azure Public Dataset, CC BY 4.0). Who called which
model for what is made up. No float here ever becomes money.
"""

from __future__ import annotations

import math
import random
from itertools import accumulate
from typing import Final, NamedTuple

from spendstream.deploy.feed import Call
from spendstream.deploy.quantiles import Quantiles
from spendstream.schemas import Limit, Plan, Trackable, Usage, UsageEvent
from spendstream.schemas.event import Status, UsageQuality
from spendstream.schemas.money import PICO_PER_USD

CALLS: Final = 19_366
DURATION_MS: Final = (58 * 60 + 22) * 1000
DUPLICATES: Final = 240
LIVE: Final = 100
"""The last calls: they are sent one by one, and none of them twice."""

INPUT_TOKENS: Final = Quantiles(
    [
        (0, 2),
        (5, 181),
        (25, 396),
        (50, 1_020),
        (75, 1_189),
        (90, 2_735),
        (99, 4_142),
        (100, 14_050),
    ]
)
OUTPUT_TOKENS: Final = Quantiles(
    [(0, 7), (5, 41), (25, 85), (50, 129), (75, 395), (90, 424), (99, 601), (100, 1_000)]
)

# by size: a call is of the n-th with a weight of 1 / n
WORKSPACES: Final = (
    "northwind", "globex", "initech", "umbrella", "hooli", "acme", "stark", "wayne", "wonka",
    "cyberdyne", "soylent", "tyrell", "oscorp", "aperture", "massive", "vandelay", "pied-piper",
    "dunder", "gringotts", "monsters",
)  # fmt: skip


class _ModelUse(NamedTuple):
    """`cached`: share of calls that read a cache; `writes`: that write one; `reasons`: whether
    part of the output is reasoning."""

    weight: int
    provider: str
    model: str
    cached: float = 0.0
    writes: float = 0.0
    reasons: bool = False


_MODELS: Final = (
    _ModelUse(26, "openai", "gpt-4o", cached=0.35),
    _ModelUse(18, "openai", "gpt-4o-mini", cached=0.2),
    _ModelUse(14, "openai", "gpt-5", cached=0.4, reasons=True),
    _ModelUse(16, "anthropic", "claude-sonnet-4-5", cached=0.45, writes=0.15),
    _ModelUse(8, "anthropic", "claude-haiku-4-5", cached=0.3, writes=0.1),
    _ModelUse(12, "gcp.gemini", "gemini-2.5-flash", cached=0.2, reasons=True),
    _ModelUse(5, "gcp.gemini", "gemini-2.5-pro", cached=0.2, reasons=True),
    _ModelUse(1, "mistral_ai", "mistral-large-latest"),
)
_REQUEST_TYPES: Final = ("chat", "summary", "grading", "extraction", "search")
_REQUEST_WEIGHTS: Final = (50, 20, 12, 10, 8)
_TEAMS: Final = ("core", "growth", "support")


def plans() -> dict[str | None, Plan]:
    """Small credits and rates, so that an hour is enough to run through them."""

    def plan(credit_cents: int, rate: int, *, overage: bool = False, block: bool = False) -> Plan:
        return Plan(
            credit_pico=credit_cents * PICO_PER_USD // 100,
            overage=overage,
            exhausted_action="block" if block else "warn",
            limits=(
                Limit(name="requests a minute", measure="requests", window="minute", amount=rate),
            ),
        )

    return {
        "northwind": plan(1_500, 60, overage=True),
        "globex": plan(750, 120, overage=True),
        "initech": plan(600, 20),
        "umbrella": plan(500, 60, overage=True),
        "hooli": plan(300, 10, block=True),
        "acme": plan(350, 30),
        "stark": plan(300, 30),
        "wayne": plan(200, 5, overage=True),
    }


def calls(run: str, last_ms: int, seed: int = 2023) -> list[Call]:
    """The hour that ends at `last_ms`, in order of time, a few calls sent twice.

    Args:
        run: part of every event id, so that another run's calls are new ones.
    """
    source = random.Random(seed)
    unique = [
        Call(f"demo-{run}-{number}", time_ms, _event(source, time_ms))
        for number, time_ms in enumerate(arrivals(source, last_ms))
    ]
    # what a client does that got no answer: the same call again, a little later
    order = [(float(place), call) for place, call in enumerate(unique)]
    for place in source.sample(range(len(unique) - LIVE - 51), DUPLICATES):
        order.append((place + source.randint(1, 50) + 0.5, unique[place]))
    return [call for _, call in sorted(order, key=lambda item: item[0])]


def arrivals(source: random.Random, last_ms: int) -> list[int]:
    """CALLS moments, the last of them `last_ms`: the rate wanders by ±50 % from minute to minute,
    and a fifth of the calls come in bursts of a few seconds."""
    seconds = DURATION_MS // 1000
    drift, rates = 0.0, []
    for second in range(seconds):
        if second % 60 == 0:
            drift = 0.7 * drift + source.gauss(0, 0.2)
        rates.append(math.exp(drift))
    per_second = sum(rates) / seconds
    for _ in range(100):
        start = source.randrange(seconds - 5)
        for second in range(start, start + source.randint(2, 5)):
            rates[second] += 2 * per_second
    cumulative = list(accumulate(rates))
    chosen = source.choices(range(seconds), cum_weights=cumulative, k=CALLS - 2)
    first_ms = last_ms - DURATION_MS
    inner = (first_ms + second * 1000 + source.randrange(1000) for second in chosen)
    return sorted((first_ms, *inner, last_ms))


def _event(source: random.Random, time_ms: int) -> UsageEvent:
    [workspace] = source.choices(
        range(len(WORKSPACES)), weights=[1 / (n + 1) for n in range(len(WORKSPACES))]
    )
    [use] = source.choices(_MODELS, weights=[use.weight for use in _MODELS])
    [request_type] = source.choices(_REQUEST_TYPES, weights=_REQUEST_WEIGHTS)
    status, usage, quality = _outcome(source, use)
    users = max(2, 60 // (workspace + 1))
    first_token_ms = 180 + source.randrange(900)
    duration_ms = first_token_ms + 12 * (usage.output_tokens if usage else 0)
    graded = request_type == "grading"
    return UsageEvent(
        provider=use.provider,
        request_model=use.model,
        usage=usage,
        workspace_id=WORKSPACES[workspace],
        user_id=f"user-{source.randrange(users)}",
        api_key_id=f"key-{workspace}-{source.randrange(1 + users // 20)}",
        request_type=request_type,
        task_id=f"task-{source.randrange(400)}" if source.random() < 0.15 else None,
        trackable=Trackable(type="submission", id=str(source.randrange(800))) if graded else None,
        tags={"team": source.choice(_TEAMS)},
        status=status,
        started_at_ms=time_ms - duration_ms,
        duration_ms=duration_ms,
        time_to_first_token_ms=first_token_ms if status == "ok" else None,
        usage_quality=quality,
    )


def _outcome(source: random.Random, use: _ModelUse) -> tuple[Status, Usage | None, UsageQuality]:
    luck = source.random()
    if luck < 0.01:  # refused by the provider: nothing was used
        return "error", Usage(input_tokens=0, output_tokens=0), "measured"
    if luck < 0.012:  # the stream broke, and with it the usage
        return "error", None, "measured"
    usage = _usage(source, use)
    if luck < 0.02:  # the user closed the page: counted by the service itself
        return "cancelled", usage, "estimated"
    return "ok", usage, "measured"


def _usage(source: random.Random, use: _ModelUse) -> Usage:
    input_tokens = INPUT_TOKENS.draw(source)
    output_tokens = OUTPUT_TOKENS.draw(source)
    read = written = 0
    luck = source.random()
    if luck < use.cached:
        read = int(input_tokens * source.uniform(0.3, 0.9))
    elif luck < use.cached + use.writes:
        written = int(input_tokens * source.uniform(0.5, 0.95))
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cache_read_input_tokens=read,
        cache_write_input_tokens=written,
        reasoning_output_tokens=int(output_tokens * source.uniform(0.2, 0.7)) if use.reasons else 0,
    )

"""The independent recount: against figures worked out by hand, and against the price book."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given, settings
from hypothesis import strategies as st

from spendstream.api.jobs.recount import Sums, month_of, overage, read_manifests, recount
from spendstream.api.jobs.recount_prices import Cost, Prices
from spendstream.schemas.money import usd_from_pico
from spendstream.schemas.period import from_ms, to_ms
from spendstream.schemas.prices.calls import price_call
from spendstream.schemas.prices.compile import compile_book
from spendstream.schemas.prices.context import context_of
from spendstream.schemas.prices.units import SIDES
from spendstream.schemas.usage import OtherModel, Usage
from tests.support.price_usages import parts_of

NOV_2025 = 1_762_560_000_000  # 2025-11-08T00:00:00Z
NOV_2026 = 1_795_305_600_000  # 2026-11-22T00:00:00Z
MODELS = [(p.id, m.id) for p in get_snapshot().providers for m in p.models]
BOOK = compile_book()


def event(number: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"e-{number}",
        "time_ms": NOV_2025,
        "workspace_id": "ws-1",
        "user_id": "u",
        "provider": "openai",
        "model": "gpt-4o",
        "request_type": None,
        "status": "ok",
        "input_tokens": 1000,
        "output_tokens": 10,
        "cache_read_input_tokens": 0,
        "cache_write_input_tokens": 0,
        "reasoning_output_tokens": 0,
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "cost"),
    [
        # gpt-4o: 2.50 in, 1.25 cached, 10 out a million tokens
        ({}, "0.0026"),
        ({"cache_read_input_tokens": 400}, "0.0021"),
        # no price for writing to a cache: written tokens are input tokens
        ({"cache_write_input_tokens": 400}, "0.0026"),
        # claude-sonnet-4-5: 3 in, 0.30 read, 3.75 written, 15 out
        (
            {
                "provider": "anthropic",
                "model": "claude-sonnet-4-5",
                "cache_read_input_tokens": 500,
                "cache_write_input_tokens": 100,
            },
            # 400 × 3 + 500 × 0.3 + 100 × 3.75 + 10 × 15 = 1,875 per million
            "0.001875",
        ),
        # above 200,000 input tokens all of the call costs 6 and 22.50
        (
            {"provider": "anthropic", "model": "claude-sonnet-4-5", "input_tokens": 200_001},
            "1.200231",
        ),
        (
            {"provider": "anthropic", "model": "claude-sonnet-4-5", "input_tokens": 200_000},
            "0.60015",
        ),
        # gemini-2.5-flash under OpenTelemetry's name of the provider: 0.30 in, 2.50 out
        ({"provider": "gcp.gemini", "model": "gemini-2.5-flash"}, "0.000325"),
        # an embedding model is sold by its input
        ({"model": "text-embedding-3-small"}, "0.00002"),
        # a batch costs half, priority 4.25 and 17; both from October 2026 on
        ({"batch": True, "time_ms": NOV_2026}, "0.0013"),
        ({"batch": True, "service_tier": "default", "time_ms": NOV_2026}, "0.0013"),
        ({"service_tier": "priority", "time_ms": NOV_2026}, "0.00442"),
        ({"batch": True}, "0.0026"),
        ({"web_searches": 2}, "0.0226"),
        # 0.111 an hour, 10 seconds at least
        (
            {
                "provider": "groq",
                "model": "whisper-large-v3",
                "audio_input_ms": 3_000,
            },
            "0.000308333333",
        ),
        ({"input_tokens": 0, "output_tokens": 0}, "0"),
        ({"status": "blocked", "input_tokens": None, "output_tokens": None}, "0"),
    ],
)
def test_costs_worked_out_by_hand(changes: dict[str, Any], cost: str) -> None:
    assert total(event(**changes)) == Decimal(cost)


@pytest.mark.parametrize(
    ("changes", "sides"),
    [
        ({"cache_read_input_tokens": 400}, ("0.002", "0.0001", "0")),
        ({"web_searches": 2}, ("0.0025", "0.0001", "0.02")),
        ({"model": "text-embedding-3-small", "output_tokens": 0}, ("0.00002", "0", "0")),
        (
            {"provider": "groq", "model": "whisper-large-v3", "audio_input_ms": 20_000},
            ("0.000616666667", "0", "0"),
        ),
        ({"status": "blocked", "input_tokens": None, "output_tokens": None}, ("0", "0", "0")),
    ],
)
def test_sides_worked_out_by_hand(changes: dict[str, Any], sides: tuple[str, ...]) -> None:
    assert Prices().cost(event(**changes)) == tuple(map(Decimal, sides))


def total(sent: dict[str, Any], prices: Prices | None = None) -> Decimal | None:
    cost = (prices or Prices()).cost(sent)
    return None if cost is None else cost.total


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "no-such-model"},
        {"provider": "no-such-provider"},
        {"input_tokens": None, "output_tokens": None},
        {"web_fetches": 1},  # have no price there
        {"provider": "groq", "model": "whisper-large-v3"},  # is sold by the hour
    ],
)
def test_unpriced_is_not_free(changes: dict[str, Any]) -> None:
    assert Prices().cost(event(**changes)) is None
    sums = Sums()
    sums.add(recount([event(**changes)])["ws-1", "e-0"])
    assert (sums.requests, sums.unpriced, str(sums.cost)) == (1, 1, "0")


@pytest.mark.parametrize(
    ("provider", "model", "time_ms", "cost"),
    [
        # o3's input: 10 a million before 2025-06-10, 2 from then on
        ("openai", "o3", 1_749_513_600_000 - 1, "0.01"),
        ("openai", "o3", 1_749_513_600_000, "0.002"),
        # deepseek-chat: 0.135 a million, 0.27 between 00:30 and 16:30 UTC
        ("deepseek", "deepseek-chat", NOV_2025 + 30 * 60_000 - 1, "0.000135"),
        ("deepseek", "deepseek-chat", NOV_2025 + 30 * 60_000, "0.00027"),
        ("deepseek", "deepseek-chat", NOV_2025 + 990 * 60_000, "0.000135"),
    ],
)
def test_a_price_is_that_of_the_events_own_time(
    provider: str, model: str, time_ms: int, cost: str
) -> None:
    sent = event(provider=provider, model=model, time_ms=time_ms, output_tokens=0)
    assert total(sent) == Decimal(cost)


@settings(max_examples=400, deadline=None)
@given(
    model=st.sampled_from(MODELS),
    time_ms=st.integers(1_672_531_200_000, 1_830_297_600_000),
    input_tokens=st.one_of(st.integers(0, 2_000_000), st.sampled_from([128_000, 200_000, 200_001])),
    output_tokens=st.integers(0, 100_000),
    shares=st.tuples(st.integers(0, 100), st.integers(0, 100)),
)
def test_agrees_with_the_price_book(
    model: tuple[str, str],
    time_ms: int,
    input_tokens: int,
    output_tokens: int,
    shares: tuple[int, int],
) -> None:
    read = input_tokens * shares[0] // 200
    written = input_tokens * shares[1] // 200
    usage = Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cache_read_input_tokens=read,
        cache_write_input_tokens=written,
    )
    assert costs(model, time_ms, usage) == recounted(model, time_ms, usage)


def costs(model: tuple[str, str], time_ms: int, usage: Usage, **said: Any) -> Cost | None:
    """Of input, output and the rest, as the worker's leaves have it."""
    context = context_of(said.get("batch", False), said.get("service_tier"), said.get("region"))
    cost = price_call(BOOK, *model, usage, time_ms, context)
    if cost is None:
        return None
    sides = {"input": 0, "output": 0, "other": 0}
    for leaf, _, _, pico in cost.leaves:
        sides[SIDES.get(leaf, "other")] += pico
    assert sum(sides.values()) == cost.pico
    return Cost(**{side: usd_from_pico(pico) for side, pico in sides.items()})


def recounted(model: tuple[str, str], time_ms: int, usage: Usage, **said: Any) -> Cost | None:
    provider, name = model
    line = usage.model_dump(mode="json") | said
    return Prices().cost({"provider": provider, "model": name, "time_ms": time_ms} | line)


PROVIDERS = {provider.id: provider for provider in get_snapshot().providers}
SOLD_OTHERWISE = [  # with variants, by the hour, by kind of token
    (provider.id, model.id)
    for provider in PROVIDERS.values()
    for model in provider.models
    if provider.find_model(model.id) is model
    and (
        model.price_variants
        or any(
            name.startswith(("input_", "output_")) and name not in ("input_mtok", "output_mtok")
            for name in vars(model.get_prices(from_ms(NOV_2025)))
        )
    )
]


@settings(max_examples=400, deadline=None)
@given(
    model=st.sampled_from(SOLD_OTHERWISE),
    day=st.sampled_from(["2026-10-11", "2026-10-13", "2026-10-14", "2026-11-22", "2027-01-01"]),
    input_tokens=st.sampled_from([0, 7, 12_345, 200_000, 200_001, 272_000, 272_001, 3_000_000]),
    random=st.randoms(use_true_random=False),
    batch=st.booleans(),
    tier=st.sampled_from([None, "default", "flex", "priority", "fast", "batch"]),
    region=st.sampled_from([None, "us", "global", "eu"]),
)
def test_agrees_with_the_price_book_about_everything_else(
    model: tuple[str, str],
    day: str,
    input_tokens: int,
    random: Random,
    batch: bool,
    tier: str | None,
    region: str | None,
) -> None:
    time_ms = to_ms(datetime.fromisoformat(f"{day}T12:00:00Z"))
    found = PROVIDERS[model[0]].find_model(model[1])
    assert found is not None
    usage = parts_of(found.get_prices(from_ms(time_ms)), random, input_tokens).ours()
    said = {"batch": batch, "service_tier": tier, "region": region}
    cost = costs(model, time_ms, usage, **said)
    assert cost == recounted(model, time_ms, usage, **said)
    # and of what has no price there, or not in every model
    extra = {
        name: random.choice([0, 0, 0, 3])
        for name in ("web_searches", "web_fetches", "images", "pages", "citation_tokens")
    }
    usage = usage.model_copy(update=extra)
    assert costs(model, time_ms, usage, **said) == recounted(model, time_ms, usage, **said)


def test_another_models_tokens_cost_their_own_price() -> None:
    other = OtherModel(
        model="claude-haiku-4-5",
        input_tokens=900,
        output_tokens=3,
        cache_write_input_tokens=100,
        cache_write_1h_input_tokens=100,
    )
    usage = Usage(input_tokens=1_000, output_tokens=100, other_models=(other, other))
    model, said = ("anthropic", "claude-opus-4-6"), {"batch": True, "region": "us"}
    cost = recounted(model, NOV_2026, usage, **said)
    # half of 5 and 25 a million, and a tenth; twice half of 1, 2 (an hour in the cache) and 5
    sides = (Decimal("0.00375"), Decimal("0.00139"), Decimal(0))
    assert cost == sides == costs(model, NOV_2026, usage, **said)
    # as ClickHouse has it: its JSON
    line = usage.model_dump() | {"other_models": [other.model_dump_json()] * 2} | said
    sent = {"provider": model[0], "model": model[1], "time_ms": NOV_2026} | line
    assert Prices().cost(sent) == cost
    unknown = other.model_copy(update={"model": "unheard-of"})
    usage = usage.model_copy(update={"other_models": (unknown,)})
    assert recounted(model, NOV_2026, usage) is None


def test_who_resells_a_model_has_its_standard_prices() -> None:
    prices = Prices()
    for provider, cost in (("openai", "0.0013"), ("azure", "0.0026"), ("openai", "0.0013")):
        sent = event(provider=provider, batch=True, time_ms=NOV_2026)
        assert total(sent, prices) == Decimal(cost)


def test_tokens_that_were_counted_twice_are_charged_once() -> None:
    usage = Usage(
        input_tokens=100,
        output_tokens=50,
        audio_input_tokens=100,
        cache_read_input_tokens=60,
        audio_output_tokens=50,
        reasoning_output_tokens=20,
    )
    for model in (("google", "gemini-2.5-flash"), ("openai", "gpt-4o-realtime-preview")):
        assert costs(model, NOV_2026, usage) == recounted(model, NOV_2026, usage) is not None


def test_the_first_of_an_id_counts_within_its_workspace() -> None:
    result = recount(
        [
            event(1),
            event(1, input_tokens=9),
            event(1, workspace_id="ws-2", input_tokens=5),
            event(2),
        ]
    )
    assert {key: counted.input_tokens for key, counted in result.items()} == {
        ("ws-1", "e-1"): 1000,
        ("ws-2", "e-1"): 5,
        ("ws-1", "e-2"): 1000,
    }


def test_months_are_calendar_months_in_utc() -> None:
    december = 1_764_547_200_000
    assert (month_of(december - 1), month_of(december)) == ("2025-11", "2025-12")


@pytest.mark.parametrize(
    ("charge", "enabled", "beyond"),
    [
        ("9.999999999999", True, "0"),
        ("10", True, "0"),
        ("10.000000000001", True, "0.000000000001"),
        ("12.5", False, "0"),
    ],
)
def test_overage_is_what_is_beyond_the_credit(charge: str, enabled: bool, beyond: str) -> None:
    plan = {"credit_pico": 10 * 10**12, "overage": enabled}
    assert overage(Decimal(charge), plan) == Decimal(beyond)


def test_manifests_are_read_oldest_first_and_a_torn_end_is_left_out(tmp_path: Path) -> None:
    lines = [json.dumps(event(number)) + "\n" for number in range(4)]
    (tmp_path / "2.jsonl").write_text(lines[2] + lines[3][:20])
    (tmp_path / "1.jsonl").write_text("".join(lines[:2]))
    assert [e["id"] for e in read_manifests(tmp_path)] == ["e-0", "e-1", "e-2"]


def test_a_line_that_is_no_event_is_named(tmp_path: Path) -> None:
    (tmp_path / "1.jsonl").write_text(json.dumps(event()) + "\n{}\n")
    with pytest.raises(ValueError, match=r"1\.jsonl, line 2"):
        list(read_manifests(tmp_path))


def test_a_hundred_thousand_events_take_seconds() -> None:
    names = [("openai", "gpt-4o"), ("anthropic", "claude-sonnet-4-5")]
    events = [
        event(n, provider=names[n % 2][0], model=names[n % 2][1], input_tokens=300 + n % 1000)
        for n in range(100_000)
    ]
    begun = time.process_time()
    assert len(recount(events)) == 100_000
    assert time.process_time() - begun < 10


def test_it_shares_no_module_with_what_it_checks() -> None:
    loaded = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, spendstream.api.jobs.recount\n"
            "print(*sorted(m for m in sys.modules if m.startswith('spendstream')))",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert loaded.stdout.split() == [
        "spendstream",
        "spendstream.api",
        "spendstream.api.jobs",
        "spendstream.api.jobs.recount",
        "spendstream.api.jobs.recount_overrides",
        "spendstream.api.jobs.recount_prices",
    ]

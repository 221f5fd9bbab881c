"""The independent recount: against figures worked out by hand, and against the price book."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given, settings
from hypothesis import strategies as st

from spendstream.api.jobs.recount import Sums, month_of, overage, read_manifests, recount
from spendstream.api.jobs.recount_prices import Prices
from spendstream.schemas.money import usd_from_pico
from spendstream.schemas.price_compile import compile_book
from spendstream.schemas.prices import price

NOV_2025 = 1_762_560_000_000  # 2025-11-08T00:00:00Z
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
        ({"model": "text-embedding-3-small", "output_tokens": 0}, "0.00002"),
        ({"input_tokens": 0, "output_tokens": 0}, "0"),
        ({"status": "blocked", "input_tokens": None, "output_tokens": None}, "0"),
    ],
)
def test_costs_worked_out_by_hand(changes: dict[str, Any], cost: str) -> None:
    assert Prices().cost(event(**changes)) == Decimal(cost)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "no-such-model"},
        {"provider": "no-such-provider"},
        {"input_tokens": None, "output_tokens": None},
        {"model": "text-embedding-3-small"},  # output tokens have no price there
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
    assert Prices().cost(sent) == Decimal(cost)


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
    prices = BOOK.resolve(*model, time_ms)
    leaves = price(prices, input_tokens, read, written, output_tokens) if prices else None
    expected = None if leaves is None else usd_from_pico(sum(leaf[3] for leaf in leaves))
    provider, name = model
    assert expected == Prices().cost(
        event(
            provider=provider,
            model=name,
            time_ms=time_ms,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cache_read_input_tokens=read,
            cache_write_input_tokens=written,
        )
    )


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
        "spendstream.api.jobs.recount_prices",
    ]

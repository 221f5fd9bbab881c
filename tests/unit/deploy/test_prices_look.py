"""What `spendstream prices explain` and `check` print of what they found."""

from __future__ import annotations

from typing import Any

import pytest

from spendstream.deploy.commands import prices_look
from spendstream.deploy.commands.prices_look import show_check, show_sum
from spendstream.deploy.console import PlainConsole

OURS = ("override openai/ours@2026-01-01", "control.prices")
LISTED = ("openai/gpt-4o", "genai-prices")


def line(model: str, usd: str, by: tuple[str, str]) -> dict[str, Any]:
    rule, source = by
    return {
        "model": model,
        "leaf": "input",
        "quantity": 1_000,
        "price_usd": usd,
        "per": "1,000,000 tokens",
        "cost_usd": "0.001",
        "rule": rule,
        "source": source,
    }


def event(**more: Any) -> dict[str, Any]:
    return {
        "event": "e-1",
        "workspace": "ws-1",
        "time": "2026-11-26T12:00:00.000Z",
        "provider": "openai",
        "model": "gpt-4o",
        "status": "ok",
        "batch": True,
        "service_tier": "flex",
        "region": None,
        "lines": [line("gpt-4o", "2.5", LISTED)],
        "computed_cost_usd": "0.001",
        "reported_cost_usd": None,
        "cost_usd": "0.001",
        "quality": "measured",
        "rule": "openai/gpt-4o",
        "source": "genai-prices",
        "price_version": "genai-prices 0.2.3 abc",
        "charge_usd": "0.001",
        "charge_is": "the cost",
        "charge_lines": [],
        "why_no_charge_lines": None,
        "plan_version": 3,
        "billing_period": "2026-11",
        "why_unpriced": None,
    } | more


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices_look, "out", PlainConsole(width=200))


def test_one_rule_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    show_sum(event())
    told = capsys.readouterr()
    assert "openai/gpt-4o (batch, flex), ok" in told.err
    assert "by openai/gpt-4o of genai-prices; price version genai-prices 0.2.3 abc" in told.err
    assert "rule" not in told.out


def test_several_rules_stand_in_their_lines(capsys: pytest.CaptureFixture[str]) -> None:
    show_sum(event(lines=[line("gpt-4o", "2.5", LISTED), line("ours", "1", OURS)]))
    first, second = capsys.readouterr().out.splitlines()[1:3]
    assert first.split()[-2:] == list(LISTED)
    assert second.endswith("  ".join(OURS))
    assert "input (ours)" in second


def test_a_charge_has_a_table_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    own = line("gpt-4o", "3.25", ("override openai/gpt-4o@2026-01-01", "control.plans"))
    show_sum(event(charge_lines=[own], charge_is="the workspace's own prices"))
    told = capsys.readouterr()
    assert "the charge, line by line:" in told.err
    assert "by override openai/gpt-4o@2026-01-01 of control.plans" in told.err
    assert told.out.count("quantity") == 2
    assert "3.25" in told.out
    show_sum(event(why_no_charge_lines="so and so"))
    assert "the charge's lines cannot be shown: so and so" in capsys.readouterr().err


def test_what_there_is_to_do_stands_apart(capsys: pytest.CaptureFixture[str]) -> None:
    kind = {"provider": "openai", "batch": True, "service_tier": None, "region": "us"}
    unpriced = kind | {"events": 1_200, "last": "2026-11-22T12:00:00Z"}
    changed = kind | {
        "model": "gpt-4o",
        "priced_as": "helper",
        "leaf": "web_searches",
        "then_usd": "5",
        "now_usd": None,
        "per": "1,000 searches",
        "price_version": "genai-prices 0.2.2 def",
        "events": 7,
    }
    found: dict[str, Any] = {
        "ok": False,
        "price_version": "genai-prices 0.2.3 abc",
        "models_seen": 5,
        "unpriced": [
            unpriced | {"model": "none", "priced_now": False},
            unpriced | {"model": "some", "priced_now": True},
        ],
        "retired": [
            {"provider": "p", "model": "old", "last_day": "2026-11-20", "still_called": True},
            {"provider": "p", "model": "older", "last_day": "2026-01-20", "still_called": False},
        ],
        "changed_since_priced": [changed] * 21,
        "changed_in_newer_data": [],
    }
    show_check(found)
    told = capsys.readouterr()
    titles = [
        title.split(":")[0] for title in told.err.splitlines() if title[-3:-1] in (": ", ":2")
    ]
    assert titles[:3] == [
        "Without a price",
        "Retired by their providers, and still called",
        "Unpriced when they were counted, with a price by now",
    ]
    assert "1 more: --json shows all" in told.err
    assert "what was priced stays as it is until it is re-rated" in told.err
    assert "5 models seen, something to do; genai-prices 0.2.3 abc" in told.err
    assert "newer data" not in told.err
    assert "older" not in told.out
    assert "batch, us  web_searches (helper)" in told.out
    assert "1,200" in told.out

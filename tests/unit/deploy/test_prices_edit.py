"""`spendstream prices set|import|diff|history|show`, with the topic in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from spendstream.api.jobs import control_prices
from spendstream.deploy import cli, failures
from spendstream.schemas.prices.version import PriceVersion
from tests.support.control_log import ControlLog

FILE = """
prices:
  - {provider: openai, model: gpt-4o, valid_from: 2026-01-01, tokens_per: 1000,
     prices: {input: "0.005", output: "0.015"}, long_context:
     [{input_above: 1000, prices: {input: "0.01"}}]}
  - {provider: openai, model: "dall-e*", valid_from: 2026-01-01, when: {tier: priority},
     images: [{price: "0.04"}]}
aliases:
  - {provider: azure, model: ours, valid_from: 2026-01-01,
     same_as: {provider: openai, model: gpt-4o}}
"""


class Topic:
    """`control.prices`."""

    @property
    def versions(self) -> list[PriceVersion]:
        return control_prices.read_versions("")


@pytest.fixture(autouse=True)
def topic(monkeypatch: pytest.MonkeyPatch) -> Topic:
    monkeypatch.setattr(control_prices, "now_ms", lambda: 1_795_348_800_000)
    monkeypatch.setenv("COLUMNS", "200")
    ControlLog(monkeypatch)
    return Topic()


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "prices.yaml"
    path.write_text(FILE)
    return str(path)


class Prices:
    """Runs the commands."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def run(self, *arguments: str, code: int = 0) -> str:
        """What it printed, on stdout and stderr."""
        self._monkeypatch.setattr("sys.argv", ["spendstream", "prices", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = self._capsys.readouterr()
        assert ended.value.code == code, told
        return told.out + told.err

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", code=code))


@pytest.fixture
def prices(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Prices:
    return Prices(monkeypatch, capsys)


SET = ("set", "openai", "gpt-4o", "input=7", "output=9", "--from", "2026-01-01")


def test_a_price_is_set_and_shown_and_in_the_history(prices: Prices, topic: Topic) -> None:
    before = prices.json("show", "openai", "gpt-4o")
    assert before["rule"] == "openai/gpt-4o"
    assert {"leaf": "input", "price_usd": "2.5", "per": "1,000,000 tokens"} in before["prices"]
    done = prices.json(*SET, "--why", "contract 12")
    assert done["versions"] == [1]
    assert done["changes"][0]["adds"]["prices"] == {"input": "7", "output": "9"}
    after = prices.json("show", "openai", "gpt-4o")
    assert after["rule"] == "override openai/gpt-4o@2026-01-01"
    assert "+1 " in after["price_version"]
    assert [line["price_usd"] for line in after["prices"]] == ["7", "9"]
    (row,) = prices.json("history")
    assert (row["version"], row["author"], row["reason"]) == (1, "anna", "contract 12")
    assert row["written_at"] == "2026-11-22T12:00:00Z"
    assert prices.json("history", "claude") == []
    told = prices.run("history")
    assert "openai/gpt-4o from" in told  # the rest is folded where the terminal is narrow
    assert topic.versions[0].reason == "contract 12"


def test_what_changes_is_told_before_it_is_done(prices: Prices, topic: Topic, file: str) -> None:
    told = prices.run("diff", file)
    assert "input, 1,000,000 tokens: 2.5 → 5" in told
    assert "input above 1,000, 1,000,000 tokens: no price of its own → 10" in told
    assert "cache_read, 1,000,000 tokens: 1.25 → no price of its own" in told
    assert "web_searches, 1,000 searches: 10 → no price\n" in told
    assert "azure/ours from 2026-01-01: same as openai/gpt-4o" in told
    assert "openai/dall-e* from 2026-01-01 (tier priority): image 0.04 USD" in told
    assert "nothing was written" in told
    assert not topic.versions
    found = prices.json("diff", file)
    assert found["versions"] == []
    assert [sorted(one) for one in found["changes"]] == [
        ["adds", "after", "before", "notes"],
        ["adds", "notes"],
        ["adds", "after", "before", "notes"],
    ]
    notes = [one["notes"] for one in found["changes"]]
    assert notes[1:] == [[], []]
    assert all(f"    note: {note}" in told for note in notes[0])
    assert [note for note in notes[0] if note.startswith("batch calls are priced by this entry")]
    assert found["changes"][2]["before"] is None


def test_a_file_is_imported_once(prices: Prices, file: str) -> None:
    assert prices.json("import", file)["versions"] == [1, 2, 3]
    assert prices.json("import", file) == {"changes": [], "versions": []}
    assert "all of it is there" in prices.run("import", file)
    shown = prices.json("show", "azure", "ours", "--at", "2026-06-01")
    assert shown["rule"] == "override openai/gpt-4o@2026-01-01"
    assert [line for line in shown["prices"] if "input_above" in line] == [
        {"leaf": "input", "price_usd": "10", "per": "1,000,000 tokens", "input_above": 1_000},
        {"leaf": "output", "price_usd": "15", "per": "1,000,000 tokens", "input_above": 1_000},
    ]


def test_a_price_that_was_replaced_can_be_set_again(prices: Prices, topic: Topic) -> None:
    for version, usd in enumerate(("7", "8", "7"), 1):
        again = ("set", "openai", "gpt-4o", f"input={usd}", "--from", "2026-01-01")
        assert prices.json(*again)["versions"] == [version]
        assert prices.json(*again)["versions"] == []
        (line,) = prices.json("show", "openai", "gpt-4o")["prices"]
        assert line["price_usd"] == usd


def test_of_equals_in_a_file_the_last_is_added_once(prices: Prices, tmp_path: Path) -> None:
    prices.run("set", "openai", "gpt-4o", "input=8", "--from", "2026-01-01")
    entry = "  - {provider: openai, model: gpt-4o, valid_from: 2026-01-01, prices: {input: '%s'}}"
    path = tmp_path / "twice.yaml"
    for usd, written in (("8", []), ("9", [2]), ("9", [])):
        path.write_text("\n".join(["prices:", entry % "7", entry % usd]))
        assert prices.json("import", str(path))["versions"] == written
        assert prices.json("show", "openai", "gpt-4o")["prices"][0]["price_usd"] == usd


def test_the_history_says_each_price_with_its_unit(prices: Prices, tmp_path: Path) -> None:
    assert "the operator has added no price" in prices.run("history")
    path = tmp_path / "prices.yaml"
    path.write_text(
        """
prices:
  - {provider: openai, model: m, valid_from: 2026-01-01, tokens_per: 1000,
     when: {batch: true, between: ["16:30", "00:30"]},
     prices: {input: "0.005", web_searches: "12"},
     long_context: [{input_above: 2000, prices: {input: "0.01"}}],
     images: [{price: "0.04", size: 1024x1024}, {price: "0.08", quality: hd}]}
"""
    )
    prices.run("import", str(path))
    told = " ".join(prices.run("history").split())
    assert (
        "openai/m from 2026-01-01 (batch, between 16:30-00:30 UTC): input 0.005 USD per 1,000 "
        "tokens; with an input above 2,000: input 0.01 USD per 1,000 tokens; web_searches 12 USD "
        "per 1,000 searches; image 1024x1024 0.04 USD; image hd 0.08 USD"
    ) in told
    assert "the latest `from` counts" in told
    none = prices.run("history", "claude")
    assert "no price that was added is for a model with 'claude' in its name" in none
    assert "written at" not in none


def test_a_price_is_taken_back(prices: Prices) -> None:
    model = ("openai", "gpt-4o", "--from", "2026-01-01")
    prices.run("set", *model, "input=1", "output=2")
    taken = prices.run("set", *model[:3], "2026-02-01", "--published")
    assert "openai/gpt-4o from 2026-02-01: genai-prices' hold again" in taken
    assert "input, 1,000,000 tokens: 1 → 2.5" in taken
    assert "note" not in taken
    assert "prices: required" in prices.run("set", *model, code=2)
    assert "named twice" in prices.run("set", *model, "input=1", "input=2", code=2)


def test_what_is_shown_says_for_which_calls_and_whose_it_is(prices: Prices, file: str) -> None:
    listed = prices.run("show", "openai", "gpt-4o", "--at", "2026-06-01")
    assert "openai/gpt-4o at 2026-06-01T00:00:00Z" in listed
    assert "by openai/gpt-4o of genai-prices; price version genai-prices " in listed
    assert "input above" not in listed
    prices.run("import", file)
    own = prices.run("show", "openai", "gpt-4o", "--tier", "flex")
    assert "openai/gpt-4o (flex) at " in own
    assert "by override openai/gpt-4o@2026-01-01 of control.prices" in own
    assert "such calls (flex) are estimates" in own
    assert "of calls with an input above" in own
    assert ["input", "10", "1,000,000", "tokens", "1,000", "tokens"] in map(
        str.split, own.splitlines()
    )
    found = prices.json("show", "openai", "gpt-4o", "--batch", "--at", "2026-06-01")
    said = [found[name] for name in ("batch", "service_tier", "region", "at", "source")]
    assert said == [True, None, None, "2026-06-01T00:00:00Z", "control.prices"]


def test_a_stale_edit_is_refused(prices: Prices, topic: Topic) -> None:
    prices.run(*SET, "--expect", "0")
    other = ("set", "openai", "gpt-4o", "input=8", "--from", "2026-01-01", "--expect", "0")
    assert "at version 1" in prices.run(*other, code=failures.STALE)
    assert len(topic.versions) == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("set", "openai", "gpt-4o", "input"), "is not leaf=USD"),
        (("set", "openai", "gpt-4o", "in=1"), "prices[0].prices.in: unknown"),
        (("set", "openai", "gpt-4o", "input=1e3"), "prices[0].prices.input"),
        (("set", "openai", "gpt-4o", "input=1", "--from", "soon"), "neither a date nor a time"),
        (("set", "openai", "gpt-4o", "input=1", "--tokens-per", "7"), "tokens_per"),
        (("set", "openai", "gpt-4o", "input=1", "--tier", "default"), "tier"),
    ],
)
def test_a_mistake_names_field_and_reason(
    prices: Prices, arguments: tuple[str, ...], told: str
) -> None:
    assert told in prices.run(*arguments, code=failures.WRONG_INPUT)


def test_a_model_without_a_price_says_what_to_do(prices: Prices) -> None:
    told = prices.run("show", "openai", "unheard-of", code=failures.NOT_RIGHT)
    assert "spendstream prices set" in told


def test_conditions_are_looked_up(prices: Prices) -> None:
    of_batch = (*SET, "--batch", "--tier", "flex")
    assert prices.json(*of_batch)["changes"][0]["adds"]["when"] == {"batch": True, "tier": "flex"}
    assert prices.json("show", "openai", "gpt-4o")["rule"] == "openai/gpt-4o"
    rule = prices.json("show", "openai", "gpt-4o", "--batch", "--tier", "flex")["rule"]
    assert rule == "override openai/gpt-4o@2026-01-01 +batch +flex"

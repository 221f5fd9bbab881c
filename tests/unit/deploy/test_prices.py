"""`spendstream prices calc`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spendstream.deploy import cli, failures

LINE = {
    "id": "a",
    "provider": "openai",
    "model": "gpt-4o",
    "timestamp": "2026-11-22T12:00:00Z",
    "usage": {"input_tokens_total": 1000, "output_tokens_total": 500},
}
OVERRIDES = """
prices:
  - {provider: openai, model: gpt-4o, valid_from: 2026-01-01, tokens_per: 1000,
     prices: {input: "0.01", output: "0.03"}}
"""


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    monkeypatch.setattr("sys.argv", ["spendstream", "prices", "calc", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    file = tmp_path / "calls.jsonl"
    lines = [LINE, {**LINE, "id": "b", "model": "unheard-of"}, {**LINE, "id": "c", "usage": 1}]
    file.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    return file


def test_each_line_is_answered(
    calls: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, str(calls), "--json") == failures.OK
    answers = json.loads(capsys.readouterr().out)
    assert [(one["id"], one["cost_usd"], one["quality"]) for one in answers] == [
        ("a", "0.0075", "measured"),
        ("b", None, "unpriced"),
        ("c", None, "refused"),
    ]
    assert answers[0]["parts"] == {"input": "0.0025", "output": "0.005", "other": "0"}


def test_by_the_operators_own_prices(
    calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = tmp_path / "prices.yaml"
    overrides.write_text(OVERRIDES)
    assert run(monkeypatch, str(calls), "--overrides", str(overrides)) == failures.OK
    shown = capsys.readouterr()
    assert "0.025" in shown.out
    assert "3 lines, 1 unpriced, 1 refused; genai-prices" in shown.err


@pytest.mark.parametrize("text", [b"[]", b"{", b'{"id": "\xff"}', b"[" * 100_000])
def test_a_line_that_is_none(
    text: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "calls.jsonl"
    file.write_bytes(text)
    assert run(monkeypatch, str(file)) == failures.WRONG_INPUT
    assert "line 1: not a JSON object" in capsys.readouterr().err

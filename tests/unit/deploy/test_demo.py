"""The demo's exit code: what it shows must be proven."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import spendstream.api.jobs.control
import spendstream.api.jobs.verify
import spendstream.api.summary
import spendstream.deploy.clickhouse
from spendstream.deploy import background, cli, failures
from spendstream.deploy.commands import demo
from spendstream.deploy.demo_page import Speed
from spendstream.deploy.home import Addresses

ADDRESSES = Addresses("127.0.0.1:1", "http://127.0.0.1:2", "home", "", {})
DIFFERENCE = {"what": "usage_day", "workspace": "[/red]", "expected": "1", "found": "2"}


@pytest.fixture
def differing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[object]:
    """Everything of the demo but its last steps; what was stopped."""
    stopped: list[object] = []

    def stop(home: object) -> background.Stop:
        stopped.append(home)
        return background.Stop(was_running=True)

    @contextmanager
    def reading(_: object) -> Iterator[tuple[str, None]]:
        yield "", None

    def verify(*_: object) -> dict[str, Any]:
        return {"ok": False, "events": 3, "basis": "manifests", "differences": [DIFFERENCE]}

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(background, "start", lambda *_: ADDRESSES)
    monkeypatch.setattr(background, "stop", stop)
    monkeypatch.setattr(demo, "_send", lambda *_: Speed(3, 1.0, 1.0, [1.0]))
    monkeypatch.setattr(demo, "_show", lambda *_: None)
    monkeypatch.setattr(spendstream.api.jobs.control, "apply_plans", lambda *_, **__: [])
    monkeypatch.setattr(spendstream.api.jobs.verify, "verify", verify)
    monkeypatch.setattr(spendstream.api.summary, "summary", lambda _: {})
    monkeypatch.setattr(spendstream.deploy.clickhouse, "reading", reading)
    return stopped


@pytest.mark.parametrize("options", [[], ["--json"], ["--keep"]])
def test_a_difference_is_exit_code_1(
    options: list[str],
    differing: list[object],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["spendstream", "demo", *options])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == failures.NOT_RIGHT
    shown = capsys.readouterr().out
    if "--json" in options:
        assert json.loads(shown)["verify"]["differences"] == [DIFFERENCE]
    else:
        assert "✗ 1 differences in 3 events" in shown
        assert "workspace [/red]" in shown
    assert len(differing) == ("--keep" not in options)


@pytest.mark.usefixtures("differing")
def test_data_that_could_not_be_stored_is_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(background, "stop", lambda _: background.Stop(True, "the sink is behind"))
    monkeypatch.setattr("sys.argv", ["spendstream", "demo"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == failures.NOT_RIGHT
    assert "the stack was stopped, but the sink is behind" in capsys.readouterr().err

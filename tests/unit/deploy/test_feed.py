"""At which pace calls are sent, and what `replay` says of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer

from spendstream.deploy import cli, failures, feed
from spendstream.deploy.commands.replay import _speed
from spendstream.deploy.console import CommandError
from spendstream.deploy.feed import Call, Fed
from spendstream.deploy.manifest import Manifest, writing
from spendstream.producers import EmitterStats
from spendstream.schemas import Usage, UsageEvent

EVENT = UsageEvent(
    provider="openai",
    request_model="gpt-4o",
    workspace_id="ws-1",
    usage=Usage(input_tokens=3, output_tokens=2),
)


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


class Emitter:
    """Takes and delivers all, and writes down when."""

    enabled = True
    lost = 0

    def __init__(self, *_: object, **__: object) -> None:
        self.sent: list[tuple[str, float]] = []
        emitters.append(self)

    def emit(self, event: UsageEvent, *, id: str, time_ms: int) -> bool:
        self.sent.append((id, clock.now))
        return True

    def flush(self, timeout: float) -> int:
        return 0

    @property
    def stats(self) -> EmitterStats:
        return EmitterStats(0, len(self.sent) - self.lost, 4, {})

    def __enter__(self) -> Emitter:
        return self

    def __exit__(self, *_: object) -> None: ...


clock = Clock()
emitters: list[Emitter] = []


@pytest.fixture(autouse=True)
def faked(monkeypatch: pytest.MonkeyPatch) -> None:
    clock.now = 1_000.0
    emitters.clear()
    monkeypatch.setattr(feed, "time", clock)
    monkeypatch.setattr(feed, "UsageEmitter", Emitter)


@pytest.fixture
def manifest(tmp_path: Path) -> Any:
    with writing(tmp_path, "t") as made:
        yield made


def calls(*times_ms: int) -> list[Call]:
    return [Call(f"t-{number}", time_ms, EVENT) for number, time_ms in enumerate(times_ms)]


@pytest.mark.parametrize(
    ("speed", "moments"),
    [
        (1.0, [0, 2, 2, 10]),
        (5.0, [0, 0.4, 0.4, 2]),
        (0.5, [0, 4, 4, 20]),
        (None, [0, 0, 0, 0]),
    ],
)
def test_calls_are_sent_so_many_times_as_fast(
    speed: float | None, moments: list[float], manifest: Manifest
) -> None:
    fed = feed.feed(
        calls(50_000, 52_000, 52_000, 60_000), "nowhere:1", manifest, speed=speed, source="t"
    )
    assert [round(moment - 1_000, 6) for _, moment in emitters[0].sent] == moments
    assert [name for name, _ in emitters[0].sent] == ["t-0", "t-1", "t-2", "t-3"]
    assert replace(fed, seconds=0) == Fed(4, 12, 8, 4, 0)
    assert fed.seconds == pytest.approx(moments[-1])


def test_what_was_not_delivered_is_told(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Emitter, "lost", 1)
    with pytest.raises(CommandError, match="1 of 2 events were not delivered") as caught:
        feed.feed(calls(1, 2), "nowhere:1", manifest, source="t")
    assert caught.value.exit_code == failures.NOT_RIGHT


@pytest.mark.parametrize(("text", "speed"), [("max", None), ("1", 1.0), ("0.5", 0.5), ("1e3", 1e3)])
def test_speed(text: str, speed: float | None) -> None:
    assert _speed(text) == speed


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "fast", "", "1e9"])
def test_no_speed(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="a number above 0, or max"):
        _speed(text)


def test_replay_says_what_will_not_be_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "calls.csv"
    days = ["01-01", "02-08", "02-09", "02-10", "02-10"]
    rows = "".join(f"2026-{day} 12:00:00,7,5\n" for day in days)
    file.write_text(f"TIMESTAMP,ContextTokens,GeneratedTokens\n{rows}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPENDSTREAM_BOOTSTRAP_SERVERS", "elsewhere:9092")
    monkeypatch.setattr("sys.argv", ["spendstream", "replay", "calls.csv", "--json"])
    monkeypatch.setattr(clock, "monotonic", iter(range(100)).__next__)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == failures.OK
    told = capsys.readouterr()
    summary = json.loads(told.out)
    assert (summary["events"], summary["late"], summary["refused"]) == (5, 1, 1)
    assert "1 rows are over a day old: late" in told.err
    assert "1 rows will be refused as too_old" in told.err
    # not among the manifests of the embedded stack
    assert Path(summary["manifest"]).parent.name == "elsewhere_9092"

"""What is printed for people shows names as they are, and never steers the terminal."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from spendstream import schemas
from spendstream.api.jobs import control
from spendstream.deploy import cli, failures
from spendstream.deploy.commands import deadletters, doctor, report, usage, verify
from spendstream.deploy.commands.doctor import Finding
from spendstream.deploy.console import (
    PlainConsole,
    credit_bar,
    err,
    out,
    print_json,
    progress,
    say,
    working,
)
from spendstream.deploy.demo_page import Speed, page
from spendstream.schemas import DEFAULT_PLAN, PlanVersion, WorkspaceState
from tests.support.malformed import HOSTILE

Print = Callable[[str], None]

SCHEMAS: Final = Path(schemas.__file__).parent
C1: Final = "a\x9b31mb\x85c"
NAMES: Final = [name for name in HOSTILE if name.isprintable()]
FIGURES: Final = {
    "requests": 3,
    "input_tokens": 1,
    "output_tokens": 1,
    "total_tokens": 2,
    "cost_usd": "1",
    "charge_usd": "1.5",
    "by_quality": {"measured": {"requests": 3, "cost_usd": "1", "charge_usd": "1.5"}},
}


STATE: Final = WorkspaceState.model_validate_json(
    json.dumps(json.loads((SCHEMAS / "examples/workspace_state.json").read_text("utf-8"))["value"])
)


def state(name: str) -> WorkspaceState:
    # copies are not validated: what an older version let through is shown, too
    limit = STATE.limits[0].model_copy(update={"name": name})
    changes = {"workspace_id": name, "overage_pico": "5000000000000", "limits": (limit,)}
    return STATE.model_copy(update=changes)


def print_report(name: str) -> None:
    out.print(report.table_of([{"workspace": name, **FIGURES}], ["workspace"]))


def print_usage(name: str) -> None:
    usage.show(state(name))


def print_dead_letters(name: str) -> None:
    row = {"topic": "usage.events", "partition": 1, "offset": 2, "reason": "too_old"}
    value = base64.b64encode(name.encode()).decode()
    out.print(deadletters.table_of([{**row, "detail": name, "value_base64": value}]))


def print_verdict(name: str) -> None:
    found = {"what": name, "workspace": name, "expected": name, "found": name}
    verify.show({"ok": False, "events": 1, "differences": [found], "basis": name})


def print_page(name: str) -> None:
    row = {"workspace": name, "model": name, **FIGURES}
    alert = {
        "severity": "warning",
        "workspace_id": name,
        "kind": "limit",
        "amount": 1,
        "limit": name,
    }
    outcomes = {"priced": 1, "duplicate": 0, "dead": 0}
    summary = {**FIGURES, "workspaces": 1, "unpriced_requests": 0, "dead_letters": {"too_old": 1}}
    speed = Speed(1, 1.0, 1.0, [1.0])
    out.print(page([row], [row], {name: state(name)}, [alert], summary, outcomes, speed))


def print_sentence(name: str) -> None:
    say(name)


PRINTED: Final = [
    print_report,
    print_usage,
    print_dead_letters,
    print_verdict,
    print_page,
    print_sentence,
]


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    for console in (out, err):
        monkeypatch.setattr(console, "width", 400)


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    both = capsys.readouterr()
    return both.out + both.err


@pytest.mark.parametrize("show", PRINTED)
@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_shown_whole(name: str, show: Print, capsys: pytest.CaptureFixture[str]) -> None:
    show(name)
    assert name in shown(capsys)


@pytest.mark.parametrize("show", PRINTED)
@pytest.mark.parametrize("name", [*HOSTILE, C1, "\x1b[2J", "a\rb", "\x07", "\u202eabc", "\udc80"])
def test_nothing_steers_the_terminal(
    name: str, show: Print, capsys: pytest.CaptureFixture[str]
) -> None:
    if name == "\udc80" and show is print_dead_letters:
        return  # its value is bytes
    show(name)
    for character in shown(capsys):
        assert character == "\n" or not ("\x00" <= character < " " or "\x7f" <= character < "\xa0")
        assert character not in "\u2028\u2029\u202a\u202b\u202c\u202d\u202e\udc80"


def test_what_is_escaped_can_be_told(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(C1)
    assert r"a\x9b31mb\x85c" in shown(capsys)


@pytest.mark.parametrize("name", [*HOSTILE, C1, "\udc80"])
def test_json_is_the_same_data(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": name})
    text = capsys.readouterr().out
    assert json.loads(text) == {"name": name}
    assert text.isprintable() or not set(text) & set("\x9b\x85\u202e\u2028\udc80")


@pytest.mark.parametrize("name", NAMES)
def test_plans(
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    version = PlanVersion(
        version=1,
        workspace_id=name,
        plan=DEFAULT_PLAN,
        effective_from_ms=0,
        written_at_ms=0,
        author=f"by {name}",
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPENDSTREAM_BOOTSTRAP_SERVERS", "nowhere:1")
    monkeypatch.setattr(control, "read_versions", lambda _: [version])
    for arguments in (["list"], ["show", "--", name]):
        assert run(monkeypatch, "plans", *arguments) == failures.OK
        told = capsys.readouterr()
        assert name in told.out + told.err
        assert f"by {name}" in told.out or arguments != ["list"]


@pytest.mark.parametrize("name", NAMES)
def test_doctor(
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "examine", lambda _: [Finding("directory", "bad", name)])
    assert run(monkeypatch, "doctor") == failures.NOT_RIGHT
    assert name in capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_bars_and_spinners(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = PlainConsole(stderr=True, force_terminal=True, color_system=None, width=400)
    monkeypatch.setattr("spendstream.deploy.console.err", terminal)
    with progress(name, 2) as bar:
        bar.update(bar.task_ids[0], completed=1)
        bar.refresh()
    assert name in capsys.readouterr().err
    with working(name) as tell:
        tell(f"then {name}")
    assert name in capsys.readouterr().err


@pytest.mark.parametrize(
    ("used", "amount", "bar"),
    [(0, 4, "░░░░"), (2, 4, "██░░"), (9, 4, "████"), (0, 0, "░░░░"), (1, 0, "████")],
)
def test_credit_bar(used: int, amount: int, bar: str) -> None:
    assert credit_bar(used, amount, 4).plain == bar


def run(monkeypatch: pytest.MonkeyPatch, *arguments: Any) -> object:
    monkeypatch.setattr("sys.argv", ["spendstream", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code

"""`spendstream plans list|show|set|edit|history|diff`, with the topic in memory."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spendstream.api.jobs import control
from spendstream.api.jobs.control_writer import StaleEdit
from spendstream.api.plans.file import parse_plans
from spendstream.deploy import cli, editor, failures
from spendstream.deploy.moments import now_ms
from spendstream.schemas import Plan, PlanVersion
from tests.support.control_log import ControlLog

DAY_MS = 86_400_000
LIMITS = """
    limits:
      - {name: rpm, measure: requests, window: minute, amount: 60, action: block}
      - {name: spend, measure: charge, window: month, amount: "40", action: warn}
"""


class Topic:
    """`control.plans`."""

    @property
    def versions(self) -> list[PlanVersion]:
        return control.read_versions("")

    def write(self, text: str, **how: Any) -> None:
        control.apply_plans("", parse_plans(text), **how)


@pytest.fixture(autouse=True)
def topic(monkeypatch: pytest.MonkeyPatch) -> Topic:
    monkeypatch.setenv("COLUMNS", "80")
    ControlLog(monkeypatch)
    return Topic()


class Plans:
    """Runs the commands."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], directory: Path
    ) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys
        self._file = directory / "plans.yaml"

    def out(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """What it printed, on stdout and on stderr."""
        self._monkeypatch.setattr("sys.argv", ["spendstream", "plans", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = self._capsys.readouterr()
        assert ended.value.code == code, told
        return told.out, told.err

    def run(self, *arguments: str, code: int = 0) -> str:
        return "".join(self.out(*arguments, code=code))

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.out(*arguments, "--json", code=code)[0])

    def file(self, text: str) -> str:
        self._file.write_text(text)
        return str(self._file)


@pytest.fixture
def plans(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Plans:
    return Plans(monkeypatch, capsys, tmp_path)


@pytest.fixture
def tomorrow(topic: Topic) -> Topic:
    """acme has version 2 now, and version 3 from tomorrow on; version 1 is the default plan."""
    topic.write('plans: {default: {credit: "12.5"}}', author="ops")
    topic.write(f"plans:\n  acme:\n    credit: 25{LIMITS}", reason="contract 12")
    topic.write("plans: {acme: {credit: 50}}", effective_from_ms=now_ms() + DAY_MS)
    return topic


def test_list_tells_what_is_in_force_from_what_is_not_yet(plans: Plans, tomorrow: Topic) -> None:
    rows = plans.json("list")
    assert [(r["workspace"], r["version"], r["standing"], r["author"]) for r in rows] == [
        ("default", 1, "in force", "ops"),
        ("acme", 2, "in force", "anna"),
        ("acme", 3, "later", "anna"),
    ]
    assert (rows[1]["reason"], rows[1]["plan"]["credit"]) == ("contract 12", "25")
    told = plans.out("list")[0].splitlines()
    assert "credit 12.5" in told[1]
    assert "credit 25, 2 limits" in told[2]
    assert "from 20" in told[3]
    assert "credit 50" in told[3]
    assert max(map(len, told)) <= 80


def test_the_default_plan_is_listed_where_nobody_wrote_one(plans: Plans) -> None:
    (row,) = plans.json("list")
    assert (row["workspace"], row["version"], row["author"]) == ("default", 0, None)
    assert "built in" in plans.run("list")


def test_what_show_prints_can_be_set_and_changes_nothing(plans: Plans, tomorrow: Topic) -> None:
    for arguments in ([], ["acme"], ["--version", "1"]):
        text = plans.out("show", *arguments)[0]
        file = plans.file(text)
        assert parse_plans(text).keys() <= {None, "acme"}
        if arguments != ["acme"]:  # which would be instead of version 3
            assert plans.json("set", file) == {"changes": [], "versions": []}
    (change,) = plans.json("diff", plans.file(plans.out("show", "acme")[0]))["changes"]
    assert (change["fields"], change["instead_of"]) == ([], [3])


def test_show_says_which_version_it_is_and_whose(plans: Plans, tomorrow: Topic) -> None:
    told = plans.out("show", "acme")[0]
    assert told.startswith("# Plan of acme: version 2, in force since ")
    assert "UTC by anna: contract 12\n# Version 3 takes effect at " in told
    assert "--expected-version 3" in told
    assert max(map(len, told.splitlines())) <= 80
    assert "Plan of acme: version 3, takes effect at" in plans.run("show", "--version", "3")
    found = plans.json("show", "acme")
    assert (found["version"], found["own"], found["later"]) == (2, True, [3])
    assert found["plan"]["limits"][1]["amount"] == "40"
    other = plans.json("show", "other")
    assert (other["workspace"], other["version"], other["own"]) == ("other", 1, False)
    assert "other has no plan of its own. This is the default plan" in plans.run("show", "other")
    assert "The default plan: the built-in default." in plans.run("show", "--version", "0")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("show", "--version", "9"), "there is no version 9: the newest is 3"),
        (("show", "other", "--version", "2"), "version 2 is of acme"),
        (("show", "acme", "--version", "1"), "version 1 is of the default plan"),
        (("diff", "1", "9"), "there is no version 9"),
        (("diff", "some.yaml", "1"), "is no version"),
        (("diff", "some.yaml"), "cannot be read"),
        (("set", "some.yaml"), "cannot be read"),
    ],
)
def test_what_is_not_there_is_named(
    plans: Plans, tomorrow: Topic, arguments: tuple[str, ...], told: str
) -> None:
    assert told in plans.run(*arguments, code=failures.WRONG_INPUT)


def test_set_says_what_changes_and_for_whom(plans: Plans, tomorrow: Topic) -> None:
    file = plans.file("plans:\n  acme: {credit: 30}\n  new: {overage: true}\n")
    told = plans.run("set", file, "--dry-run")
    assert "acme: compared with version 2" in told
    assert "instead of version 3, which takes effect at" in told
    assert "25 → 30" in told
    assert "limits[rpm]    − {name: rpm," in told
    assert "new: its first plan of its own, compared with the default plan, version 1" in told
    assert "nothing was written" in told
    assert len(tomorrow.versions) == 3
    done = plans.json("set", file, "--reason", "contract 13")
    assert done["versions"] == [4, 5]
    assert [(c["workspace"], c["own"], c["against"], c["instead_of"]) for c in done["changes"]] == [
        ("acme", True, 2, [3]),
        ("new", False, 1, []),
    ]
    assert done["changes"][0]["fields"][0] == {"field": "credit", "before": "25", "after": "30"}
    assert tomorrow.versions[3].reason == "contract 13"
    assert "nothing changes" in plans.run("set", file)
    assert len(tomorrow.versions) == 5


def test_a_plan_can_take_effect_later(plans: Plans, topic: Topic) -> None:
    file = plans.file("plans: {acme: {credit: 30}}")
    told = plans.run("set", file, "--from", "2040-01-01")
    assert "written as version 1, in force from 2040-01-01 00:00 UTC" in told
    assert plans.json("show", "acme")["version"] == 0
    past = plans.run("set", file, "--from", "2020-01-01", code=failures.WRONG_INPUT)
    assert "--from: 2020-01-01 00:00 UTC is past" in past


def test_a_stale_edit_is_refused(plans: Plans, tomorrow: Topic) -> None:
    file = plans.file("plans: {acme: {credit: 30}}")
    for more in ([], ["--dry-run"]):
        told = plans.run("set", file, "--expected-version", "2", *more, code=failures.STALE)
        assert "at version 3 (since then by anna)" in told
    assert len(tomorrow.versions) == 3
    tomorrow.write("plans: {other: {credit: 1}}")  # which is no matter of acme's
    assert plans.json("set", file, "--expect", "3")["versions"] == [5]


def test_every_mistake_is_told(plans: Plans, topic: Topic) -> None:
    file = plans.file("plans: {a: {credit: 1.5, overage: 7, colour: red}, b: {limits: 3}}")
    told = plans.run("set", file, code=failures.WRONG_INPUT)
    for place in ("plans.a.credit: ", "plans.a.overage: ", "plans.a.colour: ", "plans.b.limits: "):
        assert place in told
    assert not topic.versions


def test_history_says_who_when_why_and_what(plans: Plans, tomorrow: Topic) -> None:
    rows = plans.json("history", "acme")
    assert [(r["version"], r["against"], r["standing"]) for r in rows] == [
        (2, 1, "in force"),
        (3, 2, "later"),
    ]
    assert rows[1]["changes"][0] == {"field": "credit", "before": "25", "after": "50"}
    assert [row["version"] for row in plans.json("history")] == [1, 2, 3]
    assert [row["version"] for row in plans.json("history", "default")] == [1]
    told = plans.run("history")
    assert "version 2  acme  in force" in told
    assert "reason: contract 12" in told
    assert "its first, compared with the default plan, version 1" in told
    assert "12.5 → 25" in told
    assert max(map(len, told.splitlines())) <= 80
    assert "nobody has written a plan of other" in plans.run("history", "other")


def test_versions_are_compared(plans: Plans, tomorrow: Topic) -> None:
    found = plans.json("diff", "1", "2")
    assert (found["before"]["version"], found["after"]["reason"]) == (1, "contract 12")
    assert [c["field"] for c in found["changes"]] == ["credit", "limits[rpm]", "limits[spend]"]
    told = plans.run("diff", "3", "2")
    assert "version 3 of acme → version 2 of acme" in told
    assert "50 → 25" in told
    assert "the built-in default → version 1 of default" in plans.run("diff", "0", "1")
    assert "no field changes" in plans.run("diff", "2", "2")


def test_a_file_is_compared_with_what_is_in_force(plans: Plans, tomorrow: Topic) -> None:
    assert "nothing differs" in plans.run("diff", plans.file('plans: {default: {credit: "12.50"}}'))
    told = plans.run("diff", plans.file("plans: {acme: {credit: 50}}"))
    assert "25 → 50" in told
    assert len(tomorrow.versions) == 3


# edit

Typed = Callable[[str], str]


@pytest.fixture
def typing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., list[str]]:
    """Somebody at the editor, who makes of the text what each function does, in turn."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def type_(*typed: Typed) -> list[str]:
        turns, seen = iter(typed), list[str]()

        def run(path: Path) -> None:
            seen.append(path.read_text())
            path.write_text(next(turns)(seen[-1]))

        monkeypatch.setattr(editor, "run_editor", run)
        return seen

    return type_


def replace(old: str, new: str) -> Typed:
    return lambda text: text.replace(old, new)


def same(text: str) -> str:
    return text


def drafts(tmp_path: Path) -> list[Path]:
    return list(tmp_path.glob("spendstream-plan-*"))


def test_an_edit_is_written(
    plans: Plans, tomorrow: Topic, typing: Callable[..., list[str]], tmp_path: Path
) -> None:
    seen = typing(replace('credit: "25"', 'credit: "26"'))
    told = plans.run("edit", "acme", "--reason", "contract 14")
    assert "Plan of acme: version 2" in seen[0]
    assert "Save and leave to write it" in seen[0]
    assert "25 → 26" in told
    assert "written as version 4" in told
    assert tomorrow.versions[3].plan.credit_pico == 26 * 10**12
    assert tomorrow.versions[3].plan.limits == tomorrow.versions[1].plan.limits
    assert tomorrow.versions[3].reason == "contract 14"
    assert not drafts(tmp_path)


@pytest.mark.parametrize("typed", [same, lambda _: "", replace("acme", "acme"), lambda _: "# no\n"])
def test_what_is_left_as_it_was_writes_nothing(
    plans: Plans,
    tomorrow: Topic,
    typing: Callable[..., list[str]],
    tmp_path: Path,
    typed: Typed,
) -> None:
    typing(typed)
    assert "nothing was written" in plans.run("edit", "acme")
    typing(typed)
    assert plans.json("edit", "other") == {"changes": [], "versions": []}
    assert len(tomorrow.versions) == 3
    assert not drafts(tmp_path)


def test_mistakes_are_shown_above_the_text_which_is_opened_again(
    plans: Plans, topic: Topic, typing: Callable[..., list[str]], tmp_path: Path
) -> None:
    seen = typing(
        lambda text: text.replace('"10"', "1.5").replace("#overage: false", "overage: 7"),
        replace("1.5", '"1.5"'),
        replace("overage: 7", "overage: yes"),
    )
    assert plans.json("edit", "acme")["versions"] == [1]
    assert seen[1].startswith(
        "#! Not written yet:\n"
        "#! plans.acme.credit: 1.5 is a float, which cannot hold money exactly; put it in\n"
        '#! quotes: "1.5"\n'
        "#! plans.acme.overage: Input should be a valid boolean\n"
        "# acme has no plan of its own."
    )
    assert seen[2].startswith(
        "#! Not written yet:\n"
        "#! plans.acme.overage: Input should be a valid boolean\n"
        "# acme has no plan of its own."
    )
    assert topic.versions[0].plan == Plan(credit_pico=15 * 10**11, overage=True)
    assert not drafts(tmp_path)


def test_mistakes_that_are_left_end_the_edit_and_the_text_is_kept(
    plans: Plans, topic: Topic, typing: Callable[..., list[str]], tmp_path: Path
) -> None:
    typing(replace('"10"', "1.5"), same)
    told = plans.run("edit", "acme", code=failures.WRONG_INPUT)
    (kept,) = drafts(tmp_path)
    assert f"what you wrote is kept in {kept}" in told.replace("\n", "")
    assert "plans.acme.credit: 1.5 is a float" in told
    assert "credit: 1.5" in kept.read_text()
    assert not topic.versions


def test_an_edit_that_was_overtaken_is_refused_and_the_text_is_kept(
    plans: Plans, tomorrow: Topic, typing: Callable[..., list[str]], tmp_path: Path
) -> None:
    def while_another_edits(text: str) -> str:
        tomorrow.write("plans: {acme: {credit: 27}}", author="ben")
        return text.replace('credit: "25"', 'credit: "26"')

    typing(while_another_edits)
    told = plans.run("edit", "acme", code=failures.STALE)
    (kept,) = drafts(tmp_path)
    assert f"what you wrote is kept in {kept}" in told
    assert "since then by ben" in told
    assert [one.plan.credit_pico for one in tomorrow.versions][3:] == [27 * 10**12]
    (change,) = plans.json("diff", str(kept))["changes"]
    assert change["fields"][0] == {"field": "credit", "before": "27", "after": "26"}


def test_an_edit_that_cannot_be_written_is_kept(
    plans: Plans,
    tomorrow: Topic,
    typing: Callable[..., list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise StaleEdit("another writer")

    monkeypatch.setattr(control, "apply_plans", refuse)
    typing(replace('credit: "25"', 'credit: "26"'))
    plans.run("edit", "acme", code=failures.STALE)
    assert len(drafts(tmp_path)) == 1


def test_an_edit_is_of_one_plan(
    plans: Plans, topic: Topic, typing: Callable[..., list[str]]
) -> None:
    seen = typing(replace("  acme:", "  other:"), replace("  other:", "  acme:"))
    plans.run("edit", "acme")
    assert "this edit is of acme alone" in seen[1]
    assert not topic.versions


def test_a_workspace_begins_with_the_default_plan_in_force(
    plans: Plans, tomorrow: Topic, typing: Callable[..., list[str]]
) -> None:
    seen = typing(replace("12.5", "13"))
    assert plans.json("edit", "other")["changes"][0]["fields"] == [
        {"field": "credit", "before": "12.5", "after": "13"}
    ]
    assert "other has no plan of its own" in seen[0]


@pytest.mark.parametrize(
    ("visual", "told"),
    [
        ("nonesuch-editor -w", "'nonesuch-editor' does not start"),
        ('"', "VISUAL: No closing quotation"),
        (f"{sys.executable} -c 'raise SystemExit(3)'", "ended with 3; nothing was written"),
    ],
)
def test_an_editor_that_fails_is_named(
    plans: Plans,
    topic: Topic,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    visual: str,
    told: str,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("VISUAL", visual)
    assert told in plans.run("edit", "acme", code=failures.WRONG_INPUT)
    assert not drafts(tmp_path)


def test_the_editor_is_the_operators_own(
    plans: Plans, topic: Topic, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("VISUAL", raising=False)
    script = tmp_path / "my editor.py"
    script.write_text(
        "import pathlib, sys; p = pathlib.Path(sys.argv[1])\n"
        "p.write_text(p.read_text().replace('\"10\"', '\"11\"'))\n"
    )
    monkeypatch.setenv("EDITOR", f"'{sys.executable}' '{script}'")
    plans.run("edit", "acme/../x y")
    assert topic.versions[0].workspace_id == "acme/../x y"
    assert topic.versions[0].plan.credit_pico == 11 * 10**12


def test_without_any_editor_it_says_what_to_set(
    plans: Plans, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("VISUAL", "EDITOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    told = plans.run("edit", "acme", code=failures.WRONG_INPUT)
    assert "there is no editor: set VISUAL or EDITOR" in told

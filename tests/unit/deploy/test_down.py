"""Stopping the stack says whether all that was sent is stored, in the exit code, too."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spendstream.api.settled import Behind, NotSettled
from spendstream.deploy import background, cli, failures, stack
from spendstream.deploy.home import Addresses, Home
from spendstream.deploy.services import WORKER
from spendstream.deploy.settings import Settings
from spendstream.deploy.stack import EmbeddedStack, NotStored
from spendstream.deploy.supervisor import Supervisor, _Kept

LEAVE = object()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPENDSTREAM_HOME", str(tmp_path / "home"))
    made = Home(tmp_path / "home")
    made.create()
    return made


@pytest.fixture
def supervised(home: Home, monkeypatch: pytest.MonkeyPatch) -> Callable[[object], None]:
    """A supervisor that ends at SIGTERM with a last word, or without one."""

    def begin(fault: object) -> None:
        lock = home.lock()
        home.forget_ending()

        def terminated(_: int, sign: int) -> None:
            assert sign == signal.SIGTERM
            if fault is not LEAVE:
                home.tell_ending(fault)  # type: ignore[arg-type]
            lock.release()

        monkeypatch.setattr("os.kill", terminated)

    return begin


def down(monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    monkeypatch.setattr("sys.argv", ["spendstream", "down", *options])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_in_order(
    supervised: Callable[[object], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    supervised(None)
    assert down(monkeypatch) == failures.OK
    assert capsys.readouterr().err == "stopped\n"


def test_what_could_not_be_stored_is_said(
    supervised: Callable[[object], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    supervised("not all that was sent is stored: the sink is behind")
    assert down(monkeypatch) == failures.NOT_RIGHT
    shown = capsys.readouterr().err
    assert shown == "stopped, but not all that was sent is stored: the sink is behind\n"


def test_scripts_get_the_reason_too(
    supervised: Callable[[object], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    supervised("the sink is behind")
    assert down(monkeypatch, "--json") == failures.NOT_RIGHT
    told = json.loads(capsys.readouterr().out)
    assert (told["stopped"], told["fault"]) == (True, "the sink is behind")


def test_a_supervisor_that_was_killed_is_not_taken_for_one_that_stored_all(
    home: Home, supervised: Callable[[object], None]
) -> None:
    home.tell_ending(None)  # the last one's
    supervised(LEAVE)
    stop = background.stop(home)
    assert stop.was_running
    assert stop.fault is not None
    assert "died before it could say" in stop.fault


def test_where_nothing_runs_nothing_is_wrong(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert down(monkeypatch) == failures.OK
    assert "no stack was running" in capsys.readouterr().err


@pytest.mark.parametrize("error", [None, NotStored("the sink is behind"), KeyError("a mistake")])
def test_the_supervisor_leaves_a_last_word(
    error: Exception | None, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_: object) -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(EmbeddedStack, "run", run)
    monkeypatch.setattr(background, "_log_to", lambda _: None)  # it is for the whole process
    settings = Settings(home=home.path)
    if error is None:
        background.supervise(settings, print, print)
    else:
        with pytest.raises(type(error)):
            background.supervise(settings, print, print)
    ending = home.ending()
    assert ending is not None
    assert ending.fault == (None if error is None else str(error))
    assert home.holder() is None


class Started(EmbeddedStack):
    """Its worker is between two lives, and it is told to stop as soon as it is ready."""

    def __init__(self, home: Home) -> None:
        self.stopping = threading.Event()
        super().__init__(Settings(home=home.path), self.stopping, threading.Event(), print)

    def _start(self) -> None:
        self._supervisor._kept[WORKER] = _Kept(self._services.worker())

    def ready(self, _: Addresses) -> None:
        self.stopping.set()


class Connected:
    def close(self) -> None: ...


@pytest.fixture
def started(home: Home, monkeypatch: pytest.MonkeyPatch) -> Started:
    monkeypatch.setattr(stack, "connect", lambda *_: Connected())
    return Started(home)


def test_a_drain_that_fails_is_told_in_plain_words(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(*_: Any) -> None:
        raise NotSettled([Behind("usage.priced", 2, 5, 9)], 60)

    monkeypatch.setattr(stack, "wait_settled", wait)
    with pytest.raises(
        NotStored, match=r"the sink is behind \(usage.priced partition 2 is at 5 of"
    ):
        started.run(started.ready)


def test_a_drain_that_succeeds_is_silent(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    waited = []
    monkeypatch.setattr(stack, "wait_settled", lambda *given: waited.append(given))
    started.run(started.ready)
    assert len(waited) == 2  # once more for what the worker wrote last


def test_a_broker_that_died_a_moment_ago_took_something_along(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    # told to stop while everything around the broker is being restarted
    monkeypatch.setattr(Supervisor, "start", lambda *_: started.stopping.set())
    monkeypatch.setattr(Supervisor, "all_ready", False)
    with pytest.raises(NotStored, match="the broker had just died"):
        started.run(lambda _: None)

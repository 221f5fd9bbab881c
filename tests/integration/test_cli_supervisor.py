"""The supervisor with real processes: order, restarts, giving up, leftovers."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from spendstream.deploy.home import Home, HomeLocked
from spendstream.deploy.processes import Service, end_leftovers, write_leftovers
from spendstream.deploy.supervisor import MAX_SHORT_LIVES, KeepsDying, Stopping, Supervisor

READY = "import pathlib,sys,time; pathlib.Path(sys.argv[1]).touch(); "


@pytest.fixture
def supervisor() -> Supervisor:
    return Supervisor(threading.Event())


def service(tmp_path: Path, name: str, code: str, **options: float) -> Service:
    file = tmp_path / f"{name}.ready"
    return Service(
        name,
        (sys.executable, "-c", code, str(file)),
        tmp_path / f"{name}.log",
        ready=file.exists,
        ready_file=file,
        start_s=options.get("start_s", 20),
        stop_s=options.get("stop_s", 5),
    )


def test_what_dies_is_restarted_and_ready_again(tmp_path: Path, supervisor: Supervisor) -> None:
    supervisor.start(service(tmp_path, "sleeper", READY + "time.sleep(60)"))
    first = supervisor.pids["sleeper"]
    os.kill(first, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while supervisor.pids.get("sleeper") in (None, first) or not supervisor.all_ready:
        assert time.monotonic() < deadline
        supervisor.look()
        time.sleep(0.02)
    supervisor.stop("sleeper")
    assert supervisor.pids == {}


def test_a_process_that_dies_at_start_is_said_with_its_last_words(
    tmp_path: Path, supervisor: Supervisor
) -> None:
    with pytest.raises(KeepsDying) as caught:
        supervisor.start(service(tmp_path, "broken", "raise SystemExit('no such file')"))
    assert "broken died (exit code 1)" in str(caught.value)
    assert "no such file" in str(caught.value)


def test_a_process_that_never_gets_ready_is_said(tmp_path: Path, supervisor: Supervisor) -> None:
    with pytest.raises(KeepsDying, match=r"slow was not ready after 0\.5 s"):
        supervisor.start(service(tmp_path, "slow", "import time; time.sleep(60)", start_s=0.5))
    supervisor.kill("slow")


def test_one_that_keeps_dying_is_given_up(
    tmp_path: Path,
    supervisor: Supervisor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "spendstream.supervisor")
    monkeypatch.setattr("spendstream.deploy.supervisor.LONGEST_PAUSE_S", 0.01)
    supervisor.start(service(tmp_path, "crasher", READY + "time.sleep(0.3); sys.exit('boom')"))
    deadline = time.monotonic() + 60

    def watch() -> None:
        while time.monotonic() < deadline:
            supervisor.look()
            time.sleep(0.02)

    with pytest.raises(KeepsDying, match=r"9 times in a row, crasher died[\s\S]*boom"):
        watch()
    restarts = [record for record in caplog.records if "restarted" in record.getMessage()]
    assert len(restarts) == MAX_SHORT_LIVES


def test_waiting_ends_when_told_to_stop(tmp_path: Path, supervisor: Supervisor) -> None:
    threading.Timer(0.2, supervisor.stopping.set).start()
    with pytest.raises(Stopping):
        supervisor.start(service(tmp_path, "slow", "import time; time.sleep(60)"))
    supervisor.kill("slow")


def test_what_ignores_sigterm_is_killed(tmp_path: Path, supervisor: Supervisor) -> None:
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    supervisor.start(service(tmp_path, "stubborn", stubborn + READY + "time.sleep(60)", stop_s=0.3))
    pid = supervisor.pids["stubborn"]
    supervisor.stop("stubborn")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_leftovers_are_ended_and_strangers_are_not(tmp_path: Path) -> None:
    left = subprocess.Popen(["sleep", "60"], start_new_session=True)
    stranger = subprocess.Popen(["sleep", "60"], start_new_session=True)
    file = tmp_path / "processes.json"
    try:
        write_leftovers(file, {"worker": left.pid, "sink": stranger.pid})
        known = json.loads(file.read_text())
        known["sink"][1] += "1"  # the same pid, born at another moment: another process
        file.write_text(json.dumps(known))
        assert end_leftovers(file) == ["worker"]
        assert left.wait(5) == -signal.SIGKILL
        assert stranger.poll() is None
        assert not file.exists()
        assert end_leftovers(file) == []
    finally:
        stranger.kill()
        stranger.wait()


def test_a_home_is_held_by_one_and_let_go_of_at_death(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.create()
    assert home.holder() is None
    holding = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time, pathlib; from spendstream.deploy.home import Home; "
            "lock = Home(pathlib.Path(sys.argv[1])).lock(); print(flush=True); time.sleep(60)",
            str(home.path),
        ],
        stdout=subprocess.PIPE,
    )
    assert holding.stdout is not None
    holding.stdout.readline()
    with holding.stdout:
        assert home.holder() == holding.pid
        with pytest.raises(HomeLocked, match=f"process {holding.pid}"):
            home.lock()
        holding.kill()
        holding.wait()
    assert home.holder() is None
    home.lock().release()

"""`up`, `worker` and `sink` as a terminal or an init system runs them: Ctrl-C, waiting, metrics."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spendstream.deploy import failures, topics_admin
from spendstream.deploy.embedded.broker import free_port
from spendstream.deploy.home import Home
from spendstream.producers import UsageEmitter
from spendstream.schemas import Usage, UsageEvent
from tests.servers.clickhouse import ChdbClickHouse, ClickHouseServer, own_clickhouse
from tests.servers.kafka import KafkaServer
from tests.support.command_line import command, environment
from tests.support.waiting import until

pytestmark = [pytest.mark.storm, pytest.mark.timeout(200), pytest.mark.xdist_group("embedded")]

EVENTS = 300


class Terminal:
    """Commands in the foreground of one terminal: what they print goes to files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.home = Home(directory / "home")
        self._running: list[subprocess.Popen[bytes]] = []

    def begin(self, *arguments: str, **settings: str) -> subprocess.Popen[bytes]:
        with self.stdout.open("wb") as out, self.stderr.open("wb") as err:
            process = subprocess.Popen(
                command(*arguments),
                cwd=self.directory,
                env=environment(SPENDSTREAM_HOME=str(self.home.path), **settings),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self._running.append(process)
        return process

    def run(self, *arguments: str) -> Any:
        assert self.begin(*arguments, "--json").wait(100) == 0, self.told
        return json.loads(self.stdout.read_text())

    @property
    def stdout(self) -> Path:
        return self.directory / "stdout"

    @property
    def stderr(self) -> Path:
        return self.directory / "stderr"

    @property
    def told(self) -> str:
        return self.stderr.read_text()

    def up(self) -> tuple[subprocess.Popen[bytes], dict[str, Any]]:
        process = self.begin("up", "--json")
        until(
            lambda: self.stdout.read_text().endswith("}\n") or process.poll() is not None,
            90,
            lambda: self.told,
        )
        return process, json.loads(self.stdout.read_text())

    def close(self) -> None:
        for process in self._running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                try:
                    process.wait(100)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    made = Terminal(tmp_path)
    yield made
    made.close()


def ctrl_c(process: subprocess.Popen[bytes]) -> None:
    """As a terminal does it: to the whole foreground group."""
    os.killpg(process.pid, signal.SIGINT)


def emit(servers: str) -> None:
    event = UsageEvent(
        provider="openai",
        request_model="gpt-4o",
        workspace_id="ws-1",
        usage=Usage(input_tokens=10, output_tokens=1),
    )
    with UsageEmitter(servers) as emitter:
        for number in range(EVENTS):
            assert emitter.emit(event, id=f"e-{number}")
        assert emitter.flush(30) == 0


def gone(pids: dict[str, int]) -> bool:
    for pid in pids.values():
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            continue
        return False
    return True


def test_ctrl_c_stores_all_and_ends_in_order(terminal: Terminal) -> None:
    process, addresses = terminal.up()
    emit(addresses["bootstrap_servers"])
    ctrl_c(process)
    assert process.wait(100) == failures.OK, terminal.told
    assert "draining" in terminal.told
    assert "Traceback" not in terminal.told
    until(lambda: gone(addresses["pids"]), 5)
    assert terminal.home.holder() is None
    [row] = terminal.run("report")
    assert row["requests"] == EVENTS


def test_a_second_ctrl_c_does_not_wait(terminal: Terminal) -> None:
    process, addresses = terminal.up()
    # a sink that stands still keeps the stop waiting, for a minute
    os.kill(addresses["pids"]["sink"], signal.SIGSTOP)
    emit(addresses["bootstrap_servers"])
    ctrl_c(process)
    until(lambda: "draining" in terminal.told, 10)
    began = time.monotonic()
    ctrl_c(process)
    assert process.wait(60) == failures.NOT_RIGHT, terminal.told
    assert time.monotonic() - began < 20
    assert "told a second time to stop" in terminal.told
    assert "can be sent again with the same ids" in " ".join(terminal.told.split())
    assert "Traceback" not in terminal.told
    until(lambda: gone(addresses["pids"]), 5)
    assert terminal.home.holder() is None


def test_ctrl_c_while_starting(terminal: Terminal) -> None:
    process = terminal.begin("up")
    until(lambda: "starting ClickHouse" in terminal.told, 30)
    ctrl_c(process)
    assert process.wait(60) == failures.OK, terminal.told
    assert "Traceback" not in terminal.told
    assert terminal.home.holder() is None


@pytest.fixture
def late_clickhouse(tmp_path: Path) -> Iterator[ClickHouseServer]:
    """One that nobody has started yet, though its address is known."""
    server = own_clickhouse(tmp_path / "clickhouse")
    if not isinstance(server, ChdbClickHouse):
        pytest.skip("a container has no address before it is started")
    yield server
    server.dispose()


def test_a_sink_waits_for_clickhouse_and_serves_its_metrics(
    terminal: Terminal, broker: KafkaServer, late_clickhouse: ChdbClickHouse, tmp_path: Path
) -> None:
    topics_admin.create(broker.bootstrap_servers, 1)
    port = free_port()
    ready = tmp_path / "ready"
    process = terminal.begin(
        *("sink", "--ready-file", str(ready), "--metrics-port", str(port)),
        SPENDSTREAM_BOOTSTRAP_SERVERS=broker.bootstrap_servers,
        SPENDSTREAM_CLICKHOUSE_URL=late_clickhouse.url,
    )
    until(lambda: "ClickHouse does not answer" in terminal.told, 30, lambda: terminal.told)
    assert process.poll() is None
    assert "Unexpected Http Driver Exception" not in terminal.told
    assert 'spendstream_sink_retries_total{step="migrating"}' in metrics(port)
    late_clickhouse.start()
    until(ready.exists, 60, lambda: terminal.told)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == failures.OK, terminal.told


def test_a_worker_serves_its_metrics(
    terminal: Terminal, broker: KafkaServer, tmp_path: Path
) -> None:
    topics_admin.create(broker.bootstrap_servers, 1)
    port = free_port()
    ready = tmp_path / "ready"
    process = terminal.begin(
        *("worker", "--ready-file", str(ready), "--metrics-port", str(port)),
        SPENDSTREAM_BOOTSTRAP_SERVERS=broker.bootstrap_servers,
    )
    until(ready.exists, 60, lambda: terminal.told)
    assert "spendstream_worker_halted_total" in metrics(port)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == failures.OK, terminal.told


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("worker",), "spendstream: no answer from 127.0.0.1:"),
        (("topics", "list"), "spendstream: "),
        (("report",), "spendstream: no ClickHouse with the database spendstream answers at"),
        (("verify", "--no-settled"), "spendstream: no ClickHouse"),
    ],
)
def test_servers_that_do_not_answer_are_said_plainly(
    command: tuple[str, ...], told: str, terminal: Terminal
) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    process = terminal.begin(
        *command,
        SPENDSTREAM_BOOTSTRAP_SERVERS=nowhere,
        SPENDSTREAM_CLICKHOUSE_URL=f"http://{nowhere}",
    )
    assert process.wait(60) == failures.UNAVAILABLE
    assert told in terminal.told
    for unwanted in ("Traceback", "mistake in spendstream", "Unexpected Http Driver Exception"):
        assert unwanted not in terminal.told


def test_doctor_names_servers_that_do_not_answer(terminal: Terminal) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    process = terminal.begin(
        *("doctor", "--json"),
        SPENDSTREAM_BOOTSTRAP_SERVERS=nowhere,
        SPENDSTREAM_CLICKHOUSE_URL=f"http://{nowhere}",
    )
    assert process.wait(60) == failures.NOT_RIGHT
    found = {item["what"]: item for item in json.loads(terminal.stdout.read_text())["findings"]}
    for what in ("broker", "ClickHouse"):
        assert found[what]["state"] == "bad"
        assert nowhere in found[what]["detail"]
    assert "Unexpected Http Driver Exception" not in terminal.told


def metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return str(answer.read().decode())

"""The command line on the embedded stack: the contracts that scripts rely on."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from spendstream.api.author import os_user
from spendstream.api.state import read_worker_state
from spendstream.deploy.embedded.broker import free_port
from spendstream.deploy.home import Home
from spendstream.producers import UsageEmitter
from spendstream.schemas import Trackable, Usage, UsageEvent
from tests.support.command_line import command, environment
from tests.support.waiting import until

pytestmark = [pytest.mark.storm, pytest.mark.timeout(300), pytest.mark.xdist_group("embedded")]

ROWS = 600
PRICES = {"gpt-4o": (Decimal("2.5"), Decimal(10)), "gpt-4o-mini": (Decimal("0.15"), Decimal("0.6"))}
"""USD a million input and output tokens."""
ONE_TOKEN_EACH = sum(PRICES["gpt-4o"], Decimal(0)) / 1_000_000


class Cli:
    """`spendstream` on a home of its own, outside any project directory."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.directory = home.parent

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command(*arguments),
            cwd=self.directory,
            env=environment(SPENDSTREAM_HOME=str(self.home), COLUMNS="200"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        with self.begin(*arguments) as process:
            try:
                out, err = process.communicate(timeout=200)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        assert process.returncode == code, (arguments, process.returncode, out, err)
        assert "Traceback" not in err
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", code=code).stdout)


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trace") / "calls.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["TIMESTAMP", "ContextTokens", "GeneratedTokens"])
        for row in range(ROWS):
            second = f"2026-01-01 00:{row // 60:02d}:{row % 60:02d}.1234567"
            writer.writerow([second, 1_000 + row, 10 + row % 7])
    return path


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    home = tmp_path_factory.mktemp("embedded") / "home"
    commands = Cli(home)
    yield commands
    commands.run("down")


@pytest.fixture(scope="module")
def addresses(cli: Cli) -> dict[str, Any]:
    up: dict[str, Any] = cli.json("up", "--detach")
    return up


@pytest.fixture(scope="module")
def replayed(cli: Cli, addresses: dict[str, Any], trace: Path) -> dict[str, Any]:
    summary: dict[str, Any] = cli.json("replay", str(trace), *REPLAY)
    return summary


REPLAY = (
    "--workspaces",
    "7",
    "--users",
    "11",
    "--models",
    "openai/gpt-4o,openai/gpt-4o-mini",
)


def test_up_says_where_everything_is(cli: Cli, addresses: dict[str, Any]) -> None:
    assert addresses["bootstrap_servers"].startswith("127.0.0.1:")
    assert addresses["clickhouse_url"].startswith("http://127.0.0.1:")
    assert addresses["home"] == str(cli.home)
    assert set(addresses["pids"]) == {"supervisor", "broker", "clickhouse", "worker", "sink"}
    for pid in addresses["pids"].values():
        os.kill(pid, 0)


def test_a_second_stack_on_the_same_directory_is_refused(
    cli: Cli, addresses: dict[str, Any]
) -> None:
    for arguments in (("up",), ("up", "--detach")):
        done = cli.run(*arguments, code=3)
        assert (
            f"in use by another `spendstream up` (process {addresses['pids']['supervisor']})"
            in (done.stderr)
        )


def test_doctor_and_topics_find_nothing_wrong(cli: Cli, addresses: dict[str, Any]) -> None:
    assert cli.json("doctor")["ok"] is True
    assert cli.json("topics", "check") == {"ok": True, "mismatches": []}
    assert all(topic["partitions"] for topic in cli.json("topics", "list"))
    assert cli.json("topics", "create") == {"created": []}
    mismatches = cli.json("topics", "check", "--partitions", "9", code=1)["mismatches"]
    assert any("usage.events has 4 partitions instead of 9" in text for text in mismatches)


def test_a_report_equals_the_files_own_sums(
    cli: Cli, replayed: dict[str, Any], trace: Path
) -> None:
    assert replayed["events"] == ROWS
    expected: dict[tuple[str, str], dict[str, Any]] = {}
    with trace.open() as file:
        for index, row in enumerate(csv.DictReader(file)):
            model = ("gpt-4o", "gpt-4o-mini")[index % 2]
            sums = expected.setdefault(
                (f"ws-{index % 7}", model), {"requests": 0, "in": 0, "out": 0, "cost": Decimal(0)}
            )
            used, made = int(row["ContextTokens"]), int(row["GeneratedTokens"])
            price_in, price_out = PRICES[model]
            sums["requests"] += 1
            sums["in"] += used
            sums["out"] += made
            sums["cost"] += (used * price_in + made * price_out) / 1_000_000
    rows = cli.json("report", "--group-by", "workspace,model", "--settled")
    assert {(row["workspace"], row["model"]) for row in rows} == set(expected)
    for row in rows:
        sums = expected[row["workspace"], row["model"]]
        assert row["requests"] == sums["requests"]
        assert (row["input_tokens"], row["output_tokens"]) == (sums["in"], sums["out"])
        assert row["total_tokens"] == sums["in"] + sums["out"]
        assert Decimal(row["cost_usd"]) == Decimal(row["charge_usd"]) == sums["cost"]


def test_the_same_replay_again_changes_nothing(
    cli: Cli, replayed: dict[str, Any], trace: Path
) -> None:
    before = cli.json("report", "--settled")
    repeats = _duplicates(cli)
    cli.json("replay", str(trace), *REPLAY)
    assert cli.json("report", "--settled") == before
    assert _duplicates(cli) == repeats + ROWS
    result = cli.json("verify")
    assert (result["ok"], result["events"], result["differences"]) == (True, ROWS, [])


def _duplicates(cli: Cli) -> int:
    """As the workers have counted them."""
    checkpoints = read_worker_state(_servers(cli)).checkpoints.values()
    return sum(counts["duplicate"] for c in checkpoints for counts in c.outcomes.values())


def test_plans_are_set_and_shown(cli: Cli, addresses: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "plans.yaml"
    file.write_text('plans:\n  ws-1:\n    credit: "0.01"\n    overage: true\n')
    assert cli.json("plans", "set", str(file), "--dry-run")["versions"] == []
    assert len(cli.json("plans", "set", str(file))["versions"]) == 1
    assert cli.json("plans", "set", str(file)) == {"changes": [], "versions": []}
    shown = cli.json("plans", "show", "ws-1")
    assert (shown["own"], shown["plan"]["credit"], shown["plan"]["overage"]) == (True, "0.01", True)
    assert [plan["workspace"] for plan in cli.json("plans", "list")] == ["default", "ws-1"]
    file.write_text("plans:\n  ws-1:\n    credit: 0.1\n    overrage: true\n")
    done = cli.run("plans", "set", str(file), code=2)
    assert "plans.ws-1.credit" in done.stderr
    assert "overrage" in done.stderr
    file.write_text("plans:\n  ws-1:\n    credit: 2\n")
    assert "at version 1" in cli.run("plans", "set", str(file), "--expect", "0", code=4).stderr


OURS: dict[str, str] = {"workspace": "ws-prices", "model": "house-model"}
"""Of a model that nobody publishes a price of."""
SET_OURS = ("prices", "set", "openai", OURS["model"], "input=2", "output=6")
OUR_TOKENS = Decimal("0.000008")
"""USD of one token each way at that price."""


def test_a_price_governs_what_comes_next_and_after_a_restart(
    cli: Cli, addresses: dict[str, Any]
) -> None:
    """Set while the worker runs; explained, audited; and no edit is made from an old version."""
    emit(_servers(cli), ["before"], **OURS)
    until(lambda: _unpriced(cli).get(OURS["model"]) == (1, False), 30)
    assert cli.json(*SET_OURS, "--expect", "0", "--why", "contract 12")["versions"] == [1]
    stale = cli.run(*SET_OURS, "cache_read=1", "--expect", "0", code=4).stderr
    assert f"the prices are at version 1 (since then by {os_user()})" in stale
    audits = cli.json("prices", "history")
    ((version, author, why, prices),) = [
        (one["version"], one["author"], one["reason"], one["adds"]["prices"]) for one in audits
    ]
    assert (version, author, why) == (1, os_user(), "contract 12")
    assert prices == {"input": "2", "output": "6"}

    unpriced = _send_until_priced(cli)
    emit(_servers(cli), _ids("since", 10), **OURS)
    since = {"unpriced": (unpriced, Decimal(0)), "measured": (11, 11 * OUR_TOKENS)}
    assert _ours(cli) == since
    sum_ = cli.json("prices", "explain", "since-9")
    assert [
        (line["leaf"], line["quantity"], line["price_usd"], line["cost_usd"])
        for line in sum_["lines"]
    ] == [("input", 1, "2", "0.000002"), ("output", 1, "6", "0.000006")]
    assert sum_["rule"].startswith(f"override openai/{OURS['model']}@")
    assert "+1 " in sum_["price_version"]

    cli.run("down")
    emit(cli.json("up", "--detach")["bootstrap_servers"], _ids("again", 10), **OURS)
    assert _ours(cli) == since | {"measured": (21, 21 * OUR_TOKENS)}
    assert cli.json("prices", "history") == audits


def test_what_a_task_and_a_trackable_have_used(cli: Cli, addresses: dict[str, Any]) -> None:
    """Calls of several kinds and models, exactly; and in words."""
    text = Usage(input_tokens=1_000, output_tokens=500)
    embedded = Usage(input_tokens=7, output_tokens=0)
    calls = (
        ("chat", "gpt-4o", text, "t-1"),
        ("chat", "gpt-4o-mini", text, "t-1"),
        ("embeddings", "text-embedding-3-small", embedded, "t-1"),
        ("chat", "gpt-4o", text, "t-2"),
    )
    with UsageEmitter(_servers(cli)) as emitter:
        for number, (operation, model, usage, task) in enumerate(calls):
            event = UsageEvent(
                provider="openai",
                response_model=model,
                operation=operation,
                workspace_id="ws-tasks",
                usage=usage,
                task_id=task,
                trackable=Trackable(type="doc", id="d-1"),
            )
            assert emitter.emit(event, id=f"task-{number}")
        assert emitter.flush(30) == 0
    costs = {"gpt-4o": "0.0075", "gpt-4o-mini": "0.00045", "text-embedding-3-small": "0.00000014"}
    found = cli.json("usage", "ws-tasks", "--task", "t-1", "--settled")
    assert (found["requests"], found["input_tokens"], found["output_tokens"]) == (3, 2_007, 1_000)
    assert {row["model"]: row["cost_usd"] for row in found["by_model"]} == costs
    assert Decimal(found["cost_usd"]) == sum(map(Decimal, costs.values()))
    assert found["by_quality"]["measured"]["requests"] == 3
    told = cli.run("usage", "ws-tasks", "--trackable", "doc/d-1").stdout
    assert "for 4 requests" in told
    assert "text-embedding-3-small" in told
    rows = cli.json("report", "--group-by", "kind", "--filter", "workspace=ws-tasks")
    assert {row["kind"]: (row["requests"], row["output_cost_usd"]) for row in rows} == {
        "chat": (3, "0.0103"),
        "embedding": (1, "0"),
    }
    assert "no call of task 'none'" in cli.run("usage", "ws-tasks", "--task", "none", code=3).stderr


def _ours(cli: Cli) -> dict[str, tuple[int, Decimal]]:
    """Requests and USD by what the cost rests on, settled."""
    rows = cli.json(
        "report", "--group-by", "quality", "--filter", f"workspace={OURS['workspace']}", "--settled"
    )
    return {row["quality"]: (row["requests"], Decimal(row["cost_usd"] or 0)) for row in rows}


def _unpriced(cli: Cli) -> dict[str, tuple[int, bool]]:
    """Models that `prices check` names, if any: calls, and whether they would have a price now."""
    checked = cli.begin("prices", "check", "--json")
    found = json.loads(checked.communicate(timeout=60)[0])
    assert (checked.returncode, found["ok"]) in ((0, True), (1, False))
    return {one["model"]: (one["events"], one["priced_now"]) for one in found["unpriced"]}


def _send_until_priced(cli: Cli) -> int:
    """One event after the other until one has a cost; how many there are that have none.

    A batch is priced as the checkpoint before it says, so some may come before the price governs.
    """
    sent = 1  # the one from before

    def priced() -> bool:
        nonlocal sent
        total = read_worker_state(_servers(cli)).workspaces[OURS["workspace"]].total
        if total.requests == sent and not total.cost:
            emit(_servers(cli), [f"maybe-{sent}"], **OURS)
            sent += 1
        return total.cost > 0

    until(priced, 30)
    return sent - 1


def test_usage_after_a_restart_is_as_before(cli: Cli, replayed: dict[str, Any]) -> None:
    """And 1,000 new events among 1,000 from before it add exactly the new ones."""
    old, new = _ids("old", 1_000), _ids("new", 1_000)
    emit(_servers(cli), old)
    before = cli.json("usage", "ws-3", "--settled")
    assert before["requests"] == len(range(3, ROWS, 7)) + 1_000
    cli.run("down")
    assert _figures(cli.json("usage", "ws-3")) == _figures(before)
    servers = cli.json("up", "--detach")["bootstrap_servers"]
    assert _figures(cli.json("usage", "ws-3", "--settled")) == _figures(before)
    emit(servers, [id_ for pair in zip(old, new, strict=True) for id_ in pair])
    after = cli.json("usage", "ws-3", "--settled")
    assert after["requests"] == before["requests"] + 1_000
    assert cli.json("verify")["ok"] is True


@pytest.mark.parametrize("which", ["every process", "supervisor"])
def test_usage_after_kill_9_is_exact_once_all_is_sent_again(
    cli: Cli, addresses: dict[str, Any], which: str
) -> None:
    """What was stored comes back; what only the broker knew is sent again, with all the rest."""
    stored, unsettled = _ids(f"stored-{which}", 1_000), _ids(f"unsettled-{which}", 500)
    emit(_servers(cli), stored)
    settled = _spend(cli)
    running = Home(cli.home).running()
    assert running is not None
    emit(running.bootstrap_servers, unsettled)
    for name, pid in running.pids.items():
        if which in ("every process", name):
            os.kill(pid, signal.SIGKILL)
    assert cli.json("up", "--detach")["pids"].keys() == running.pids.keys()
    back = _spend(cli)
    assert settled[0] <= back[0] <= settled[0] + 500
    emit(_servers(cli), unsettled + stored)
    assert _spend(cli) == (settled[0] + 500, settled[1] + 500 * ONE_TOKEN_EACH)
    assert cli.json("verify")["differences"] == []


def emit(servers: str, ids: list[str], *, workspace: str = "ws-3", model: str = "gpt-4o") -> None:
    """Events with one token each way; returns when the broker has them."""
    event = UsageEvent(
        provider="openai",
        request_model=model,
        usage=Usage(input_tokens=1, output_tokens=1),
        workspace_id=workspace,
    )
    with UsageEmitter(servers) as emitter:
        for id_ in ids:
            assert emitter.emit(event, id=id_)
        assert emitter.flush(30) == 0


def _ids(prefix: str, count: int) -> list[str]:
    return [f"{prefix}-{number}" for number in range(count)]


def _servers(cli: Cli) -> str:
    running = Home(cli.home).running()
    assert running is not None
    return running.bootstrap_servers


def _spend(cli: Cli) -> tuple[int, Decimal]:
    """Requests and USD of ws-3, settled; report and worker say the same."""
    usage = cli.json("usage", "ws-3", "--settled")
    (row,) = cli.json("report", "--settled", "--filter", "workspace=ws-3")
    assert row["requests"] == usage["requests"]
    return row["requests"], Decimal(row["cost_usd"])


def test_dead_letters_are_kept_byte_for_byte(cli: Cli, addresses: dict[str, Any]) -> None:
    from base64 import b64decode

    from spendstream.deploy.demo_broken import BROKEN, send_broken

    sent = send_broken(_servers(cli), "test", time.time_ns() // 1_000_000)
    rows = cli.json("deadletters", "--settled")
    assert len(rows) == sent
    found = [row["value_base64"] and b64decode(row["value_base64"]) for row in rows]
    for value in BROKEN:
        assert value in found
    one = rows[0]
    assert {"reason", "detail", "topic", "partition", "offset", "key_base64", "headers"} <= set(one)
    assert one["topic"] == "usage.events"


@pytest.mark.parametrize("name", ["worker", "sink", "clickhouse", "broker"])
def test_what_dies_is_restarted(cli: Cli, addresses: dict[str, Any], name: str) -> None:
    cli.run("verify")  # settled: nothing is in the broker's memory alone
    home = Home(cli.home)
    running = home.running()
    assert running is not None
    victim = running.pids[name]
    os.kill(victim, signal.SIGKILL)
    deadline = time.monotonic() + 90
    while (now := home.running()) is None or now.pids.get(name) in (None, victim):
        assert time.monotonic() < deadline, home.log("supervisor").read_text()
        time.sleep(0.1)
    assert _once_it_answers(cli, "verify")["ok"] is True


def _once_it_answers(cli: Cli, command: str) -> Any:
    """What died may need some seconds to be reached again; a difference is one at once."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return cli.json(command)
        except AssertionError as error:
            if '"ok": false' in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(1)


def test_after_the_stack_has_stopped_the_data_can_be_read(
    cli: Cli, replayed: dict[str, Any]
) -> None:
    before = cli.json("report", "--group-by", "model", "--settled")
    assert cli.json("down")["stopped"] is True
    assert cli.json("down")["stopped"] is False
    assert cli.json("report", "--group-by", "model") == before
    assert cli.json("verify")["ok"] is True
    assert isinstance(cli.json("deadletters", "--limit", "1"), list)
    assert "no stack runs" in cli.run("topics", "list", code=3).stderr
    assert cli.json("doctor")["ok"] is True


def test_a_difference_is_found(cli: Cli, replayed: dict[str, Any]) -> None:
    """A manifest that says something was sent which never was."""
    cli.run("down")
    lie = cli.home / "manifests" / "99990101T000000.000000Z-lie.jsonl"
    first = next(iter(sorted((cli.home / "manifests").glob("*.jsonl"))))
    line = json.loads(first.read_text().splitlines()[0])
    lie.write_text(json.dumps({**line, "id": "never-sent"}) + "\n")
    try:
        result = cli.json("verify", code=1)
        assert result["ok"] is False
        assert result["differences"]
        assert "never-sent" in json.dumps(result["differences"])
    finally:
        lie.unlink()


def test_down_says_what_it_could_not_store(tmp_path: Path, trace: Path) -> None:
    cli = Cli(tmp_path / "home")
    pids = cli.json("up", "--detach")["pids"]
    os.kill(pids["sink"], signal.SIGSTOP)
    cli.json("replay", str(trace), *REPLAY)
    down = cli.begin("down", "--json")
    log = Home(cli.home).log("supervisor")
    until(lambda: "draining" in log.read_text(), 20, log.read_text)
    os.kill(pids["supervisor"], signal.SIGTERM)  # the second time: it shall not wait for the sink
    told = json.loads(down.communicate(timeout=60)[0])
    assert down.returncode == 1
    assert told["stopped"] is True
    assert "not all that was sent is stored: it was told a second time" in told["fault"]
    assert cli.json("down") == {"stopped": False, "fault": None, "home": str(cli.home)}


def _figures(usage: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in usage.items() if k not in ("as_of", "offset", "decision", "limits")}


def test_a_taken_port_is_said_plainly(tmp_path: Path) -> None:
    import socket

    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        done = Cli(tmp_path / "home").run("up", "--kafka-port", str(port), code=3)
    assert f"port {port} cannot be used" in done.stderr


@pytest.mark.parametrize("arguments", [("report",), ("usage", "ws-1"), ("verify",)])
def test_nothing_there_is_said_plainly(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = Cli(tmp_path / "home").run(*arguments, code=3)
    assert "there is no data" in done.stderr


def test_wrong_settings_are_all_said(tmp_path: Path) -> None:
    (tmp_path / "spendstream.toml").write_text("kafka_port = -1\nnonsense = 1\n")
    done = Cli(tmp_path / "home").run("up", code=2)
    assert "nonsense" in done.stderr
    assert "kafka_port" in done.stderr

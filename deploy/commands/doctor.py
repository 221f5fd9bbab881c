"""`spendstream doctor`: what stands in the way."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

import typer
from rich.table import Table

from spendstream.deploy import failures
from spendstream.deploy.commands.options import Json
from spendstream.deploy.console import out, print_json, styled, working
from spendstream.deploy.home import Addresses, Home
from spendstream.deploy.settings import Settings, load

STILL_S: Final = 30
"""A worker commits a heartbeat every five seconds; a recovery may take some more."""
FIRST_COMMIT_S: Final = 10.0
"""A worker that has just started commits in all its partitions within this."""

State = Literal["ok", "note", "bad"]
_MARK = {"ok": ("✓", "green"), "note": ("–", "yellow"), "bad": ("✗", "red")}


@dataclass(frozen=True, slots=True)
class Finding:
    """`note`: not a fault, but worth knowing (nothing runs, for example)."""

    what: str
    state: State
    detail: str


def doctor(json: Json = False) -> None:
    """Look for what stands in the way. Exit code 1 where something does.

    Looks at directory, disk, ports, broker, topics, workers and ClickHouse. Data
    and settings stay as they are.
    """
    settings = load()
    with working("looking"):
        findings = examine(settings)
    bad = [finding for finding in findings if finding.state == "bad"]
    if json:
        print_json({"ok": not bad, "findings": [asdict(finding) for finding in findings]})
    else:
        table = Table(box=None, show_header=False, pad_edge=False)
        for finding in findings:
            table.add_row(styled(*_MARK[finding.state]), finding.what, finding.detail)
        out.print(table)
    if bad:
        raise typer.Exit(failures.NOT_RIGHT)


def examine(settings: Settings) -> list[Finding]:
    """All findings. Nothing is started; the broker's binary may be unpacked into its cache."""
    home = Home(settings.home)
    running = home.running()
    findings = [_directory(home), _disk(home), _stack(home, running)]
    if running is None:
        findings += [_broker_binary(), _engine()]
        for name, port in (
            ("Kafka", settings.kafka_port),
            ("ClickHouse", settings.clickhouse_port),
        ):
            findings.append(_port(name, port))
    servers = settings.bootstrap_servers or (running.bootstrap_servers if running else None)
    url = settings.clickhouse_url or (running.clickhouse_url if running else None)
    if servers:
        findings += _kafka(servers)
    if url:
        findings.append(_clickhouse(url, settings.clickhouse_database))
    return findings


def _directory(home: Home) -> Finding:
    existing = _existing(home.path)
    if not existing.is_dir():
        return Finding("directory", "bad", f"{home.path} cannot be made: {existing} is a file")
    if not os.access(existing, os.W_OK | os.X_OK):
        return Finding("directory", "bad", f"{home.path} cannot be written")
    return Finding("directory", "ok", str(home.path))


def _existing(path: Path) -> Path:
    """It, or the nearest directory above it that there is."""
    while not path.exists():
        path = path.parent
    return path


def _disk(home: Home) -> Finding:
    from spendstream.deploy.stack import LEAST_FREE_BYTES

    free = shutil.disk_usage(_existing(home.path)).free
    state: State = "ok" if free >= LEAST_FREE_BYTES else "bad"
    return Finding("disk", state, f"{free / 1024**3:.1f} GB free")


def _stack(home: Home, running: Addresses | None) -> Finding:
    if running is not None:
        return Finding("stack", "ok", f"runs, process {running.pids.get('supervisor')}")
    holder = home.holder()
    if holder is not None:
        return Finding("stack", "note", f"starting or stopping, process {holder}")
    return Finding("stack", "note", "not running: `spendstream up --detach` starts it")


def _broker_binary() -> Finding:
    from spendstream.deploy.embedded.broker import BrokerError, broker_command

    return _tried("broker binary", lambda: broker_command(0)[0], BrokerError)


def _engine() -> Finding:
    from importlib.metadata import PackageNotFoundError, version

    return _tried("ClickHouse engine", lambda: f"chDB {version('chdb')}", PackageNotFoundError)


def _port(name: str, port: int) -> Finding:
    from spendstream.deploy.embedded.broker import BrokerError, refuse_taken

    if port == 0:
        return Finding(f"{name} port", "ok", "any free one")

    def free() -> str:
        refuse_taken(port)
        return f"{port} is free"

    return _tried(f"{name} port", free, BrokerError)


def _kafka(servers: str) -> list[Finding]:
    from spendstream.deploy.topics_admin import TopicsError, check

    try:
        mismatches = check(servers)
    except TopicsError as error:
        return [Finding("broker", "bad", str(error))]
    broker = Finding("broker", "ok", servers)
    if mismatches:
        return [broker, Finding("topics", "bad", "\n".join(mismatches))]
    return [broker, Finding("topics", "ok", "as they should be"), _workers(servers)]


def _workers(servers: str) -> Finding:
    """Whether every partition has committed lately: one that fails again and again does not."""
    from spendstream.api.log import LogUnavailable, last_records, partitions_of, reader
    from spendstream.schemas.topics import WORKSPACE_CHECKPOINT
    from spendstream.streams.core.state import CHECKPOINT_KEY

    deadline = time.monotonic() + FIRST_COMMIT_S
    try:
        with reader(servers) as consumer:
            partitions = partitions_of(consumer, WORKSPACE_CHECKPOINT)
            last = last_records(consumer, WORKSPACE_CHECKPOINT, partitions, CHECKPOINT_KEY)
            # some have none yet: just started, the others commit within a heartbeat
            while last and len(last) < len(partitions) and time.monotonic() < deadline:
                time.sleep(0.2)  # nobody reports a commit
                last = last_records(consumer, WORKSPACE_CHECKPOINT, partitions, CHECKPOINT_KEY)
    except LogUnavailable as error:
        return Finding("workers", "bad", str(error))
    if not last:
        return Finding("workers", "note", "none has run on these topics yet")
    now = time.time()
    ages = {p: now - last[p].timestamp()[1] / 1_000 if p in last else now for p in partitions}
    still = sorted(p for p, age in ages.items() if age > STILL_S)
    if not still:
        return Finding("workers", "ok", f"all {len(ages)} partitions commit")
    numbers = ", ".join(map(str, still))
    return Finding(
        "workers",
        "bad",
        f"partition {numbers} of {len(ages)} stands still for over {STILL_S} s: no worker has it, "
        "or its worker's log says why",
    )


def _clickhouse(url: str, database: str) -> Finding:
    from spendstream.api.stored import ClickHouseUnavailable, connect

    def version() -> str:
        client = connect(url, database)
        try:
            return f"{client.server_version} at {url}, database {database}"
        finally:
            client.close()

    return _tried("ClickHouse", version, ClickHouseUnavailable)


def _tried(what: str, look: Callable[[], str], fault: type[Exception]) -> Finding:
    try:
        return Finding(what, "ok", look())
    except fault as error:
        return Finding(what, "bad", str(error))

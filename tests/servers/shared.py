"""One server for all workers of a test run, started by the first that needs it.

The process that pytest was started as makes a directory for the run and names it in the
environment, which the xdist workers inherit. A worker starts a server under a file lock and leaves
its address there; at the end the first process ends, by id, what is written there.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tests.servers.base import Server
from tests.servers.clickhouse import ClickHouseServer, GivenClickHouse, any_clickhouse
from tests.servers.kafka import GivenKafka, KafkaServer, any_kafka
from tests.servers.processes import kill_by_id

_RUN = "SPENDSTREAM_TEST_RUN"
_S = TypeVar("_S", bound=Server)


def begin_run() -> None:
    os.environ[_RUN] = tempfile.mkdtemp(prefix="spendstream-run-")


def shared_kafka() -> KafkaServer:
    """The run's broker. A handle on it: only `bootstrap_servers` is for use."""
    address = _address("kafka", any_kafka, lambda server: server.bootstrap_servers)
    return GivenKafka(address)


def shared_clickhouse() -> ClickHouseServer:
    """The run's ClickHouse. A handle on it: only `url` and `client` are for use."""
    return GivenClickHouse(_address("clickhouse", any_clickhouse, lambda server: server.url))


def note_used(what: str, server: Server) -> None:
    """Remember for the closing report that a test used it."""
    with _locked(), (_run() / "used").open("a") as used:
        used.write(f"{what}: {server.kind} ({server.describe()})\n")


def used() -> list[str]:
    """One line for each kind of server that tests used."""
    noted = _run() / "used"
    lines = Counter(noted.read_text().splitlines()) if noted.exists() else Counter[str]()
    return [f"{line}, {count} started" for line, count in sorted(lines.items())]


def end_run() -> None:
    """End the servers of the run and remove what they wrote."""
    run = Path(os.environ.pop(_RUN))
    for noted in run.glob("*.json"):
        handle = json.loads(noted.read_text())["handle"]
        if "pid" in handle:
            kill_by_id(handle["pid"])
        elif "container" in handle:
            import docker

            docker.from_env().containers.get(handle["container"]).remove(force=True)
    shutil.rmtree(run, ignore_errors=True)


def _address(what: str, make: Callable[[Path], _S], address: Callable[[_S], str]) -> str:
    noted = _run() / f"{what}.json"
    with _locked(what):
        if not noted.exists():
            server = make(_run() / what).start()
            found = {"address": address(server), "handle": server.handle()}
            noted.write_text(json.dumps(found))
            note_used(what, server)
        return str(json.loads(noted.read_text())["address"])


@contextmanager
def _locked(name: str = "used") -> Iterator[None]:
    with (_run() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run() -> Path:
    return Path(os.environ[_RUN])

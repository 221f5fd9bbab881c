"""A ClickHouse for tests: the given one, else Docker's, else the embedded chDB server."""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request
from abc import abstractmethod
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client

from tests.servers.base import GivenServer, Server, ServerUnavailableError
from tests.servers.processes import ServerProcess

GIVEN = "SPENDSTREAM_TEST_CLICKHOUSE"


class ClickHouseServer(Server):
    """`kind` is one of given, docker, chdb."""

    @property
    @abstractmethod
    def url(self) -> str: ...

    def client(self, database: str = "default", **options: Any) -> Client:
        """A client of this server; the caller closes it."""
        address = urlsplit(self.url)
        return clickhouse_connect.get_client(
            host=address.hostname or "127.0.0.1",
            port=address.port or 8123,
            username=address.username or "default",
            password=address.password or "",
            database=database,
            compress=False,
            # one client, many threads: a session would put their queries in a row
            autogenerate_session_id=False,
            **options,
        )


class GivenClickHouse(GivenServer, ClickHouseServer):
    def __init__(self, url: str) -> None:
        self._url = url

    @property
    def url(self) -> str:
        return self._url

    def start(self) -> Self:
        if not ping(self._url):
            raise ServerUnavailableError(f"{GIVEN} is set, but nothing answers there")
        return self

    def describe(self) -> str:
        address = urlsplit(self._url)
        return f"the server at {address.hostname}:{address.port}"


class ChdbClickHouse(ServerProcess, ClickHouseServer):
    """The embedded stack's server as a process, its data in a directory of its own."""

    kind = "chdb"
    name = "the chDB server"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def data_dir(self) -> Path:
        return self._directory.path / "data"

    def command(self) -> list[str]:
        command = [sys.executable, "-m", "spendstream.deploy.embedded.chdb_server"]
        return [*command, "--data-dir", str(self.data_dir), "--port", str(self.port)]

    def answers(self) -> bool:
        return ping(self.url)

    def describe(self) -> str:
        return "chDB behind ClickHouse's HTTP protocol"


def ping(url: str) -> bool:
    """Whether a ClickHouse answers at `url`."""
    address = urlsplit(url)
    try:
        where = f"{address.scheme}://{address.hostname}:{address.port or 8123}/ping"
        with urllib.request.urlopen(where, timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def own_clickhouse(data_dir: Path | None = None) -> ClickHouseServer:
    """A server of the caller's own, not started yet. Never the given one."""
    from tests.servers.docker import DockerClickHouse, docker_answers

    return DockerClickHouse() if docker_answers() else ChdbClickHouse(data_dir)


def any_clickhouse(data_dir: Path | None = None) -> ClickHouseServer:
    """The given server where there is one, else one of our own; not started yet."""
    given = os.environ.get(GIVEN)
    return GivenClickHouse(given) if given else own_clickhouse(data_dir)

"""A ClickHouse client for the commands; with the stack stopped, a server for their time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO
from urllib.error import URLError
from urllib.request import urlopen

from clickhouse_connect.driver.client import Client

from spendstream.api.stored import ClickHouseUnavailable, connect
from spendstream.deploy.home import Home
from spendstream.deploy.processes import last_words
from spendstream.deploy.settings import Settings


def answers(url: str, timeout: float = 1.0) -> bool:
    """Whether a ClickHouse server answers there."""
    try:
        with urlopen(f"{url.rstrip('/')}/ping", timeout=timeout) as response:
            return bool(response.status == 200)
    except (URLError, OSError, ValueError):
        return False


@contextmanager
def reading(settings: Settings) -> Iterator[tuple[str, Client]]:
    """URL and client of the data: the given server, else the running stack's, else a server that
    is started on the home directory for as long as the block runs.

    Raises:
        ClickHouseUnavailable: none answers, or nothing was ever stored here.
    """
    home = Home(settings.home)
    running = home.running()
    url = settings.clickhouse_url or (running.clickhouse_url if running else None)
    if url is not None:
        yield from _with_client(url, settings.clickhouse_database)
        return
    if home.holder() is not None:
        raise ClickHouseUnavailable(
            f"the stack on {home.path} is starting or stopping: try again in a moment"
        )
    if not any(home.clickhouse.glob("*")):
        raise ClickHouseUnavailable(
            f"there is no data in {home.path} and no stack runs on it: "
            "`spendstream demo` shows one, `spendstream up` starts one"
        )
    with temporary_server(home) as url:
        yield from _with_client(url, settings.clickhouse_database)


def _with_client(url: str, database: str) -> Iterator[tuple[str, Client]]:
    client = connect(url, database)
    try:
        yield url, client
    finally:
        client.close()


@contextmanager
def temporary_server(home: Home) -> Iterator[str]:
    """The embedded server on the home directory; its URL. Raises ClickHouseUnavailable."""
    home.create()
    log = home.log("chdb-temporary")
    command = [sys.executable, "-m", "spendstream.deploy.embedded.chdb_server"]
    command += ["--data-dir", str(home.clickhouse), "--port", "0"]
    with log.open("ab") as errors:
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            # Ctrl-C is ours: the server must outlive the query that it interrupts
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    try:
        assert server.stdout is not None  # PIPE
        yield _announced(server.stdout, home)
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _announced(output: IO[bytes], home: Home) -> str:
    line = output.readline()
    if not line:
        words = last_words(home.log("chdb-temporary"), 3)
        raise ClickHouseUnavailable(f"the data in {home.clickhouse} cannot be opened:\n{words}")
    return str(json.loads(line)["url"])

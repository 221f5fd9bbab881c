"""The servers that tests use: which ones, shared or of a test's own, and what was used in the end.

kafka               the run's broker; a test uses topic names of its own
kafka_server        makes brokers of the test's own, to kill and start again
broker              a broker of the test module's own: its topics have their real names
apache_broker       the same, where it has Apache Kafka's transactions
guarded_broker      Apache Kafka that minds who may do what
clickhouse          the run's ClickHouse; a test uses a database of its own
clickhouse_database the name of a fresh database in it
clickhouse_server   makes servers of the test's own
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import pytest

from tests.servers import shared
from tests.servers.apache import MINDS_ACLS, ApacheKafka
from tests.servers.base import Server, ServerUnavailableError
from tests.servers.clickhouse import ClickHouseServer, own_clickhouse
from tests.servers.kafka import REQUIRED, KafkaServer, TansuKafka, own_kafka

# LiteLLM would fetch a list of prices where it is imported, and log into other tests that it cannot
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

S = TypeVar("S", bound=Server)
MakeKafka = Callable[[], KafkaServer]
MakeClickHouse = Callable[[], ClickHouseServer]


def pytest_configure(config: pytest.Config) -> None:
    if not _is_worker(config):
        shared.begin_run()


def pytest_unconfigure(config: pytest.Config) -> None:
    if not _is_worker(config):
        shared.end_run()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.section("servers")
    for line in shared.used() or ["none was used"]:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def kafka() -> KafkaServer:
    return _or_skip("kafka", shared.shared_kafka)


@pytest.fixture
def kafka_server() -> Iterator[MakeKafka]:
    yield from _makes("kafka", own_kafka)


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaServer]:
    with contextmanager(_makes)("kafka", own_kafka) as make:
        yield make()


@pytest.fixture(scope="module")
def apache_broker(broker: KafkaServer) -> KafkaServer:
    if broker.kind == "tansu":
        pytest.skip("the embedded broker has not all of Apache Kafka's transactions")
    return broker


@pytest.fixture(scope="module")
def guarded_broker() -> Iterator[KafkaServer]:
    """What no ACL is about, everybody may. From its jars: Docker's image is not told how."""
    with contextmanager(_makes)("kafka", partial(ApacheKafka, properties=MINDS_ACLS)) as make:
        yield make()


@pytest.fixture
def embedded_broker() -> Iterator[KafkaServer]:
    """The embedded stack's: what it forgets at its end is gone."""
    with contextmanager(_makes)("kafka", TansuKafka) as make:
        yield make()


@pytest.fixture(scope="session")
def clickhouse() -> ClickHouseServer:
    return _or_skip("clickhouse", shared.shared_clickhouse)


@pytest.fixture
def clickhouse_database(clickhouse: ClickHouseServer) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex}"
    client = clickhouse.client()
    client.command(f"CREATE DATABASE {name}")
    yield name
    client.command(f"DROP DATABASE {name}")
    client.close()


@pytest.fixture
def clickhouse_server() -> Iterator[MakeClickHouse]:
    yield from _makes("clickhouse", own_clickhouse)


def _makes(what: str, own: Callable[[], S]) -> Iterator[Callable[[], S]]:
    made: list[S] = []

    def make() -> S:
        server = _or_skip(what, own)
        made.append(server)
        _or_skip(what, server.start)
        shared.note_used(what, server)
        return server

    try:
        yield make
    finally:
        for server in made:
            server.dispose()


def _or_skip(what: str, get: Callable[[], S]) -> S:
    try:
        return get()
    except ServerUnavailableError as error:
        reason = str(error)
    if what == "kafka" and os.environ.get(REQUIRED):
        pytest.fail(f"{REQUIRED} is set, but there is no Kafka: {reason}", pytrace=False)
    pytest.skip(f"no {what}: {reason}")


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")

"""A Kafka for tests: the given one, else Docker's, else Apache's jars, else Tansu."""

from __future__ import annotations

import os
from abc import abstractmethod
from pathlib import Path
from typing import Self

from spendstream.deploy.embedded.broker import BrokerError, answers, broker_command, refuse_taken
from tests.servers.base import GivenServer, Server, ServerUnavailableError
from tests.servers.processes import ServerProcess

GIVEN = "SPENDSTREAM_TEST_BOOTSTRAP"
REQUIRED = "SPENDSTREAM_TEST_REQUIRE_KAFKA"


class KafkaServer(Server):
    """`kind` is one of given, docker, apache, tansu; only the last is not Apache Kafka."""

    @property
    @abstractmethod
    def bootstrap_servers(self) -> str: ...


class GivenKafka(GivenServer, KafkaServer):
    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers

    @property
    def bootstrap_servers(self) -> str:
        return self._bootstrap_servers

    def start(self) -> Self:
        if not answers(self._bootstrap_servers.split(",")[0], timeout=5):
            raise ServerUnavailableError(f"{GIVEN}={self._bootstrap_servers} does not answer")
        return self

    def describe(self) -> str:
        return f"the broker at {self._bootstrap_servers}"


class LocalKafka(ServerProcess, KafkaServer):
    """A broker that is a process of ours."""

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self.port}"

    def answers(self) -> bool:
        return answers(self.bootstrap_servers)


class TansuKafka(LocalKafka):
    """The embedded broker: it forgets everything when it ends."""

    kind = "tansu"
    name = "the embedded broker"
    start_s = 20.0

    def command(self) -> list[str]:
        try:
            refuse_taken(self.port)
            return broker_command(self.port)
        except BrokerError as error:
            raise ServerUnavailableError(str(error)) from error

    def describe(self) -> str:
        return "Tansu, the embedded broker"


def own_kafka(data_dir: Path | None = None) -> KafkaServer:
    """A broker of the caller's own, not started yet: its topics, its life. Never the given one.

    Raises ServerUnavailableError, also where only Tansu is left and Apache Kafka is required.
    """
    from tests.servers.apache import ApacheKafka, missing_tools
    from tests.servers.docker import DockerKafka, docker_answers

    if docker_answers():
        return DockerKafka()
    lacking = missing_tools()
    if not lacking:
        return ApacheKafka(data_dir)
    if os.environ.get(REQUIRED) == "apache":
        raise ServerUnavailableError(f"no Docker, and no {' and no '.join(lacking)} on the PATH")
    return TansuKafka(data_dir)


def any_kafka(data_dir: Path | None = None) -> KafkaServer:
    """The given broker where there is one, else one of our own; not started yet."""
    given = os.environ.get(GIVEN)
    return GivenKafka(given) if given else own_kafka(data_dir)

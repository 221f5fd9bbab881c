"""A Kafka for tests: the given one, else Docker's, else Apache's jars, else Tansu."""

from __future__ import annotations

import os
from abc import abstractmethod
from pathlib import Path
from typing import Any, Self

from spendstream.deploy.embedded.broker import Broker, answers
from tests.servers.base import Server, ServerUnavailableError

GIVEN = "SPENDSTREAM_TEST_BOOTSTRAP"
REQUIRED = "SPENDSTREAM_TEST_REQUIRE_KAFKA"


class KafkaServer(Server):
    """`kind` is one of given, docker, apache, tansu; only the last is not Apache Kafka."""

    @property
    @abstractmethod
    def bootstrap_servers(self) -> str: ...


class GivenKafka(KafkaServer):
    """Somebody's broker: it is used, never started, stopped or killed."""

    kind = "given"

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers

    @property
    def bootstrap_servers(self) -> str:
        return self._bootstrap_servers

    def start(self) -> Self:
        if not answers(self._bootstrap_servers.split(",")[0], timeout=5):
            raise ServerUnavailableError(f"{GIVEN}={self._bootstrap_servers} does not answer")
        return self

    def stop(self) -> None:
        raise ServerUnavailableError("a given broker is not ours to stop")

    def kill(self) -> None:
        raise ServerUnavailableError("a given broker is not ours to kill")

    def dispose(self) -> None:
        """Nothing: it is not ours."""

    def describe(self) -> str:
        return f"the broker at {self._bootstrap_servers}"


class TansuKafka(KafkaServer):
    """The embedded broker: it forgets everything when it ends."""

    kind = "tansu"

    def __init__(self) -> None:
        self._broker = Broker()

    @property
    def bootstrap_servers(self) -> str:
        return self._broker.bootstrap_servers

    def start(self) -> Self:
        self._broker.start()
        return self

    def stop(self) -> None:
        self._broker.stop()

    def kill(self) -> None:
        self._broker.kill()

    def describe(self) -> str:
        return "Tansu, the embedded broker"

    def handle(self) -> dict[str, Any]:
        return {"pid": self._broker.pid}


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
    return TansuKafka()


def any_kafka(data_dir: Path | None = None) -> KafkaServer:
    """The given broker where there is one, else one of our own; not started yet."""
    given = os.environ.get(GIVEN)
    return GivenKafka(given) if given else own_kafka(data_dir)

"""Kafka and ClickHouse in containers, where Docker answers.

The host port is fixed before the container starts and the data stays inside it, so that both
survive kill and start as they do for a process.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar, Self

from spendstream.deploy.embedded.broker import answers, free_port
from tests.servers.base import Server, ServerUnavailableError
from tests.servers.clickhouse import ClickHouseServer, ping
from tests.servers.kafka import KafkaServer

START_S = 120.0


@cache
def docker_answers() -> bool:
    """Whether a Docker daemon answers within two seconds."""
    import docker

    try:
        client = docker.from_env(timeout=2)
        client.ping()
    except Exception:  # the client raises whatever its transport does
        return False
    client.close()
    return True


class _InDocker(Server):
    """One container behind one fixed port of 127.0.0.1.

    Attributes:
        environment: `{port}` in a value is the port on this machine.
    """

    kind = "docker"
    image: ClassVar[str]
    inner_port: ClassVar[int]
    environment: ClassVar[Mapping[str, str]]

    def __init__(self) -> None:
        from testcontainers.core.container import DockerContainer

        self.port = free_port()
        self._container: Any = DockerContainer(self.image)
        self._container.with_bind_ports(self.inner_port, self.port)
        for name, value in self.environment.items():
            self._container.with_env(name, value.format(port=self.port))
        self._started = False

    @abstractmethod
    def answers(self) -> bool:
        """Whether it does its work."""

    def start(self) -> Self:
        if self._started:
            self._wrapped().start()
        else:
            self._container.start()
            self._started = True
        deadline = time.monotonic() + START_S
        while not self.answers():
            if time.monotonic() > deadline:
                raise ServerUnavailableError(
                    f"{self.describe()} did not answer within {START_S:g} s"
                )
            time.sleep(0.2)
        return self

    def stop(self) -> None:
        if self._started:
            self._wrapped().stop(timeout=30)

    def kill(self) -> None:
        if self._started:
            self._wrapped().kill()

    def dispose(self) -> None:
        if self._started:
            self._container.stop()

    def describe(self) -> str:
        return f"{self.image} in Docker"

    def handle(self) -> dict[str, Any]:
        return {"container": self._wrapped().id}

    def _wrapped(self) -> Any:
        return self._container.get_wrapped_container()


class DockerKafka(_InDocker, KafkaServer):
    image = "apache/kafka:4.1.0"
    inner_port = 9092
    environment: ClassVar = {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_LISTENERS": "PLAINTEXT://:9092,CONTROLLER://:9093",
        "KAFKA_ADVERTISED_LISTENERS": "PLAINTEXT://127.0.0.1:{port}",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    }

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self.port}"

    def answers(self) -> bool:
        return answers(self.bootstrap_servers)


class DockerClickHouse(_InDocker, ClickHouseServer):
    image = "clickhouse/clickhouse-server:26.3"
    inner_port = 8123
    # without it the image's user may not log in from outside the container
    environment: ClassVar = {"CLICKHOUSE_SKIP_USER_SETUP": "1"}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answers(self) -> bool:
        return ping(self.url)

"""Kafka and ClickHouse in containers, where Docker answers.

The host port is fixed before the container starts and the data stays inside it, so that both
survive kill and start as they do for a process.
"""

from __future__ import annotations

import time
from functools import cache
from typing import Any, Self

from spendstream.deploy.embedded.broker import answers, free_port
from tests.servers.base import ServerUnavailableError
from tests.servers.clickhouse import ClickHouseServer, ping
from tests.servers.kafka import KafkaServer

KAFKA_IMAGE = "apache/kafka:4.1.0"
CLICKHOUSE_IMAGE = "clickhouse/clickhouse-server:26.3"


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


class _Container:
    """One container behind one fixed port of 127.0.0.1."""

    def __init__(self, image: str, inner_port: int, environment: dict[str, str]) -> None:
        from testcontainers.core.container import DockerContainer

        self.port = free_port()
        self._container: Any = DockerContainer(image)
        self._container.with_bind_ports(inner_port, self.port)
        for name, value in environment.items():
            self._container.with_env(name, value.format(port=self.port))
        self._started = False

    def start(self) -> None:
        if self._started:
            self.wrapped().start()
        else:
            self._container.start()
            self._started = True

    def wrapped(self) -> Any:
        return self._container.get_wrapped_container()

    def end(self, *, kill: bool) -> None:
        if self._started:
            self.wrapped().kill() if kill else self.wrapped().stop(timeout=30)

    def remove(self) -> None:
        if self._started:
            self._container.stop()


class DockerKafka(KafkaServer):
    kind = "docker"

    def __init__(self) -> None:
        self._container = _Container(
            KAFKA_IMAGE,
            9092,
            {
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
            },
        )

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self._container.port}"

    def start(self) -> Self:
        self._container.start()
        _wait("Kafka in Docker", lambda: answers(self.bootstrap_servers))
        return self

    def stop(self) -> None:
        self._container.end(kill=False)

    def kill(self) -> None:
        self._container.end(kill=True)

    def dispose(self) -> None:
        self._container.remove()

    def describe(self) -> str:
        return f"{KAFKA_IMAGE} in Docker"

    def handle(self) -> dict[str, Any]:
        return {"container": self._container.wrapped().id}


class DockerClickHouse(ClickHouseServer):
    kind = "docker"

    def __init__(self) -> None:
        # without it the image's user may not log in from outside the container
        access = {"CLICKHOUSE_SKIP_USER_SETUP": "1"}
        self._container = _Container(CLICKHOUSE_IMAGE, 8123, access)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._container.port}"

    def start(self) -> Self:
        self._container.start()
        _wait("ClickHouse in Docker", lambda: ping(self.url))
        return self

    def stop(self) -> None:
        self._container.end(kill=False)

    def kill(self) -> None:
        self._container.end(kill=True)

    def dispose(self) -> None:
        self._container.remove()

    def describe(self) -> str:
        return f"{CLICKHOUSE_IMAGE} in Docker"

    def handle(self) -> dict[str, Any]:
        return {"container": self._container.wrapped().id}


def _wait(name: str, answered: Any, timeout: float = 120.0) -> None:
    deadline = time.monotonic() + timeout
    while not answered():
        if time.monotonic() > deadline:
            raise ServerUnavailableError(f"{name} did not answer within {timeout:g} s")
        time.sleep(0.2)

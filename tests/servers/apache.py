"""Apache Kafka itself under a JVM, from its jars: one KRaft node, for machines without Docker."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

from spendstream.deploy.embedded.broker import free_port
from tests.servers.base import ServerUnavailableError
from tests.servers.kafka import LocalKafka

_POM = Path(__file__).with_name("pom.xml")
VERSION = re.findall(r"<kafka\.version>(.+)</kafka\.version>", _POM.read_text())[0]

# One node: nothing can be replicated. Few internal partitions and no initial rebalance delay: a
# test waits for both. A short broker session: after kill -9 the node cannot register again before
# its last one has run out. Topics are made by whoever declares them, never by a typing error.
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={logs}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
"""
MINDS_ACLS = """\
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=true
"""


class ApacheKafka(LocalKafka):
    """Apache Kafka on free ports of 127.0.0.1, its log under a directory of its own."""

    kind = "apache"
    name = "Apache Kafka"

    def __init__(self, data_dir: Path | None = None, properties: str = "") -> None:
        """Raises ServerUnavailableError where Java or Maven is missing.

        Args:
            properties: further lines of server.properties.
        """
        self._jars = jars()
        self._further = properties
        super().__init__(data_dir)
        self._properties = self._directory.path / "server.properties"
        self._formatted = False

    def command(self) -> list[str]:
        if not self._formatted:
            self._format()
        return self._java("kafka.Kafka", str(self._properties), heap="1g")

    def describe(self) -> str:
        return f"Apache Kafka {VERSION} under a JVM"

    def partition_directories(self, topic: str) -> list[Path]:
        """Where the logs of a topic's partitions lie."""
        return sorted((self._directory.path / "logs").glob(f"{topic}-*"))

    def _format(self) -> None:
        while (controller_port := free_port()) == self.port:
            pass  # the broker's own is free, too, until it listens
        self._properties.write_text(
            _PROPERTIES.format(
                port=self.port, controller_port=controller_port, logs=self._directory.path / "logs"
            )
            + self._further
        )
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        tool = ["kafka.tools.StorageTool", "format", "-t", f"x{cluster[1:]}"]
        done = subprocess.run(
            self._java(*tool, "-c", str(self._properties), heap="128m"),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ServerUnavailableError(
                f"Kafka's storage tool failed:\n{done.stdout}{done.stderr}"
            )
        self._formatted = True

    def _java(self, *arguments: str, heap: str) -> list[str]:
        return ["java", f"-Xmx{heap}", "-Dlog4j2.level=ERROR", "-cp", f"{self._jars}/*", *arguments]


def missing_tools() -> list[str]:
    """What this way of running Kafka needs and the machine lacks."""
    needed = ["java"] if _cache().is_dir() else ["java", "mvn"]
    return [tool for tool in needed if shutil.which(tool) is None]


def jars() -> Path:
    """The directory of Kafka's jars, fetched once through Maven and kept between checkouts."""
    if lacking := missing_tools():
        raise ServerUnavailableError(f"Apache Kafka needs {' and '.join(lacking)} on the PATH")
    cache = _cache()
    cache.parent.mkdir(parents=True, exist_ok=True)
    with cache.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if cache.is_dir():
            return cache
        # renamed into place only when whole: half a directory would be taken for all of it
        unfinished = Path(tempfile.mkdtemp(dir=cache.parent))
        command = ["mvn", "-q", "-B", "-f", str(_POM), "dependency:copy-dependencies"]
        done = subprocess.run(
            [*command, f"-DoutputDirectory={unfinished}"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise ServerUnavailableError(
                f"Maven could not get Kafka's jars:\n{done.stdout[-2000:]}"
            )
        unfinished.rename(cache)
    return cache


def _cache() -> Path:
    given = os.environ.get("SPENDSTREAM_TEST_CACHE")
    home = Path(given) if given else Path.home() / ".cache" / "spendstream"
    # the pom decides what is in it, so a changed pom is another directory
    stamp = uuid.uuid5(uuid.NAMESPACE_OID, _POM.read_text()).hex[:8]
    return home / f"kafka-{VERSION}-{stamp}"

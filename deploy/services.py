"""The processes of the embedded stack: how each is run, and when it is ready."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from spendstream.deploy import clickhouse
from spendstream.deploy.embedded.broker import answers, broker_command
from spendstream.deploy.home import Home
from spendstream.deploy.processes import Service
from spendstream.deploy.settings import Settings

BROKER: Final = "broker"
CLICKHOUSE: Final = "clickhouse"
WORKER: Final = "worker"
SINK: Final = "sink"

# the embedded broker lets a new group wait half a session before it starts
_SESSION: Final = ("--session-timeout", "4")


@dataclass(frozen=True, slots=True)
class Services:
    """Of one stack, at its addresses."""

    home: Home
    settings: Settings
    bootstrap_servers: str
    clickhouse_url: str
    metrics_ports: Mapping[str, int]
    """Of worker and sink."""

    def broker(self) -> Service:
        port = int(self.bootstrap_servers.rpartition(":")[2])
        return Service(
            BROKER,
            tuple(broker_command(port)),
            self.home.log(BROKER),
            ready=lambda: answers(self.bootstrap_servers),
            start_s=20,
            stop_s=5,
        )

    def clickhouse(self) -> Service:
        port = self.clickhouse_url.rpartition(":")[2]
        command = (sys.executable, "-m", "spendstream.deploy.embedded.chdb_server")
        return Service(
            CLICKHOUSE,
            (*command, "--data-dir", str(self.home.clickhouse), "--port", port),
            self.home.log(CLICKHOUSE),
            ready=lambda: clickhouse.answers(self.clickhouse_url),
            orphan_signal=signal.SIGTERM,
        )

    def worker(self) -> Service:
        return self._ours(WORKER, "--group", self.settings.worker_group, *_SESSION)

    def sink(self) -> Service:
        return self._ours(SINK, "--group", self.settings.sink_group, "--mirror", *_SESSION)

    def _ours(self, name: str, *options: str) -> Service:
        ready_file = self.home.ready_file(name)
        addresses = {
            "SPENDSTREAM_HOME": str(self.home.path),
            "SPENDSTREAM_BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "SPENDSTREAM_CLICKHOUSE_URL": self.clickhouse_url,
            "SPENDSTREAM_CLICKHOUSE_DATABASE": self.settings.clickhouse_database,
        }
        command = (sys.executable, "-m", "spendstream.deploy.cli", name)
        port = ("--metrics-port", str(self.metrics_ports[name]))
        return Service(
            name,
            (*command, "--ready-file", str(ready_file), *port, *options),
            self.home.log(name),
            ready=ready_file.exists,
            ready_file=ready_file,
            environment=addresses,
        )

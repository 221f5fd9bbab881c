"""A worker or sink as its command runs it, and what it tells over HTTP."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from spendstream.deploy.embedded.broker import free_port
from tests.support.rig import Rig
from tests.support.waiting import until
from tests.support.workers import Worker

_COMMAND = """
import os, sys
ready, command, port, group, kafka, clickhouse, database = sys.argv[1:]
os.environ["SPENDSTREAM_BOOTSTRAP_SERVERS"] = kafka
os.environ["SPENDSTREAM_CLICKHOUSE_URL"] = clickhouse
os.environ["SPENDSTREAM_CLICKHOUSE_DATABASE"] = database
sys.argv = ["spendstream", command, "--group", group, "--ready-file", ready, "--metrics-port", port]
from spendstream.deploy.cli import main
main()
"""


class Watched:
    """A process and what it tells."""

    def __init__(self, rig: Rig, command: str, clickhouse: str, database: str) -> None:
        self._port = free_port()
        self.worker = Worker(
            _COMMAND,
            rig.directory,
            command,
            *(command, str(self._port), f"{rig.group}-{command}", rig.bootstrap),
            *(clickhouse, database),
        )
        rig.workers.append(self.worker)

    def health(self) -> tuple[int, dict[str, Any]]:
        """Status and body; 0 where nobody listens yet."""
        try:
            with urllib.request.urlopen(self._address("healthz"), timeout=5) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except urllib.error.URLError:
            return 0, {}

    def first_health(self) -> tuple[int, dict[str, Any]]:
        until(lambda: self.health()[0] > 0, 30, lambda: self.worker.log[-3000:])
        return self.health()

    def figures(self) -> dict[tuple[str, ...], float]:
        """Each sample: its name without `spendstream_`, then its labels' values by label."""
        with urllib.request.urlopen(self._address("metrics"), timeout=5) as answer:
            text = answer.read().decode()
        return {
            (
                sample.name.removeprefix("spendstream_"),
                *(value for _, value in sorted(sample.labels.items())),
            ): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def _address(self, path: str) -> str:
        return f"http://127.0.0.1:{self._port}/{path}"

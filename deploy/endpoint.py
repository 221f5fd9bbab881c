"""`/metrics` for Prometheus and `/healthz` for whoever restarts and routes, over HTTP.

    200 {"healthy": true, "reasons": [], "assigned": 4, "running": 4}
    503 {"healthy": false, "reasons": ["partition 2 does not run: …"], "assigned": 4, "running": 3}

A part says how to ask whether it is well; that it is served, and where, is decided here.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from prometheus_client import disable_created_metrics
from prometheus_client.exposition import MetricsHandler

from spendstream.deploy.console import CommandError
from spendstream.deploy.failures import UNAVAILABLE

LOOPBACK: Final = "127.0.0.1"
Health: TypeAlias = Callable[[], tuple[Sequence[str], Mapping[str, int]]]


class Endpoint:
    """Listens from the start, on daemon threads, until the process ends or `close`."""

    def __init__(self, host: str, port: int) -> None:
        """Raises CommandError: the address cannot be listened on."""
        # a third of all series, which no query asks for
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._health: Health = lambda: (["it is starting"], {})
        handler = type("Handler", (_Handler,), {"endpoint": self})
        try:
            self._server = ThreadingHTTPServer((host, port), handler)
        except OSError as error:
            told = f"port {port} cannot be used: {error.strerror or error} (on {host})"
            raise CommandError(told, UNAVAILABLE) from None
        threading.Thread(target=self._server.serve_forever, name="endpoint", daemon=True).start()

    def watch(self, health: Health) -> None:
        """From now on this is asked whether the process is well."""
        self._health = health

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def answer(self) -> tuple[HTTPStatus, bytes]:
        """What `/healthz` says."""
        reasons, figures = self._health()
        status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
        said = {"healthy": not reasons, "reasons": list(reasons), **figures}
        return status, json.dumps(said).encode() + b"\n"


class _Handler(MetricsHandler):
    endpoint: Endpoint

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/metrics":
            super().do_GET()
        elif path == "/healthz":
            status, body = self.endpoint.answer()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        else:
            self.send_error(HTTPStatus.NOT_FOUND, "there are /metrics and /healthz")


def watcher(host: str, port: int | None) -> Callable[[Health], None] | None:
    """For a part that says how to ask it; None: no port was asked for. Raises CommandError."""
    return None if port is None else Endpoint(host, port).watch

"""Between the sinks and ClickHouse: passes everything on, and misbehaves where a fault says so.

It knows of every insert what ClickHouse answered and what the sink was told, which is what a fault
shows as its evidence.
"""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import parse_qs, urlsplit

from spendstream.deploy.embedded.broker import free_port

_INSERT: Final = re.compile(rb"INSERT INTO `?(\w+)")
_HOP_BY_HOP: Final = {"connection", "transfer-encoding", "content-length", "keep-alive"}
REQUEST_S: Final = 60


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def ok(self) -> bool:
        return self.status == 200


@dataclass(slots=True)
class Insert:
    """An insert of a sink on its way to ClickHouse; `answer` is what ClickHouse said."""

    table: str
    token: str
    forward: Callable[[], Answer]

    @property
    def partition(self) -> int:
        return int(self.token.split(":")[1])


Misbehaviour = Callable[[Insert], Answer | None]
"""What to do with an insert instead of passing it on; None drops the connection."""


class Proxy:
    """`misbehave` is asked at every insert until it is set to None."""

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self.misbehave: Misbehaviour | None = None
        self.acknowledged = 0
        """Inserts that ClickHouse has taken and whose sink was told so."""
        self.refused = 0
        """Requests of sinks that found nobody, or that were answered with an error."""
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                proxy._serve(self)

            do_GET = do_POST

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self._server = _Server(("127.0.0.1", free_port()), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("content-length") or 0))
        url = parse_qs(urlsplit(request.path).query)

        def forward() -> Answer:
            return self._forward(request, body)

        token = url.get("insert_deduplication_token", [""])[0]
        found = _INSERT.match(url.get("query", [""])[0].encode() + body) if token else None
        try:
            if found is None:
                answer: Answer | None = forward()
            else:
                insert = Insert(found.group(1).decode(), token, forward)
                answer = self.misbehave(insert) if self.misbehave else forward()
        except (OSError, http.client.HTTPException):
            answer = None
        well = answer is not None and answer.ok
        self.acknowledged += well and found is not None
        self.refused += not well
        try:
            self._answer(request, answer)
        except OSError:  # the sink is gone
            request.close_connection = True

    def _forward(self, request: BaseHTTPRequestHandler, body: bytes) -> Answer:
        host, port = self._target.hostname or "", self._target.port or 8123
        connection = http.client.HTTPConnection(host, port, timeout=REQUEST_S)
        try:
            headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP_BY_HOP}
            connection.request(request.command, request.path, body or None, headers)
            response = connection.getresponse()
            return Answer(response.status, response.getheaders(), response.read())
        finally:
            connection.close()

    def _answer(self, request: BaseHTTPRequestHandler, answer: Answer | None) -> None:
        if answer is None:
            request.close_connection = True
            request.connection.close()
            return
        request.send_response(answer.status)
        for name, value in answer.headers:
            if name.lower() not in _HOP_BY_HOP:
                request.send_header(name, value)
        request.send_header("Content-Length", str(len(answer.body)))
        request.end_headers()
        request.wfile.write(answer.body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A sink that was killed in the middle of its request is what this is for."""

"""A proxy before ClickHouse: passes everything on, unless who made it wants it otherwise."""

from __future__ import annotations

import http.client
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import parse_qs, urlsplit

REQUEST_S: Final = 60
_INSERT: Final = re.compile(rb"INSERT INTO `?(\w+)")
_HOP_BY_HOP: Final = {"connection", "transfer-encoding", "content-length", "keep-alive"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What ClickHouse says, or what is told in its place."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def ok(self) -> bool:
        return self.status == 200


Forward = Callable[[], Answer]


@dataclass(frozen=True, slots=True)
class Statement:
    """A request on its way. `table` is that of an INSERT, `token` its deduplication token."""

    text: bytes
    table: str | None
    token: str
    forward: Forward


class ClickHouseProxy(ABC):
    """`answer` decides; what it returns is told to the client, None drops the connection."""

    def __init__(self, target: str, port: int = 0) -> None:
        self._target = urlsplit(target)
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                proxy._serve(self)

            do_GET = do_POST

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self._server = _Server(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @abstractmethod
    def answer(self, statement: Statement) -> Answer | None:
        """What the client is told. May raise OSError and HTTPException: the connection drops."""

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        body = _body(request)
        url = parse_qs(urlsplit(request.path).query)
        text = url.get("query", [""])[0].encode() + body
        insert = _INSERT.match(text)
        statement = Statement(
            text,
            insert.group(1).decode() if insert else None,
            url.get("insert_deduplication_token", [""])[0],
            lambda: self._forward(request, body),
        )
        try:
            answer = self.answer(statement)
        except (OSError, http.client.HTTPException):
            answer = None
        try:
            _tell(request, answer)
        except OSError:  # the client is gone
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


def _body(request: BaseHTTPRequestHandler) -> bytes:
    """All of it: clickhouse-connect sends the rows of `insert` in chunks."""
    if "chunked" not in request.headers.get("transfer-encoding", ""):
        return request.rfile.read(int(request.headers.get("content-length") or 0))
    chunks: list[bytes] = []
    while size := int(request.rfile.readline(), 16):
        chunks.append(request.rfile.read(size))
        request.rfile.readline()
    request.rfile.readline()
    return b"".join(chunks)


def _tell(request: BaseHTTPRequestHandler, answer: Answer | None) -> None:
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
        """A client that was killed in the middle of its request is what this is for."""

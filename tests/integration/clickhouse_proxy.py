"""A proxy before ClickHouse that does, once, what the test says at the statement it means."""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import parse_qs, urlsplit

Answer = tuple[int, list[tuple[str, str]], bytes]
Forward = Callable[[], Answer]
Hook = Callable[[Forward], Answer | None]
"""Given how to forward the request, answers it; None drops the connection."""

_INSERT: Final = re.compile(rb"INSERT INTO `?(\w+)")
_SELECT: Final = re.compile(rb"\s*SELECT\b")
_HOP_BY_HOP: Final = {"connection", "transfer-encoding", "content-length", "keep-alive"}


class Proxy:
    """`at_insert(table, hook)` arms the hook for the next insert into the table, `at_select` for
    the next query that reads it."""

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self._hooks: dict[str, Hook] = {}
        self._queries: dict[str, Hook] = {}
        self.tripped = threading.Event()
        self.inserts: list[tuple[str, str]] = []
        """(table, token) of every insert that came by."""
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                proxy._serve(self)

            do_GET = do_POST

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def at_insert(self, table: str, hook: Hook) -> None:
        self.tripped.clear()
        self._hooks[table] = hook

    def at_select(self, table: str, hook: Hook) -> None:
        self.tripped.clear()
        self._queries[table] = hook

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("content-length") or 0))
        url = parse_qs(urlsplit(request.path).query)
        hook = None
        statement = url.get("query", [""])[0].encode() + body
        if insert := _INSERT.match(statement):
            table = insert.group(1).decode()
            self.inserts.append((table, url.get("insert_deduplication_token", [""])[0]))
            hook = self._hooks.pop(table, None)
        elif _SELECT.match(statement):
            for table in list(self._queries):
                if re.search(rf"\bFROM {table}\b".encode(), statement):
                    hook = self._queries.pop(table)

        def forward() -> Answer:
            host, port = self._target.hostname or "", self._target.port or 8123
            connection = http.client.HTTPConnection(host, port, timeout=60)
            headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP_BY_HOP}
            connection.request(request.command, request.path, body or None, headers)
            response = connection.getresponse()
            answer = response.status, response.getheaders(), response.read()
            connection.close()
            return answer

        try:
            answer = hook(forward) if hook else forward()
        except OSError:
            answer = None
        if hook:
            self.tripped.set()
        try:
            self._answer(request, answer)
        except OSError:
            request.close_connection = True

    def _answer(self, request: BaseHTTPRequestHandler, answer: Answer | None) -> None:
        if answer is None:
            request.close_connection = True
            request.connection.close()
            return
        status, headers, body = answer
        request.send_response(status)
        for name, value in headers:
            if name.lower() not in _HOP_BY_HOP:
                request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)


@contextmanager
def proxy(target: str) -> Iterator[Proxy]:
    made = Proxy(target)
    try:
        yield made
    finally:
        made.close()

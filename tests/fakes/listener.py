"""The sockets: a thread a connection, which reads requests and has them answered."""

from __future__ import annotations

import email
import email.policy
import json
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from tests.fakes.answer import Json, Received
from tests.fakes.connection import CutError


class Listener(ThreadingHTTPServer):
    # server_close waits for them, so that no test has the threads of the one before
    daemon_threads = False
    request_queue_size = 128

    def __init__(
        self,
        record: Callable[[Received], None],
        answer: Callable[[Received, socket.socket], None],
    ) -> None:
        self.record = record
        self.answer = answer
        self.mistakes: list[Exception] = []
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: object, client_address: object) -> None:
        assert isinstance(request, socket.socket)
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: object) -> None:
        assert isinstance(request, socket.socket)
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """What idles between two requests of a client that is still there would idle for ever."""
        with self._lock:
            for connection in self._open:
                with suppress(OSError):  # it hung up first
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        error = sys.exception()
        # an OSError is a client that is gone in the middle of its own request
        if isinstance(error, Exception) and not isinstance(error, OSError):
            self.mistakes.append(error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # an answer is several writes: with Nagle's algorithm each would wait for the client's ACK
    disable_nagle_algorithm = True
    server: Listener

    def do_POST(self) -> None:
        request = self._received()
        self.server.record(request)
        try:
            self.server.answer(request, self.connection)
        except CutError:
            self.close_connection = True
        except OSError:
            request.client_gone = True
            self.close_connection = True
        finally:
            request.ended.set()

    do_GET = do_POST
    do_DELETE = do_POST

    def _received(self) -> Received:
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        headers = {name.lower(): value for name, value in self.headers.items()}
        raw = self.rfile.read(int(headers.get("content-length", 0)))
        body = _parsed(raw, headers.get("content-type", ""))
        return Received(self.command, url.path, query, headers, raw, body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def _parsed(raw: bytes, content_type: str) -> Json:
    if content_type.startswith("multipart/form-data"):
        return _form(raw, content_type)
    try:
        value = json.loads(raw or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _form(raw: bytes, content_type: str) -> Json:
    """A file's field is its name."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    form: Json = {}
    for part in email.message_from_bytes(head + raw, policy=email.policy.HTTP).iter_parts():
        name = str(part.get_param("name", header="content-disposition"))
        content = part.get_payload(decode=True)
        form[name] = part.get_filename() or (content.decode() if isinstance(content, bytes) else "")
    return form

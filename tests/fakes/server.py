"""The server, its script and what it saw."""

from __future__ import annotations

import email
import email.policy
import json
import socket
import sys
import threading
from collections import defaultdict, deque
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Final, Self
from urllib.parse import parse_qsl, urlsplit

from tests.fakes.answer import Answer, Json, Received
from tests.fakes.anthropic import Anthropic
from tests.fakes.connection import Connection, CutError
from tests.fakes.faults import Fault
from tests.fakes.google import Google
from tests.fakes.openai import OpenAI
from tests.fakes.provider import Provider
from tests.fakes.reply import whole
from tests.fakes.spoilt import reply_of

SCRIPT: Final = "x-fake"
"""The header that names the script whose next answer a request wants."""


class FakeProviders:
    """OpenAI, Anthropic and Google on one port of 127.0.0.1, by their paths.

    A request takes the next answer of its script: that which its `x-fake` header names, for calls
    in parallel, else the nameless one. Where the script is at its end it is `default`.
    """

    def __init__(self) -> None:
        self.default = Answer()
        self.requests: list[Received] = []
        self._openai = OpenAI()
        self._anthropic = Anthropic()
        self._google = Google()
        self._scripts: dict[str, deque[Answer]] = defaultdict(deque)
        self._seen = threading.Condition()
        self._server = _Server(self)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def openai_url(self) -> str:
        return f"{self.url}/v1"

    @property
    def azure_url(self) -> str:
        """An `azure_endpoint`: the SDK adds `/openai/deployments/…` itself."""
        return self.url

    @property
    def anthropic_url(self) -> str:
        return self.url

    @property
    def google_url(self) -> str:
        return self.url

    def next(self, *answers: Answer | Fault, script: str = "") -> None:
        """What the next requests are told, a request each; a bare fault has the default answer."""
        with self._seen:
            self._scripts[script].extend(
                answer if isinstance(answer, Answer) else replace(self.default, fault=answer)
                for answer in answers
            )

    def release(self) -> None:
        """Every request that was received so far goes on, however it is held."""
        with self._seen:
            for request in self.requests:
                request.released.set()

    def wait_for(self, count: int, seconds: float = 10) -> list[Received]:
        """The requests, as soon as there are so many. Raises TimeoutError."""
        with self._seen:
            if not self._seen.wait_for(lambda: len(self.requests) >= count, seconds):
                raise TimeoutError(f"{len(self.requests)} requests, not {count}")
            return list(self.requests)

    def close(self) -> None:
        """Raises what went wrong within the fake itself, whose client saw a cut connection."""
        self.release()
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()
        if self._server.mistakes:
            raise ExceptionGroup(
                "the fake is broken, or was asked for nonsense", self._server.mistakes
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _record(self, method: str, target: str, headers: dict[str, str], raw: bytes) -> Received:
        url = urlsplit(target)
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        with self._seen:
            number = len(self.requests) + 1
            body = _parsed(raw, headers.get("content-type", ""))
            request = Received(number, method, url.path, query, headers, raw, body)
            request.provider = self._provider(request).name
            self.requests.append(request)
            self._seen.notify_all()
        return request

    def _answer(self, request: Received, sock: socket.socket) -> None:
        """Raises CutError, and OSError where the client is gone."""
        provider = self._provider(request)
        connection = Connection(sock, request)
        endpoint = provider.endpoint(request)
        if endpoint is None:
            error = provider.error(404, f"Invalid URL ({request.method} {request.path})")
            connection.send(whole(error, 404), None)
            return
        answer = self._next_of(request.headers.get(SCRIPT, ""))
        connection.send(reply_of(provider, endpoint, request, answer), answer.fault)

    def _provider(self, request: Received) -> Provider:
        if request.path.startswith("/v1/messages") or "anthropic-version" in request.headers:
            return self._anthropic
        # Vertex AI's paths have no prefix of their own, but every call of Google's ends in a verb
        verb = ":" in request.path.rpartition("/")[2]
        if verb or request.path.startswith("/v1beta") or "x-goog-api-key" in request.headers:
            return self._google
        return self._openai

    def _next_of(self, script: str) -> Answer:
        with self._seen:
            answers = self._scripts[script]
            return answers.popleft() if answers else self.default


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


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # an answer is several writes: with Nagle's algorithm each would wait for the client's ACK
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = self.server.fake._record(self.command, self.path, headers, raw)
        try:
            self.server.fake._answer(request, self.connection)
        except CutError:
            self.close_connection = True
        except OSError:
            request.client_gone = True
            self.close_connection = True
        finally:
            request.ended.set()

    do_GET = do_POST
    do_DELETE = do_POST

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


class _Server(ThreadingHTTPServer):
    # server_close waits for them, so that no test has the threads of the one before
    daemon_threads = False
    request_queue_size = 128

    def __init__(self, fake: FakeProviders) -> None:
        self.fake = fake
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

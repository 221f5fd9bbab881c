"""The server, its script and what it saw."""

from __future__ import annotations

import socket
import threading
from collections import defaultdict, deque
from dataclasses import replace
from types import TracebackType
from typing import Final, Self

from tests.fakes.answer import Answer, Received
from tests.fakes.anthropic import Anthropic
from tests.fakes.connection import Connection
from tests.fakes.faults import Fault
from tests.fakes.google import Google
from tests.fakes.listener import Listener
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
        self._server = Listener(self._record, self._answer)
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

    def _record(self, request: Received) -> None:
        with self._seen:
            self.requests.append(request)
            request.number = len(self.requests)
            request.provider = self._provider(request).name
            self._seen.notify_all()

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

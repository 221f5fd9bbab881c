"""An answer on its way to the client, and what goes wrong with it."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from http.client import responses
from typing import Final

from tests.fakes.answer import Received
from tests.fakes.faults import Cuts, Delays, Empty, Fails, Fault, Hangs, Malformed
from tests.fakes.reply import JSON, Reply, Streamed, Whole

_LOOK_S: Final = 0.01


class CutError(Exception):
    """The connection is to be closed, now."""


class Connection:
    """Raises CutError, and OSError where the client is gone."""

    def __init__(self, sock: socket.socket, request: Received) -> None:
        self._socket = sock
        self._request = request

    def before(self, fault: Fault | None) -> None:
        """What is to happen before anything is sent."""
        match fault:
            case Hangs(after=None):
                self._hold(None)
            case Delays(seconds=seconds, after=None):
                self._hold(seconds)
            case Cuts(after=None):
                raise CutError

    def send(self, reply: Reply, fault: Fault | None, error_chunk: Callable[[int], bytes]) -> None:
        if isinstance(fault, Empty):
            reply = Whole(b"", content_type=reply.content_type, headers=reply.headers)
        if isinstance(reply, Streamed):
            self._send_stream(reply, fault, error_chunk)
        else:
            self._send_whole(reply, fault)

    def _send_whole(self, reply: Whole, fault: Fault | None) -> None:
        body = _broken_off(reply.body) if isinstance(fault, Malformed) else reply.body
        head = self._head(reply, reply.status, f"content-length: {len(body)}")
        if not isinstance(fault, Hangs | Delays | Cuts) or fault.after is None:
            self._socket.sendall(head + body)
            return
        half = len(body) // 2
        self._socket.sendall(head + body[:half])
        self._within(fault)
        self._socket.sendall(body[half:])

    def _send_stream(
        self, reply: Streamed, fault: Fault | None, error_chunk: Callable[[int], bytes]
    ) -> None:
        self._socket.sendall(self._head(reply, 200, "transfer-encoding: chunked"))
        chunks = list(reply.chunks)
        at = None
        if isinstance(fault, Malformed):
            broken = min(fault.after, len(chunks) - 1)
            chunks[broken] = _broken_off(chunks[broken].rstrip()) + b"\n\n"
        elif fault is not None and not isinstance(fault, Empty) and fault.after is not None:
            at = min(fault.after, len(chunks))
        for sent, chunk in enumerate((*chunks, b"")):
            if sent == at:
                if isinstance(fault, Fails):
                    self._chunk(error_chunk(sent))
                    break
                if isinstance(fault, Hangs | Delays | Cuts):
                    self._within(fault)
            if chunk:
                self._chunk(chunk)
        self._socket.sendall(b"0\r\n\r\n")

    def _within(self, fault: Hangs | Delays | Cuts) -> None:
        match fault:
            case Hangs():
                self._hold(None)
            case Delays(seconds=seconds):
                self._hold(seconds)
            case Cuts():
                raise CutError

    def _head(self, reply: Reply, status: int, length: str) -> bytes:
        lines = [
            f"HTTP/1.1 {status} {responses.get(status, 'Overloaded')}",
            f"content-type: {reply.content_type}",
            # each provider's name for it
            f"x-request-id: req_{self._request.number}",
            f"request-id: req_{self._request.number}",
            *(f"{name}: {value}" for name, value in reply.headers.items()),
            length,
        ]
        self._request.status = status
        return "\r\n".join([*lines, "", ""]).encode()

    def _chunk(self, chunk: bytes) -> None:
        self._socket.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk))

    def _hold(self, seconds: float | None) -> None:
        """Until it is over, or released. Raises ConnectionResetError where the client hangs up."""
        end = None if seconds is None else time.monotonic() + seconds
        while not self._request.released.is_set():
            left = _LOOK_S if end is None else min(_LOOK_S, end - time.monotonic())
            if left <= 0:
                return
            readable, _, _ = select.select([self._socket], [], [], left)
            if readable and not self._socket.recv(1, socket.MSG_PEEK):
                raise ConnectionResetError("the client hung up")


def _broken_off(text: bytes) -> bytes:
    """Without its last brace."""
    return text[:-1]


def failure(fault: Fails, body: bytes) -> Whole:
    ms, headers = fault.retry_after_ms, {}
    if ms is not None:
        headers = {"retry-after": str(ms // 1000), "retry-after-ms": str(ms)}
    return Whole(body, fault.status, JSON, headers)

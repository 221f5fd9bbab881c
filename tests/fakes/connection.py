"""An answer on its way to the client, and what goes wrong on the way."""

from __future__ import annotations

import select
import socket
import time
from http.client import responses
from typing import Final

from tests.fakes.answer import Received
from tests.fakes.faults import Cuts, Delays, Fault, Hangs, Timing
from tests.fakes.reply import Reply, Streamed, Whole

_LOOK_S: Final = 0.01


class CutError(Exception):
    """The connection is to be closed, now."""


class Connection:
    """Raises CutError, and OSError where the client is gone."""

    def __init__(self, sock: socket.socket, request: Received) -> None:
        self._socket = sock
        self._request = request

    def send(self, reply: Reply, fault: Fault | None) -> None:
        timing = fault if isinstance(fault, Hangs | Delays | Cuts) else None
        if timing is not None and timing.after is None:
            self._happens(timing)
            timing = None
        if isinstance(reply, Streamed):
            self._send_stream(reply, timing)
        else:
            self._send_whole(reply, timing)

    def _send_whole(self, reply: Whole, fault: Timing | None) -> None:
        message = self._head(reply, reply.status, f"content-length: {len(reply.body)}") + reply.body
        if fault is None:
            self._socket.sendall(message)
            return
        half = len(message) - len(reply.body) // 2
        self._socket.sendall(message[:half])
        self._happens(fault)
        self._socket.sendall(message[half:])

    def _send_stream(self, reply: Streamed, fault: Timing | None) -> None:
        self._socket.sendall(self._head(reply, 200, "transfer-encoding: chunked"))
        before = reply.chunks if fault is None else reply.chunks[: fault.after]
        for chunk in before:
            self._chunk(chunk)
        if fault is not None:
            self._happens(fault)
        for chunk in reply.chunks[len(before) :]:
            self._chunk(chunk)
        self._socket.sendall(b"0\r\n\r\n")

    def _happens(self, fault: Timing) -> None:
        match fault:
            case Hangs():
                self._hold(None)
            case Delays():
                self._hold(fault.seconds)
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

"""Reading along with whoever reads a response of httpx (or httpx2, which the SDKs use): no byte is
read that the caller does not read, and the caller gets the SDK's own objects.

A response's reading all goes through `iter_bytes` and its closing through `close`, or through their
asynchronous twins. Until its end the one response is of a subclass that has its own of these.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final, Protocol

from spendstream.producers.wrap.body import end_with
from spendstream.producers.wrap.call import Call
from spendstream.producers.wrap.forgotten import release, when_forgotten
from spendstream.producers.wrap.seen import MAX_KEPT, Hiding, Seen, parsed

_READING: Final = "_spendstream_reading"


def follow(response: Any, call: Call, *, hide_usage: bool = False) -> None:
    """Let `call` end with the response, however that ends: read, closed, failed, or forgotten."""
    kinds = response.headers.get("content-type", "")
    reader: _Reader = (
        _Events(Hiding() if hide_usage else Seen(), call)
        if "event-stream" in kinds
        else _Body(call, text="json" in kinds)
    )
    kind: Any = type(response)
    forgotten = when_forgotten(response, reader.done, GeneratorExit())
    vars(response)[_READING] = _Reading(reader, kind, forgotten)
    response.__class__ = _followed(kind)


class _Reader(Protocol):
    def feed(self, data: bytes) -> bytes:
        """What passes. Returns what of it the caller is to see."""

    def flush(self) -> bytes:
        """All has passed. Returns what of it the caller is still to see."""

    def done(self, error: BaseException | None) -> None:
        """Nothing more passes. May be called again."""


class _Reading:
    """Attributes:
    within: whoever reads to the end closes the response from inside its reading, which is no
        hang-up.
    """

    __slots__ = ("_forgotten", "_kind", "reader", "within")

    def __init__(self, reader: _Reader, kind: type, forgotten: Any) -> None:
        self.reader = reader
        self.within = False
        self._kind = kind
        self._forgotten = forgotten

    def over(self, response: Any, error: BaseException | None) -> None:
        release(self._forgotten)
        self.reader.done(error)
        if vars(response).pop(_READING, None) is not None:
            response.__class__ = self._kind


@functools.cache
def _followed(kind: Any) -> type[Any]:
    """The subclass of a class of responses."""

    def iter_bytes(response: Any, *args: Any, **kwargs: Any) -> Iterator[bytes]:
        return _read(response, vars(response)[_READING], kind.iter_bytes(response, *args, **kwargs))

    def iter_raw(response: Any, *args: Any, **kwargs: Any) -> Iterator[bytes]:
        inner: Iterator[bytes] = kind.iter_raw(response, *args, **kwargs)
        reading: _Reading = vars(response)[_READING]
        return _read(response, reading, inner) if _plain(response, reading) else inner

    def aiter_bytes(response: Any, *args: Any, **kwargs: Any) -> AsyncIterator[bytes]:
        inner = kind.aiter_bytes(response, *args, **kwargs)
        return _read_async(response, vars(response)[_READING], inner)

    def aiter_raw(response: Any, *args: Any, **kwargs: Any) -> AsyncIterator[bytes]:
        inner: AsyncIterator[bytes] = kind.aiter_raw(response, *args, **kwargs)
        reading: _Reading = vars(response)[_READING]
        return _read_async(response, reading, inner) if _plain(response, reading) else inner

    def close(response: Any) -> None:
        reading: _Reading = vars(response)[_READING]
        try:
            kind.close(response)
        finally:
            if not reading.within:
                reading.over(response, GeneratorExit())

    async def aclose(response: Any) -> None:
        reading: _Reading = vars(response)[_READING]
        try:
            await kind.aclose(response)
        finally:
            if not reading.within:
                reading.over(response, GeneratorExit())

    own = (iter_bytes, aiter_bytes, iter_raw, aiter_raw, close, aclose)
    methods = {method.__name__: method for method in own}
    return type(kind.__name__, (kind,), {"__module__": kind.__module__, **methods})


def _plain(response: Any, reading: _Reading) -> bool:
    """Whether raw bytes are the caller's to read, and can be read along: `iter_bytes` reads them,
    too, and what is compressed tells nothing."""
    encoding = response.headers.get("content-encoding", "identity")
    return not reading.within and encoding == "identity"


def _read(response: Any, reading: _Reading, inner: Any) -> Iterator[bytes]:
    reader = reading.reader
    reading.within = True
    try:
        for data in inner:
            reading.within = False
            if shown := reader.feed(data):
                yield shown
            reading.within = True
        if rest := reader.flush():
            yield rest
        reading.over(response, None)
    except BaseException as error:
        reading.over(response, error)
        raise
    finally:
        inner.close()


async def _read_async(response: Any, reading: _Reading, inner: Any) -> AsyncIterator[bytes]:
    reader = reading.reader
    reading.within = True
    try:
        async for data in inner:
            reading.within = False
            if shown := reader.feed(data):
                yield shown
            reading.within = True
        if rest := reader.flush():
            yield rest
        reading.over(response, None)
    except BaseException as error:
        reading.over(response, error)
        raise
    finally:
        await inner.aclose()


class _Events:
    """A stream of server-sent events."""

    def __init__(self, seen: Seen, call: Call) -> None:
        self._seen = seen
        self._call = call
        self.flush = seen.flush

    def feed(self, data: bytes) -> bytes:
        shown = self._seen.feed(data)
        if self._seen.finished:  # before the caller has seen it: perhaps it reads no further
            self.done(None)
        return shown

    def done(self, error: BaseException | None) -> None:
        seen = self._seen
        if seen.failed:
            self._call.ended(seen, "error")
        elif error is None or seen.finished:
            self._call.ended(seen)
        elif isinstance(error, GeneratorExit) and seen.broken():
            # an SDK that cannot read an event closes the response, as who hangs up does
            self._call.ended(seen, "error")
        else:
            self._call.failed(error, seen)


class _Body:
    """A body that the caller reads piece by piece: one JSON text, or sound."""

    def __init__(self, call: Call, *, text: bool) -> None:
        self._call = call
        self._text = text
        self._kept = bytearray()

    def feed(self, data: bytes) -> bytes:
        if self._text and len(self._kept) <= MAX_KEPT:
            self._kept += data
        return data

    def flush(self) -> bytes:
        return b""

    def done(self, error: BaseException | None) -> None:
        if error is not None:
            self._call.failed(error)
        elif self._text and len(self._kept) <= MAX_KEPT:
            end_with(self._call, parsed(bytes(self._kept)))
        else:
            self._call.ended({})

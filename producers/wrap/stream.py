"""What stands for an iterator of chunks, and passes as one of its class."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from spendstream.producers.wrap.call import Call
from spendstream.producers.wrap.forgotten import when_forgotten


class _Standing:
    def __init__(self, inner: Any, call: Call) -> None:
        self._inner = inner
        self._call = call
        self._chunks: list[Any] = []
        when_forgotten(self, call.failed, GeneratorExit(), self._chunks)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._inner)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if name in ("close", "aclose"):
            return functools.partial(self._close, value)
        return value

    def _close(self, close: Callable[[], Any]) -> Any:
        closed = close()
        if inspect.isawaitable(closed):
            return self._closing(closed)
        self._left()
        return closed

    async def _closing(self, closed: Awaitable[Any]) -> Any:
        try:
            return await closed
        finally:
            self._left()

    def _left(self) -> None:
        """Which is no end where the stream has had one."""
        self._call.failed(GeneratorExit(), self._chunks)


class Stream(_Standing):
    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return self._step(self._inner.__next__)

    def __getattr__(self, name: str) -> Any:
        value = super().__getattr__(name)
        return functools.partial(self._step, value) if name in ("send", "throw") else value

    def _step(self, step: Callable[..., Any], *args: Any) -> Any:
        try:
            chunk = step(*args)
        except StopIteration:
            self._call.ended(self._chunks)
            raise
        except BaseException as error:
            self._call.failed(error, self._chunks)
            raise
        self._chunks.append(chunk)
        return chunk

    def __enter__(self) -> Any:
        entered = self._inner.__enter__()
        return self if entered is self._inner else entered

    def __exit__(self, *error: Any) -> Any:
        try:
            return self._inner.__exit__(*error)
        finally:
            self._left()


class AsyncStream(_Standing):
    def __aiter__(self) -> Any:
        return self

    def __anext__(self) -> Any:
        return self._step(self._inner.__anext__)

    def __getattr__(self, name: str) -> Any:
        value = super().__getattr__(name)
        return functools.partial(self._step, value) if name in ("asend", "athrow") else value

    async def _step(self, step: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        try:
            chunk = await step(*args)
        except StopAsyncIteration:
            self._call.ended(self._chunks)
            raise
        except BaseException as error:
            self._call.failed(error, self._chunks)
            raise
        self._chunks.append(chunk)
        return chunk

    async def __aenter__(self) -> Any:
        entered = await self._inner.__aenter__()
        return self if entered is self._inner else entered

    async def __aexit__(self, *error: Any) -> Any:
        try:
            return await self._inner.__aexit__(*error)
        finally:
            self._left()

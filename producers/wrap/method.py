"""Any method of any object, by its name and what reads its answer."""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Awaitable, Callable
from typing import Any, Final

from spendstream.producers.emitter import UsageEmitter
from spendstream.producers.wrap.call import Call, Called, Extractor
from spendstream.producers.wrap.switch import Patch

_wrapped: Final[dict[tuple[int, str], Patch]] = {}


def wrap(
    owner: Any,
    name: str,
    extractor: Extractor | None,
    provider: str,
    operation: str,
    emitter: UsageEmitter | None,
) -> None:
    """Raises ValueError where there is no such method, or it cannot be replaced."""
    method = inspect.getattr_static(owner, name, None)
    if not callable(getattr(owner, name, None)):
        raise ValueError(f"method: {type(owner).__name__} has no method {name!r}")
    unwrap(owner, name)
    original = (
        method if inspect.isfunction(method) and inspect.isclass(owner) else getattr(owner, name)
    )

    def begin(kwargs: dict[str, Any]) -> Call:
        model = kwargs.get("model")
        called = Called(provider, operation, model if isinstance(model, str) else None)
        return Call(called, emitter, extractor)

    wrapped = _watching(original, begin)
    if isinstance(method, staticmethod | classmethod):
        wrapped = staticmethod(wrapped)
    patch = Patch(owner, name, wrapped)
    try:
        patch.set()
    except (AttributeError, TypeError) as error:
        raise ValueError(f"method: {name!r} cannot be replaced: {error}") from None
    _wrapped[id(owner), name] = patch  # which keeps the owner, so that its id stays its own


def unwrap(owner: Any = None, name: str | None = None) -> None:
    """One method, all of an object, or all."""
    for key, patch in list(_wrapped.items()):
        if (owner is None or patch.owner is owner) and name in (None, key[1]) and patch.undo():
            del _wrapped[key]


def _watching(original: Any, begin: Callable[[dict[str, Any]], Call]) -> Any:
    if inspect.iscoroutinefunction(original):

        @functools.wraps(original)
        async def called(*args: Any, **kwargs: Any) -> Any:
            return await _awaited(original(*args, **kwargs), begin(kwargs))

        return called

    @functools.wraps(original)
    def called_now(*args: Any, **kwargs: Any) -> Any:
        call = begin(kwargs)
        try:
            answer = original(*args, **kwargs)
        except BaseException as error:
            call.failed(error)
            raise
        if inspect.isawaitable(answer):
            return _awaited(answer, call)
        return _answered(answer, call)

    return called_now


async def _awaited(answer: Awaitable[Any], call: Call) -> Any:
    try:
        return _answered(await answer, call)
    except BaseException as error:
        call.failed(error)
        raise


def _answered(answer: Any, call: Call) -> Any:
    """The answer, or what stands for a stream that is still to be read."""
    if hasattr(answer, "__next__") or hasattr(answer, "__anext__"):
        return _Stream(answer, call)
    call.ended(answer)
    return answer


class _Stream:
    """Stands for an iterator of chunks, of either kind, and passes as one of its class."""

    def __init__(self, inner: Any, call: Call) -> None:
        self._inner = inner
        self._call = call
        self._chunks: list[Any] = []
        weakref.finalize(self, call.failed, GeneratorExit(), self._chunks)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._inner)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        try:
            chunk = next(self._inner)
        except StopIteration:
            self._call.ended(self._chunks)
            raise
        except BaseException as error:
            self._call.failed(error, self._chunks)
            raise
        self._chunks.append(chunk)
        return chunk

    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> Any:
        try:
            chunk = await self._inner.__anext__()
        except StopAsyncIteration:
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
            self._call.failed(GeneratorExit(), self._chunks)

    async def __aenter__(self) -> Any:
        entered = await self._inner.__aenter__()
        return self if entered is self._inner else entered

    async def __aexit__(self, *error: Any) -> Any:
        try:
            return await self._inner.__aexit__(*error)
        finally:
            self._call.failed(GeneratorExit(), self._chunks)

    def close(self) -> Any:
        closed = self._inner.close()
        if inspect.isawaitable(closed):
            return self._closing(closed)
        self._call.failed(GeneratorExit(), self._chunks)
        return closed

    async def aclose(self) -> Any:
        return await self._closing(self._inner.aclose())

    async def _closing(self, closed: Awaitable[Any]) -> Any:
        try:
            return await closed
        finally:
            self._call.failed(GeneratorExit(), self._chunks)

"""Any method of any object, by its name and what reads its answer."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Final

from spendstream.producers.emitter import UsageEmitter
from spendstream.producers.wrap.call import Call, Called, Extractor
from spendstream.producers.wrap.stream import AsyncStream, Stream
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
    kind: Any = type(method) if isinstance(method, staticmethod | classmethod) else None
    if not inspect.isclass(owner):
        kind, original = None, getattr(owner, name)
    elif kind is not None:
        original = method.__func__
    else:
        original = method if inspect.isfunction(method) else getattr(owner, name)

    def begin(kwargs: dict[str, Any]) -> Call:
        model = kwargs.get("model")
        called = Called(provider, operation, model if isinstance(model, str) else None)
        return Call(called, emitter, extractor)

    wrapped = _watching(original, begin)
    patch = Patch(owner, name, wrapped if kind is None else kind(wrapped))
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
        with call:
            answer = original(*args, **kwargs)
        if isinstance(answer, asyncio.Future):  # or a task, which its caller may cancel
            answer.add_done_callback(functools.partial(_done, call))
            return answer
        if inspect.isawaitable(answer):
            return _awaited(answer, call)
        return _answered(answer, call)

    return called_now


async def _awaited(answer: Awaitable[Any], call: Call) -> Any:
    with call:
        return _answered(await answer, call)


def _done(call: Call, future: asyncio.Future[Any]) -> None:
    if future.cancelled():
        call.failed(asyncio.CancelledError())
    elif (error := future.exception()) is not None:
        call.failed(error)
    else:
        call.ended(future.result())


def _answered(answer: Any, call: Call) -> Any:
    """The answer, or what stands for a stream that is still to be read."""
    if hasattr(answer, "__next__"):
        return Stream(answer, call)
    if hasattr(answer, "__anext__"):
        return AsyncStream(answer, call)
    call.ended(answer)
    return answer

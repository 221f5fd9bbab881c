"""Who and what a call is for, said once around it and not at every call.

    with track(workspace_id="ws-1", user_id="u-7", request_type="grading"):
        record(provider="openai", model="gpt-4o", input_tokens=900, output_tokens=120)

    @track(request_type="summary", tags={"team": "search"})
    async def summarise(document): ...

What an inner `track` says is added to what the outer one said, and stands above it. It holds in the
coroutines and tasks that are begun within; to another thread it is handed with `carried`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Any, Final, ParamSpec, Self, TypeVar, cast

from pydantic import JsonValue

from spendstream.schemas.event import Trackable, UsageEvent

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

_MERGED: Final = ("tags", "metadata")
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class _Frame:
    """What holds inside a `track`; a linked list, so that an exit needs no token of its own.

    Attributes:
        said: by this `track`; fields: by it and those outside.
    """

    owner: object
    said: Mapping[str, Any]
    fields: Mapping[str, Any]
    outer: _Frame | None

    @classmethod
    def within(cls, outer: _Frame | None, owner: object, said: Mapping[str, Any]) -> _Frame:
        fields = dict(outer.fields) if outer is not None else {}
        for name, value in said.items():
            fields[name] = {**fields.get(name, {}), **value} if name in _MERGED else value
        return cls(owner, said, fields, outer)

    def without(self, owner: object) -> _Frame | None:
        """After the exit of an owner: the innermost of its frames is no more."""
        if self.owner is owner:
            return self.outer
        outer = self.outer.without(owner) if self.outer is not None else None
        return self if outer is self.outer else _Frame.within(outer, self.owner, self.said)


_current: ContextVar[_Frame | None] = ContextVar("spendstream_tracking", default=None)


def tracked() -> Mapping[str, Any]:
    """The fields of UsageEvent that hold here, by name."""
    frame = _current.get()
    return frame.fields if frame is not None else _NOTHING


class track:
    """A context manager and a decorator; one object may be used by any number of threads.

    Args:
        workspace_id: who is charged: a customer, a team, an organisation.
        trackable: the object that is worked on, a `Trackable` or (type, id).
        tags: for grouping in reports. Added to those outside.
        metadata: stored, never grouped by. Added to that outside.

    Raises:
        ValueError: a field that no event could have. Raised here and not at the calls within.
    """

    def __init__(
        self,
        *,
        workspace_id: str | None = None,
        user_id: str | None = None,
        api_key_id: str | None = None,
        request_type: str | None = None,
        task_id: str | None = None,
        trackable: Trackable | tuple[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        metadata: Mapping[str, JsonValue] | None = None,
    ) -> None:
        if isinstance(trackable, tuple):
            trackable = Trackable(type=trackable[0], id=trackable[1])
        given: dict[str, Any] = {
            "workspace_id": workspace_id,
            "user_id": user_id,
            "api_key_id": api_key_id,
            "request_type": request_type,
            "task_id": task_id,
            "trackable": trackable,
            "tags": dict(tags) if tags is not None else None,
            "metadata": dict(metadata) if metadata is not None else None,
        }
        self._fields = {name: value for name, value in given.items() if value is not None}
        # the rules are the event's own
        fields = {"provider": "-", "request_model": "-", "workspace_id": "-", **self._fields}
        UsageEvent(**fields)

    def __enter__(self) -> Self:
        _current.set(_Frame.within(_current.get(), self, self._fields))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        frame = _current.get()
        # generators may end in another order than they began in, or where nothing of this holds
        if frame is not None:
            _current.set(frame.without(self))

    def __call__(self, function: F) -> F:
        """Decorate a function, a coroutine function or a generator of either kind."""
        if inspect.iscoroutinefunction(function):
            return cast(F, self._coroutine(function))
        if inspect.isasyncgenfunction(function):
            return cast(F, self._async_generator(function))
        if inspect.isgeneratorfunction(function):
            return cast(F, self._generator(function))

        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return cast(F, called)

    def _coroutine(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        async def called(*args: Any, **kwargs: Any) -> Any:
            with self:
                return await function(*args, **kwargs)

        return called

    def _generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            inner = function(*args, **kwargs)
            step = functools.partial(next, inner)
            try:
                while True:
                    with self:  # between two steps the caller's own holds
                        try:
                            item = step()
                        except StopIteration as end:
                            return end.value
                    try:
                        sent = yield item
                        step = functools.partial(inner.send, sent)
                    except GeneratorExit:
                        raise
                    except BaseException as error:  # thrown in: the generator's to handle
                        step = functools.partial(inner.throw, error)
            finally:
                with self:
                    inner.close()

        return called

    def _async_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        async def called(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            inner = function(*args, **kwargs)
            step = inner.__anext__
            try:
                while True:
                    with self:
                        try:
                            item = await step()
                        except StopAsyncIteration:
                            return
                    try:
                        sent = yield item
                        step = functools.partial(inner.asend, sent)
                    except GeneratorExit:
                        raise
                    except BaseException as error:  # thrown in: the generator's to handle
                        step = functools.partial(inner.athrow, error)
            finally:
                with self:
                    await inner.aclose()

        return called


class held:
    """What holds where this is made holds again within `with`: for what is read elsewhere."""

    def __init__(self) -> None:
        self._frame = _current.get()
        self._outer: _Frame | None = None

    def __enter__(self) -> None:
        self._outer = _current.get()
        _current.set(self._frame)

    def __exit__(self, *error: object) -> None:
        _current.set(self._outer)


def carried(function: Callable[P, T]) -> Callable[P, T]:
    """`function` with what holds here, for a thread that begins with nothing:
    `executor.submit(carried(work), …)`."""
    frame = _current.get()

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> T:
        token = _current.set(frame)
        try:
            return function(*args, **kwargs)
        finally:
            _current.reset(token)

    return called

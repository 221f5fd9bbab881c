"""LiteLLM's callback: one event for every call that it makes to a provider.

    litellm.callbacks = [SpendstreamLogger()]           # the library; or instrument()

    litellm_settings:                                   # the proxy's config.yaml
      callbacks: spendstream.producers.wrap.litellm.logger

A call begins with `log_pre_api_call`, which runs where the caller is, so `track` holds there; what
begins is kept in LiteLLM's own record of the call, and ends with whichever of its other hooks comes
first. Where none comes (the call is cancelled, its stream dropped half-read) it ends with that
record. What never begins, as an answer from LiteLLM's cache, leaves no event.
"""

from __future__ import annotations

import os
import threading
import weakref
from datetime import datetime
from typing import Any, Final

from litellm.integrations.custom_logger import CustomLogger

from spendstream.producers.emitter import UsageEmitter
from spendstream.producers.extract import usage_from
from spendstream.producers.record import use, used
from spendstream.producers.wrap import litellm_names as names
from spendstream.producers.wrap import litellm_read as read
from spendstream.producers.wrap.call import Call, Called, unwatched
from spendstream.producers.wrap.openai import otherwise

SERVERS_VARIABLE: Final = "SPENDSTREAM_BOOTSTRAP_SERVERS"
"""Where the proxy's events go: nobody there calls `use`."""
_BEGUN: Final = "spendstream_call"
_making: Final = threading.Lock()


class _Begun:
    """A call to a provider, in LiteLLM's record of it."""

    def __init__(self, owner: object, called: Called, call: Call) -> None:
        self.owner = owner
        self.called = called
        self.call = call
        self.answer: list[Any] = []
        """The provider's, as it came, where it is no stream."""
        # at exit LiteLLM still delivers what it has: that tells more
        weakref.finalize(self, _forgotten, called, call, self.answer).atexit = False

    def __deepcopy__(self, _: object) -> _Begun:
        return self


class SpendstreamLogger(CustomLogger):
    """Args:
    emitter: default that of `use`; where there is none, one to SPENDSTREAM_BOOTSTRAP_SERVERS.
    """

    def __init__(self, emitter: UsageEmitter | None = None) -> None:
        super().__init__()
        self.emitter = emitter

    def log_pre_api_call(self, model: Any, messages: Any, kwargs: dict[str, Any]) -> None:
        try:
            before = kwargs.get(_BEGUN)
            if before is not None:
                if before.owner is not self and before.call.open:
                    return  # two of us are registered
                before.call.ended(None, "error")  # LiteLLM tries again, and says so to nobody
            self._begin(kwargs)
        except Exception as error:
            unwatched("litellm", self.emitter, error)

    def log_post_api_call(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        begun = kwargs.get(_BEGUN)
        if begun is not None and kwargs.get("stream") is not True:
            begun.answer[:] = [kwargs.get("original_response")]

    def log_success_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        try:
            if kwargs.get("cache_hit") is True:
                return
            if _BEGUN not in kwargs:  # a few providers are asked without log_pre_api_call
                self._begin(kwargs)
            begun = kwargs[_BEGUN]
            if begun is None or not begun.call.open:
                return
            streamed = kwargs.get("stream") is True
            payload = (
                read.put_together(response_obj, sure=read.has_reported(kwargs, response_obj))
                if streamed
                else read.answer(begun.called, begun.answer, response_obj)
            )
            first = kwargs.get("completion_start_time") if streamed else None
            begun.call.ended(payload, end_ms=_ms(end_time), first_ms=_ms(first))
        except Exception as error:
            unwatched("litellm", self.emitter, error)

    def log_failure_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        try:
            begun = kwargs.get(_BEGUN)
            if begun is None or not begun.call.open:  # it has not come as far as the provider
                return
            partial = {"usage": kwargs.get("combined_usage_object"), "model": kwargs.get("model")}
            error = kwargs.get("exception")
            begun.call.failed(
                error if isinstance(error, BaseException) else RuntimeError(),
                read.put_together(partial, sure=False),
                end_ms=_ms(end_time),
            )
        except Exception as error:
            unwatched("litellm", self.emitter, error)

    async def async_log_success_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        self.log_success_event(kwargs, response_obj, start_time, end_time)

    async def async_log_failure_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        self.log_failure_event(kwargs, response_obj, start_time, end_time)

    def _begin(self, kwargs: dict[str, Any]) -> None:
        kwargs[_BEGUN] = None
        operation = names.operation(kwargs)
        if operation is None:
            return
        if self.emitter is None and used() is None:
            _use_the_environments()
        asked = names.asked(kwargs)
        called = Called(
            names.provider(kwargs),
            operation,
            asked.get("model"),
            otherwise=otherwise(operation, asked),
        )
        call = Call(called, self.emitter, otherwise=names.who(kwargs))
        kwargs[_BEGUN] = _Begun(self, called, call)


logger: Final = SpendstreamLogger()


def _use_the_environments() -> None:
    servers = os.environ.get(SERVERS_VARIABLE)
    with _making:
        if servers and used() is None:
            use(UsageEmitter(servers))


def _forgotten(called: Called, call: Call, answers: list[Any]) -> None:
    """LiteLLM has dropped its record of the call, and told us nothing of its end. It may well have
    been answered: of an asynchronous call that it had to try again it reports no success."""
    if not call.open:
        return
    payload = read.payload_of(answers[0]) if answers else None
    answered = payload is not None and usage_from(payload, provider=called.provider) is not None
    call.ended(payload if answered else None, "ok" if answered else "cancelled")


def _ms(at: object) -> int | None:
    return int(at.timestamp() * 1000) if isinstance(at, datetime) else None

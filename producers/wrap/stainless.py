"""The SDKs that Stainless generates (OpenAI's, Anthropic's): every call of every resource, raw,
parsed or streamed, goes through one method of the client, `request`, which also retries. What
stands there sees a call once, and hands back what the SDK has made, as it is."""

from __future__ import annotations

import functools
import logging
import sys
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from spendstream.producers.wrap.above import reported_above
from spendstream.producers.wrap.answer import answered
from spendstream.producers.wrap.call import Call, Called, unwatched
from spendstream.producers.wrap.switch import Patch, Sdk, Watch

log: Final = logging.getLogger("spendstream.wrap")


class Asked(NamedTuple):
    """What a request calls, and with which options it goes on. `hide_usage`: the usage that they
    ask for is not for the caller."""

    called: Called
    options: Any
    hide_usage: bool = False


class Stainless(Sdk):
    """One of these SDKs; a subclass says what its requests are."""

    @abstractmethod
    def asked(self, client: Any, options: Any, watch: Watch, *, stream: bool) -> Asked | None:
        """None: no model is called."""

    def client(self, target: object) -> object | None:
        module = sys.modules.get(f"{self.module}._base_client")
        if module is None:
            return None
        return target if isinstance(target, module.BaseClient) else None

    def patches(self) -> Iterator[Patch]:
        module = sys.modules[f"{self.module}._base_client"]
        for base in (module.SyncAPIClient, module.AsyncAPIClient):
            wrapped = self._sync if base is module.SyncAPIClient else self._async
            yield Patch(base, "request", wrapped(base.request))
            for kind in _all_below(base):
                for name in ("copy", "with_options"):
                    if name in vars(kind):
                        yield Patch(kind, name, self._copying(vars(kind)[name]))

    def _sync(self, original: Any) -> Any:
        @functools.wraps(original)
        def request(client: Any, cast_to: Any, options: Any, **kwargs: Any) -> Any:
            asked, call = self._begin(client, options, kwargs)
            if asked is None or call is None:
                return original(client, cast_to, options, **kwargs)
            with call:
                answer = original(client, cast_to, asked.options, **kwargs)
            answered(call, answer, hide_usage=asked.hide_usage)
            return answer

        return request

    def _async(self, original: Any) -> Any:
        @functools.wraps(original)
        async def request(client: Any, cast_to: Any, options: Any, **kwargs: Any) -> Any:
            asked, call = self._begin(client, options, kwargs)
            if asked is None or call is None:
                return await original(client, cast_to, options, **kwargs)
            with call:
                answer = await original(client, cast_to, asked.options, **kwargs)
            answered(call, answer, hide_usage=asked.hide_usage)
            return answer

        return request

    def _begin(
        self, client: Any, options: Any, kwargs: dict[str, Any]
    ) -> tuple[Asked | None, Call | None]:
        watch = self.watched(client)
        if watch is None or reported_above():
            return None, None
        try:
            asked = self.asked(client, options, watch, stream=bool(kwargs.get("stream")))
            return asked, None if asked is None else Call(asked.called, watch.emitter)
        except Exception as error:
            unwatched(self.module, watch.emitter, error)
            return None, None

    def _copying(self, original: Any) -> Any:
        @functools.wraps(original)
        def copy(client: Any, *args: Any, **kwargs: Any) -> Any:
            made: Any = original(client, *args, **kwargs)
            self.inherit(client, made)
            return made

        return copy


def _all_below(base: type[Any]) -> Iterator[type[Any]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _all_below(kind)

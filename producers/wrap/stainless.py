"""The SDKs that Stainless generates (OpenAI's, Anthropic's): every call of every resource, raw,
parsed or streamed, goes through one method of the client, `request`, which also retries. What
stands there sees a call once, and hands back what the SDK has made, as it is."""

from __future__ import annotations

import functools
import json
import logging
import sys
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from pydantic import BaseModel

from spendstream.producers.wrap.above import reported_above
from spendstream.producers.wrap.call import Call, Called
from spendstream.producers.wrap.follow import follow
from spendstream.producers.wrap.switch import Patch, Sdk, Watch
from spendstream.schemas.event import Status

log: Final = logging.getLogger("spendstream.wrap")

_STATUS: Final[dict[object, Status]] = {"failed": "error", "cancelled": "cancelled"}
_LONG: Final = frozenset({"choices", "content"})
"""What the model said; usage is never in it."""


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
            try:
                answer = original(client, cast_to, asked.options, **kwargs)
            except BaseException as error:
                call.failed(error)
                raise
            _answered(call, answer, asked)
            return answer

        return request

    def _async(self, original: Any) -> Any:
        @functools.wraps(original)
        async def request(client: Any, cast_to: Any, options: Any, **kwargs: Any) -> Any:
            asked, call = self._begin(client, options, kwargs)
            if asked is None or call is None:
                return await original(client, cast_to, options, **kwargs)
            try:
                answer = await original(client, cast_to, asked.options, **kwargs)
            except BaseException as error:
                call.failed(error)
                raise
            _answered(call, answer, asked)
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
        except Exception:  # another version of the SDK, perhaps: its call goes on
            log.exception("a call of %s is not watched", self.module)
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


def _answered(call: Call, answer: Any, asked: Asked) -> None:
    """Read now what is there, else along with the caller."""
    try:
        if isinstance(answer, BaseModel):
            _ended(call, {**vars(answer), **(answer.model_extra or {})})
            return
        response = _http_response(answer)
        if response is None:  # a transcription as text
            call.ended({})
        elif not response.is_closed:
            follow(response, call, hide_usage=asked.hide_usage)
        elif "json" in response.headers.get("content-type", ""):
            _ended(call, json.loads(response.content))
        else:  # speech
            call.ended({})
    except Exception:  # it is the watching that failed, not the call
        log.exception("what a call used could not be read")
        call.ended(None)


def _http_response(answer: Any) -> Any:
    """Of a raw response, of a stream or of binary content; None: it is something else."""
    for name in ("http_response", "response"):
        if (response := getattr(answer, name, None)) is not None:
            return response
    return answer if hasattr(answer, "aiter_bytes") else None


def _ended(call: Call, body: Any) -> None:
    if not isinstance(body, Mapping):
        call.ended({})
        return
    call.ended(without_words(body), _STATUS.get(body.get("status"), "ok"))


def without_words(body: Mapping[str, Any]) -> dict[str, Any]:
    """A response without what the model said: what is left is soon read."""
    payload = {name: value for name, value in body.items() if name not in _LONG}
    data = payload.get("data")
    if isinstance(data, list):  # images, of which the number counts, or vectors
        payload["data"] = [None] * len(data)
    return payload

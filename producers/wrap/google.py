"""Google's SDK, `google-genai`: Gemini and Vertex; `client.models`, `.chats`, `.aio`.

All of them speak through one object of the client, with JSON text in and out. Each round of
automatic function calling is a call of its own, as it is billed.
"""

from __future__ import annotations

import functools
import json
import logging
import re
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from spendstream.producers.wrap import google_interactions, google_streams
from spendstream.producers.wrap.call import Call, Called, unwatched
from spendstream.producers.wrap.forgotten import when_forgotten
from spendstream.producers.wrap.seen import Seen
from spendstream.producers.wrap.switch import Patch, Sdk, Watch
from spendstream.schemas.usage import Usage

log: Final = logging.getLogger("spendstream.wrap")

_OPERATIONS: Final = {
    "generateContent": "generate_content",
    "streamGenerateContent": "generate_content",
    "embedContent": "embeddings",
    "batchEmbedContents": "embeddings",
    "predict": "generate_content",
}
"""Of the verb that ends the path."""
_PATH: Final = re.compile(r"(?:.*/)?([^/:]+):(\w+)(?:\?.*)?")


class Google(Sdk):
    module = "google.genai"

    def client(self, target: object) -> object | None:
        module = sys.modules.get("google.genai._api_client")
        if module is None:
            return None
        client: object = getattr(target, "_api_client", target)
        return client if isinstance(client, module.BaseApiClient) else None

    def patches(self) -> Iterator[Patch]:
        owner = sys.modules["google.genai._api_client"].BaseApiClient
        for name, wrapped in (
            ("request", self._whole),
            ("async_request", self._whole_async),
            ("request_streamed", self._streamed),
            ("async_request_streamed", self._streamed_async),
        ):
            yield Patch(owner, name, wrapped(vars(owner)[name]))
        yield from google_interactions.patches(self)
        yield from google_streams.patches(self)

    def _whole(self, original: Any) -> Any:
        @functools.wraps(original)
        def request(client: Any, http_method: str, path: str, *args: Any, **kwargs: Any) -> Any:
            call = self._begin(client, path)
            if call is None:
                return original(client, http_method, path, *args, **kwargs)
            with call:
                response = original(client, http_method, path, *args, **kwargs)
            _end(call, response.body)
            return response

        return request

    def _whole_async(self, original: Any) -> Any:
        @functools.wraps(original)
        async def async_request(
            client: Any, http_method: str, path: str, *args: Any, **kwargs: Any
        ) -> Any:
            call = self._begin(client, path)
            if call is None:
                return await original(client, http_method, path, *args, **kwargs)
            with call:
                response = await original(client, http_method, path, *args, **kwargs)
            _end(call, response.body)
            return response

        return async_request

    def _streamed(self, original: Any) -> Any:
        @functools.wraps(original)
        def request_streamed(
            client: Any, http_method: str, path: str, *args: Any, **kwargs: Any
        ) -> Iterator[Any]:
            call = self._begin(client, path)
            inner = original(client, http_method, path, *args, **kwargs)
            return inner if call is None else _read(inner, call)

        return request_streamed

    def _streamed_async(self, original: Any) -> Any:
        @functools.wraps(original)
        async def async_request_streamed(
            client: Any, http_method: str, path: str, *args: Any, **kwargs: Any
        ) -> AsyncIterator[Any]:
            call = self._begin(client, path)
            if call is None:
                inner: AsyncIterator[Any] = await original(
                    client, http_method, path, *args, **kwargs
                )
                return inner
            with call:
                inner = await original(client, http_method, path, *args, **kwargs)
            reading = _read_async(inner, seen := Seen(), call)
            # one that nobody begins to read runs no code of its own at its end
            when_forgotten(reading, call.failed, GeneratorExit(), seen)
            return reading

        return async_request_streamed

    def _begin(self, client: Any, path: str) -> Call | None:
        watch = self.watched(client)
        if watch is None:
            return None
        try:
            called = _called(client, path, watch)
            return None if called is None else Call(called, watch.emitter)
        except Exception as error:
            unwatched(self.module, watch.emitter, error)
            return None


def _called(client: Any, path: str, watch: Watch) -> Called | None:
    match = _PATH.fullmatch(path)
    operation = _OPERATIONS.get(match[2]) if match else None
    if match is None or operation is None:
        return None
    provider = watch.provider or ("gcp.vertex_ai" if client.vertexai else "gcp.gemini")
    return Called(provider, operation, match[1], otherwise=_images)


def _end(call: Call, body: str | None) -> None:
    try:
        answer = json.loads(body) if body else None
    except ValueError as error:  # the SDK cannot read it either, and is about to say so
        call.failed(error)
    else:
        call.ended(answer)


def _read(inner: Iterator[Any], call: Call) -> Iterator[Any]:
    seen = Seen()
    try:
        for response in inner:
            seen.event(response.body.encode())
            yield response
        seen.finished = True
        call.ended(seen)
    except BaseException as error:
        call.failed(error, seen)
        raise
    finally:
        inner.close()  # type: ignore[attr-defined]  # it is a generator


async def _read_async(inner: Any, seen: Seen, call: Call) -> AsyncIterator[Any]:
    try:
        async for response in inner:
            seen.event(response.body.encode())
            yield response
        seen.finished = True
        call.ended(seen)
    except BaseException as error:
        call.failed(error, seen)
        raise
    finally:
        await inner.aclose()


def _images(payload: Any) -> Usage | None:
    """Imagen's answer says only how many it drew."""
    drawn = payload.get("predictions") if isinstance(payload, dict) else None
    if not isinstance(drawn, list) or not any("bytesBase64Encoded" in one for one in drawn):
        return None
    return Usage(input_tokens=0, output_tokens=0, images=len(drawn))

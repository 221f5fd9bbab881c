"""Google's streams ask for nothing until they are read. Who a call is for is what `track` says
where it is called, all the same."""

from __future__ import annotations

import functools
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

from spendstream.producers.tracking import held
from spendstream.producers.wrap.switch import Patch, Sdk


def patches(sdk: Sdk) -> Iterator[Patch]:
    models, chats = (sys.modules[f"google.genai.{name}"] for name in ("models", "chats"))
    for kind, name, wrapped in (
        (models.Models, "generate_content_stream", _streamed),
        (models.AsyncModels, "generate_content_stream", _streamed_async),
        (chats.Chat, "send_message_stream", _streamed),
        (chats.AsyncChat, "send_message_stream", _streamed_async),
    ):
        yield Patch(kind, name, wrapped(sdk, vars(kind)[name]))


def _watched(sdk: Sdk, owner: Any) -> bool:
    models = getattr(owner, "_modules", owner)  # a chat has its models there
    return sdk.watched(models._api_client) is not None


def _streamed(sdk: Sdk, original: Any) -> Any:
    @functools.wraps(original)
    def streamed(owner: Any, *args: Any, **kwargs: Any) -> Any:
        inner = original(owner, *args, **kwargs)
        return _read(inner, held()) if _watched(sdk, owner) else inner

    return streamed


def _streamed_async(sdk: Sdk, original: Any) -> Any:
    @functools.wraps(original)
    async def streamed(owner: Any, *args: Any, **kwargs: Any) -> Any:
        inner = await original(owner, *args, **kwargs)
        return _read_async(inner, held()) if _watched(sdk, owner) else inner

    return streamed


def _read(inner: Any, tracked: held) -> Iterator[Any]:
    try:
        while True:
            with tracked:  # between two steps the reader's own holds
                try:
                    item = next(inner)
                except StopIteration:
                    return
            yield item
    finally:
        inner.close()


async def _read_async(inner: Any, tracked: held) -> AsyncIterator[Any]:
    try:
        while True:
            with tracked:
                try:
                    item = await anext(inner)
                except StopAsyncIteration:
                    return
            yield item
    finally:
        await inner.aclose()

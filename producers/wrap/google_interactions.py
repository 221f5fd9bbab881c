"""The Interactions API of Google's SDK: a client of its own kind within the client, which is
imported only when it is first used (that takes 0.4 s), and speaks through one method of its own."""

from __future__ import annotations

import functools
import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from spendstream.producers.wrap.answer import answered
from spendstream.producers.wrap.call import Call, Called, Kept, unwatched
from spendstream.producers.wrap.switch import Patch, Sdk
from spendstream.schemas.period import to_ms

log: Final = logging.getLogger("spendstream.wrap")

_MODULE: Final = "google.genai._gaos.google_genai"
_KINDS: Final = ("GeminiNextGenInteractions", "AsyncGeminiNextGenInteractions")


def patches(sdk: Sdk) -> Iterator[Patch]:
    """Of what is imported; with the first use, of the rest."""
    if (module := sys.modules.get(_MODULE)) is not None:
        for name in _KINDS:
            yield _patch(sdk, getattr(module, name))
    client = sys.modules["google.genai.client"]
    for owner in (client.Client, client.AsyncClient):
        yield Patch(owner, "interactions", _used(sdk, vars(owner)["interactions"]))


def _used(sdk: Sdk, original: property) -> property:
    @functools.wraps(original.fget)  # type: ignore[arg-type]  # it has one
    def interactions(client: Any) -> Any:
        resource = original.__get__(client, type(client))
        sdk.also(_patch(sdk, type(resource)))
        return resource

    return property(interactions)


def _patch(sdk: Sdk, kind: type[Any]) -> Patch:
    asynchronous = kind.__name__.startswith("Async")
    name = "do_request_async" if asynchronous else "do_request"
    original = getattr(kind, name)
    return Patch(kind, name, (_async if asynchronous else _sync)(sdk, original))


def _sync(sdk: Sdk, original: Any) -> Any:
    @functools.wraps(original)
    def do_request(resource: Any, hook_ctx: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        call = _begin(sdk, resource, hook_ctx, request)
        if call is None:
            return original(resource, hook_ctx, request, *args, **kwargs)
        with call:
            response = original(resource, hook_ctx, request, *args, **kwargs)
        answered(call, response)
        return response

    return do_request


def _async(sdk: Sdk, original: Any) -> Any:
    @functools.wraps(original)
    async def do_request_async(
        resource: Any, hook_ctx: Any, request: Any, *args: Any, **kwargs: Any
    ) -> Any:
        call = _begin(sdk, resource, hook_ctx, request)
        if call is None:
            return await original(resource, hook_ctx, request, *args, **kwargs)
        with call:
            response = await original(resource, hook_ctx, request, *args, **kwargs)
        answered(call, response)
        return response

    return do_request_async


def _begin(sdk: Sdk, resource: Any, hook_ctx: Any, request: Any) -> Call | None:
    watch = sdk.watched(resource._api_client)
    if watch is None:
        return None
    try:
        provider = watch.provider or (
            "gcp.vertex_ai" if resource._api_client.vertexai else "gcp.gemini"
        )
        if hook_ctx.operation_id == "getInteractionById":
            kept = Kept(_end_ms, fetched=True)
            return Call(Called(provider, "generate_content", None, kept=kept), watch.emitter)
        if hook_ctx.operation_id != "CreateInteraction":
            return None
        body = json.loads(request.content)
        model = body.get("model") or body.get("agent")
        kept = Kept(_end_ms, whole_later=body.get("background") is True)
        return Call(Called(provider, "generate_content", model, kept=kept), watch.emitter)
    except Exception as error:
        unwatched(sdk.module, watch.emitter, error)
        return None


def _end_ms(interaction: Mapping[str, Any]) -> int | None:
    """An answer does not say whether it was made in the background, so each counts by its id."""
    if interaction.get("status") in ("queued", "in_progress"):
        return None
    try:
        return to_ms(datetime.fromisoformat(interaction["created"]))
    except (KeyError, TypeError, ValueError):
        return time.time_ns() // 1_000_000

"""What the SDKs use, recorded: one event a call, with no change to the call.

    use(UsageEmitter("localhost:9092", source="chat"))
    instrument()                      # every client of the SDKs that are imported
    instrument(client)                # one
    instrument(model, "generate", read_usage_of_mine, provider="vllm")   # any method
    uninstrument()                    # all as it was; uninstrument(client): one

Who a call is for is what `track` says where it begins.
"""

from __future__ import annotations

import importlib
import logging
import sys
from typing import Any, Final, TypeVar, overload

from spendstream.producers.emitter import UsageEmitter
from spendstream.producers.record import used
from spendstream.producers.wrap import method as methods
from spendstream.producers.wrap.anthropic import Anthropic
from spendstream.producers.wrap.call import Extractor
from spendstream.producers.wrap.forgotten import mind_exit
from spendstream.producers.wrap.google import Google
from spendstream.producers.wrap.openai import OpenAI
from spendstream.producers.wrap.switch import Sdk, Watch

__all__ = ["instrument", "uninstrument"]

T = TypeVar("T")

log: Final = logging.getLogger("spendstream.wrap")

_LITELLM: Final = "spendstream.producers.wrap.litellm_switch"  # which imports litellm
_SDKS: Final[tuple[Sdk, ...]] = (OpenAI(), Anthropic(), Google())


@overload
def instrument(*, emitter: UsageEmitter | None = None) -> None: ...
@overload
def instrument(
    target: T,
    /,
    *,
    provider: str | None = None,
    include_usage: bool | None = None,
    emitter: UsageEmitter | None = None,
) -> T: ...
@overload
def instrument(
    target: T,
    method: str,
    extractor: Extractor | None = None,
    /,
    *,
    provider: str,
    operation: str = "chat",
    emitter: UsageEmitter | None = None,
) -> T: ...
def instrument(
    target: Any = None,
    method: str | None = None,
    extractor: Extractor | None = None,
    /,
    *,
    provider: str | None = None,
    operation: str = "chat",
    include_usage: bool | None = None,
    emitter: UsageEmitter | None = None,
) -> Any:
    """Record the calls of every supported SDK that is imported (`openai`, `anthropic`,
    `google.genai`, `litellm`), of one client, or of one method of any object. Returns the target.

    A client does not change, nor what its calls return and raise. Calls outside of any
    `track(workspace_id=…)` are dropped, counted and logged as `untracked`.

    Args:
        target: a client; with `method` any object or class.
        method: the name of a method that calls a model, sync or async, whole or streamed.
        extractor: from its answer, or the list of a stream's chunks, to a Usage; None: unknown.
            Default: `usage_from` with `provider`.
        provider: `gen_ai.provider.name`; default what the client and its address tell.
        operation: `gen_ai.operation.name` of the method.
        include_usage: whether an OpenAI stream may be asked for its usage, which is kept from a
            caller who did not ask for it; default: only at OpenAI's own address, since other
            servers may not know the option.
        emitter: default that of `use`.

    Raises:
        RuntimeError: there is no emitter.
        ValueError: the target is no client of a supported SDK, or has no such method.
    """
    if emitter is None and used() is None:
        raise RuntimeError("no emitter: call use(UsageEmitter(...)) once, at start")
    mind_exit()
    if method is not None:
        if not provider:
            raise ValueError("provider: say who answers the method, as `openai`")
        methods.wrap(target, method, extractor, provider, operation, emitter)
        return target
    watch = Watch(emitter, provider, include_usage)
    if target is None:
        imported = [sdk for sdk in _SDKS if sdk.module in sys.modules]
        for sdk in imported:
            sdk.watch_all(watch)
        if "litellm" in sys.modules:
            importlib.import_module(_LITELLM).register(emitter)
        elif not imported:
            log.warning("instrument() has nothing to record: no supported SDK is imported yet")
        return None
    sdk, client = _of(target)
    sdk.watch(client, watch)
    return target


def uninstrument(target: Any = None, method: str | None = None, /) -> None:
    """Switch off what `instrument` has switched on: all of it, one client (also where all others
    stay on), or one method. What began before is still recorded."""
    if target is None:
        methods.unwrap()
        for sdk in _SDKS:
            sdk.leave_all()
        if _LITELLM in sys.modules:
            sys.modules[_LITELLM].unregister()
        return
    methods.unwrap(target, method)
    if method is None and any(sdk.client(target) is not None for sdk in _SDKS):
        sdk, client = _of(target)
        sdk.leave(client)


def _of(target: object) -> tuple[Sdk, object]:
    for sdk in _SDKS:
        if (client := sdk.client(target)) is not None:
            return sdk, client
    raise ValueError(
        f"target: {type(target).__module__}.{type(target).__qualname__} is no client of openai,"
        " anthropic or google.genai; name the method: instrument(target, 'method', provider=...)"
    )

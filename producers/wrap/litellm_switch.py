"""Switching LiteLLM's callback on and off, as `instrument` and `uninstrument` do."""

from __future__ import annotations

from typing import Any, Final

import litellm

from spendstream.producers.emitter import UsageEmitter
from spendstream.producers.wrap.litellm import SpendstreamLogger, logger

_LISTS: Final = (
    "callbacks",
    "input_callback",
    "success_callback",
    "failure_callback",
    "_async_input_callback",
    "_async_success_callback",
    "_async_failure_callback",
)

_registered: Final[list[SpendstreamLogger]] = []


def listening() -> bool:
    """Whether LiteLLM tells any of us of its calls."""
    return any(isinstance(one, SpendstreamLogger) for name in _LISTS for one in _list(name))


def register(emitter: UsageEmitter | None) -> None:
    """`logger`, unless the service has registered one."""
    if not listening():
        litellm.callbacks.append(logger)
        _registered.append(logger)
    if _registered:
        logger.emitter = emitter


def unregister() -> None:
    """What `register` did. LiteLLM has copied it into its other lists with the first call."""
    while _registered:
        ours = _registered.pop()
        for name in _LISTS:
            found = _list(name)
            found[:] = [one for one in found if one is not ours]
        ours.emitter = None


def _list(name: str) -> list[Any]:
    found: list[Any] = getattr(litellm, name, [])
    return found

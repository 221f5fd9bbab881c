"""Calls of a wrapped SDK that are made for a library above it, which reports them itself: LiteLLM
calls OpenAI's SDK for whatever speaks OpenAI's language."""

from __future__ import annotations

import sys
from typing import Final

_CALLBACK: Final = "spendstream.producers.wrap.litellm_switch"
_ASKS: Final = "litellm.llms."
_FRAMES: Final = 24  # from the SDK's innermost method up to LiteLLM's own are some ten


def reported_above() -> bool:
    """Whether the call that begins here is LiteLLM's, and its callback tells us of it.

    Who calls is looked up in the stack: a mark that is set around a call would have to be taken
    away again, and no hook of LiteLLM runs at the end of every call where it has begun.
    """
    callback = sys.modules.get(_CALLBACK)
    if callback is None or not callback.listening():
        return False
    frame = sys._getframe(1)
    for _ in range(_FRAMES):
        if frame.f_globals.get("__name__", "").startswith(_ASKS):
            return True
        if frame.f_back is None:
            return False
        frame = frame.f_back
    return False

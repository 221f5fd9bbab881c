"""What is left to the garbage collector, or open when the process ends, has an end all the same."""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Callable
from typing import Any, Final

_open: Final[set[weakref.finalize[..., Any]]] = set()


def when_forgotten(
    thing: Any, end: Callable[..., object], *args: Any
) -> weakref.finalize[..., Any]:
    """`end(*args)` once nobody holds the thing any more, and at the latest at the process's end."""

    def gone() -> None:
        _open.discard(finalizer)
        end(*args)

    finalizer = weakref.finalize(thing, gone)
    _open.add(finalizer)
    return finalizer


def release(finalizer: weakref.finalize[..., Any]) -> None:
    """It had its end."""
    finalizer.detach()
    _open.discard(finalizer)


def mind_exit() -> None:
    """Before the emitters that there are close, which are closed last made first. Python's own time
    for finalizers may be after that: it is set by whoever had the first."""
    atexit.unregister(_end_all)
    atexit.register(_end_all)


def _end_all() -> None:
    for finalizer in list(_open):
        finalizer()

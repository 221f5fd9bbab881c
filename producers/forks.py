"""What a fork means for emitters: their threads and connections do not exist in the child."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forkable(Protocol):
    def before_fork(self) -> None: ...

    def after_fork_in_parent(self) -> None: ...

    def after_fork_in_child(self) -> None: ...


_watched: weakref.WeakSet[Forkable] = weakref.WeakSet()


def watch(emitter: Forkable) -> None:
    """Until `forget()`, or until nobody uses it any more."""
    _watched.add(emitter)


def forget(emitter: Forkable) -> None:
    _watched.discard(emitter)


def _before() -> None:
    for emitter in list(_watched):
        emitter.before_fork()


def _in_parent() -> None:
    for emitter in list(_watched):
        emitter.after_fork_in_parent()


def _in_child() -> None:
    for emitter in list(_watched):
        emitter.after_fork_in_child()


# one set of hooks for all emitters: hooks cannot be taken back
os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)

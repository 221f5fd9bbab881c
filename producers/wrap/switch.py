"""Which clients of an SDK are watched: all, some, or all but some.

A client itself is never touched. While any is watched, the SDK's own classes have a wrapper in the
place of a method or two; with the last one these are put back as they were.
"""

from __future__ import annotations

import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from spendstream.producers.emitter import UsageEmitter

_ABSENT: Final = object()


class Watch(NamedTuple):
    """How a client is watched.

    Attributes:
        emitter: None: that of `use`, at the time of the call.
        provider: instead of the one that its address tells.
        include_usage: whether its server may be asked for a stream's usage; None: where it is known
            to take that.
    """

    emitter: UsageEmitter | None = None
    provider: str | None = None
    include_usage: bool | None = None


@dataclass(slots=True)
class Patch:
    """An attribute that another stands in for."""

    owner: Any
    name: str
    value: object
    before: object = _ABSENT

    def set(self) -> None:
        self.before = vars(self.owner).get(self.name, _ABSENT)
        setattr(self.owner, self.name, self.value)

    def taken_away(self) -> bool:
        """Somebody has put back what was there before."""
        return vars(self.owner).get(self.name, _ABSENT) is self.before

    def undo(self) -> bool:
        """False: somebody else has wrapped it since. Theirs stays, and calls ours, which lets every
        call through that is not watched."""
        if self.taken_away():
            return True
        if vars(self.owner).get(self.name, _ABSENT) is not self.value:
            return False
        if self.before is _ABSENT:
            delattr(self.owner, self.name)
        else:
            setattr(self.owner, self.name, self.before)
        return True


class Sdk(ABC):
    """One SDK and its switch. Any thread may turn it."""

    module: str
    """That is imported where the SDK is used."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: Watch | None = None
        # None: left out where all others are watched
        self._clients: weakref.WeakKeyDictionary[Any, Watch | None] = weakref.WeakKeyDictionary()
        self._patches: list[Patch] = []

    @abstractmethod
    def client(self, target: object) -> object | None:
        """The object whose methods are watched; None: the target is not of this SDK."""

    @abstractmethod
    def patches(self) -> Iterator[Patch]:
        """What has to stand in for what. Asked while the SDK is imported."""

    def watched(self, client: object) -> Watch | None:
        """None: it is not."""
        try:
            return self._clients.get(client, self._all)
        except TypeError:  # a subclass that has `==` and no hash: no one of it was ever chosen
            return self._all

    def watch_all(self, watch: Watch) -> None:
        """The clients that exist and those that will."""
        with self._lock:
            self._all = watch
            for client in [one for one, how in self._clients.items() if how is None]:
                del self._clients[client]
            self._set()

    def watch(self, client: object, watch: Watch) -> None:
        with self._lock:
            self._clients[client] = watch
            self._set()

    def leave(self, client: object) -> None:
        """One client."""
        with self._lock:
            self._clients.pop(client, None)
            if self._all is not None:
                self._clients[client] = None
            self._undo_unused()

    def leave_all(self) -> None:
        with self._lock:
            self._all = None
            self._clients.clear()
            self._undo_unused()

    def inherit(self, client: object, copy: object) -> None:
        """What is made of a client is watched as it is."""
        try:
            chosen = client in self._clients
        except TypeError:  # as in `watched`
            return
        if chosen:
            with self._lock:
                self._clients[copy] = self._clients[client]

    def also(self, patch: Patch) -> None:
        """What was imported since, where it is not wrapped yet."""
        with self._lock:
            wrapped = any(p.owner is patch.owner and p.name == patch.name for p in self._patches)
            if self._patches and not wrapped:
                patch.set()
                self._patches.append(patch)

    def _set(self) -> None:
        standing = {(patch.owner, patch.name): patch for patch in self._patches}
        for patch in self.patches():
            before = standing.get((patch.owner, patch.name))
            if before is None:
                patch.set()
                self._patches.append(patch)
                standing[patch.owner, patch.name] = patch
            elif before.taken_away():
                before.set()

    def _undo_unused(self) -> None:
        if self._all is None and not self._clients:
            self._patches = [patch for patch in self._patches if not patch.undo()]

"""What every test server can do, whatever runs it."""

from __future__ import annotations

import shutil
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self


class ServerUnavailableError(RuntimeError):
    """This machine cannot run the server that was asked for; the message says why."""


class Server(ABC):
    """A server whose address and data stay the same through stop, kill and start.

    As a context manager it starts on entry, and on exit stops and removes its data.
    """

    kind: ClassVar[str]

    @abstractmethod
    def start(self) -> Self:
        """Start, or start again, and wait until it answers."""

    @abstractmethod
    def stop(self) -> None:
        """End it in order; its data stays where the kind has any."""

    @abstractmethod
    def kill(self) -> None:
        """kill -9."""

    @abstractmethod
    def describe(self) -> str:
        """What it is, for the report of a test run."""

    def handle(self) -> dict[str, Any]:
        """How another process of the same test run finds it and ends it."""
        return {}

    def restart(self) -> Self:
        self.stop()
        return self.start()

    def dispose(self) -> None:
        """Stop it and remove its data."""
        self.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.dispose()


class GivenServer(Server):
    """Somebody's server: it is used, never started, stopped or killed."""

    kind = "given"

    def stop(self) -> None:
        raise ServerUnavailableError("a given server is not ours to stop")

    def kill(self) -> None:
        raise ServerUnavailableError("a given server is not ours to kill")

    def dispose(self) -> None:
        """Nothing: it is not ours."""


class DataDirectory:
    """A directory of the server's own: made where none is given, removed if it was made."""

    def __init__(self, given: Path | None, prefix: str) -> None:
        self.path = given or Path(tempfile.mkdtemp(prefix=prefix))
        self._made = given is None
        self.path.mkdir(parents=True, exist_ok=True)

    def remove(self) -> None:
        if self._made:
            shutil.rmtree(self.path, ignore_errors=True)

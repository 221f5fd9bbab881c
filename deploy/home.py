"""SPENDSTREAM_HOME: what the embedded stack keeps, and how other commands find it while it runs.

clickhouse/        the data
manifests/*.jsonl  what `replay` and `demo` sent; to another broker: manifests/<broker>/*.jsonl
run/               lock (held by the supervisor), addresses.json, ending.json, ready files
logs/*.log         one a process
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, NamedTuple


class HomeLocked(RuntimeError):
    """Another supervisor runs on this directory. `pid` is its process id, 0 where unknown."""

    def __init__(self, home: Path, pid: int) -> None:
        super().__init__(
            f"{home} is in use by another `spendstream up` (process {pid or 'unknown'}). "
            "Stop it with `spendstream down`, or choose another directory with SPENDSTREAM_HOME."
        )
        self.pid = pid


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a running stack is; `pids` and `metrics_urls` by process name."""

    bootstrap_servers: str
    clickhouse_url: str
    home: str
    started_at: str
    pids: dict[str, int]
    metrics_urls: dict[str, str] = field(default_factory=dict)


class Ending(NamedTuple):
    """How a supervisor ended. `fault` None: in order, with all stored that was sent."""

    fault: str | None


class Home:
    """The directory, its paths and its lock."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().resolve()
        self.clickhouse = self.path / "clickhouse"
        self.manifests = self.path / "manifests"
        self.run = self.path / "run"
        self.logs = self.path / "logs"
        self._addresses = self.run / "addresses.json"
        self._ending = self.run / "ending.json"
        self._lock = self.run / "lock"

    def create(self) -> None:
        """Make what is missing, for its owner alone: it holds what was used, and dead letters.

        A directory that exists keeps its permissions. Raises OSError.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for directory in (self.clickhouse, self.manifests, self.run, self.logs):
            directory.mkdir(exist_ok=True)

    def lock(self) -> HomeLock:
        """Take the directory for this process until it dies. Raises HomeLocked."""
        return HomeLock(self.path, self._lock)

    def holder(self) -> int | None:
        """Process id of the supervisor that holds the directory; None where nobody does."""
        try:
            with self._lock.open("r") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return _pid_in(file)
        except OSError:
            return None
        return None

    def running(self) -> Addresses | None:
        """The stack that is ready on this directory, None where there is none."""
        if self.holder() is None:
            return None  # what a killed supervisor left behind
        try:
            return Addresses(**json.loads(self._addresses.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def publish(self, addresses: Addresses) -> None:
        """Say that the stack is ready."""
        _write_whole(self._addresses, asdict(addresses))

    def withdraw(self) -> None:
        """The stack is not ready any more."""
        self._addresses.unlink(missing_ok=True)

    def forget_ending(self) -> None:
        """A supervisor begins: were it killed, the last one's ending would be taken for its own."""
        self._ending.unlink(missing_ok=True)

    def tell_ending(self, fault: str | None) -> None:
        """The supervisor's last word, for `spendstream down`, which is another process."""
        _write_whole(self._ending, Ending(fault)._asdict())

    def ending(self) -> Ending | None:
        """How the last supervisor ended; None where it was killed before it could say so."""
        try:
            return Ending(**json.loads(self._ending.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def ready_file(self, process: str) -> Path:
        return self.run / f"{process}.ready"

    def log(self, process: str) -> Path:
        return self.logs / f"{process}.log"

    def manifests_of(self, bootstrap_servers: str | None) -> Path:
        """Where the manifests of what was sent to a broker are; None: to the stack's own.

        Another broker's are apart: what was sent there is not missing here.
        """
        running = self.running()
        if bootstrap_servers in (None, running.bootstrap_servers if running else None):
            return self.manifests
        return self.manifests / re.sub(r"[^A-Za-z0-9.-]", "_", bootstrap_servers or "")

    @property
    def leftovers(self) -> Path:
        """Processes of the running stack, so that the next start can end them after a kill -9."""
        return self.run / "processes.json"


class HomeLock:
    """An flock: the system lets go of it when the process dies, however it dies."""

    def __init__(self, home: Path, file: Path) -> None:
        self._file: IO[str] = file.open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = _pid_in(self._file)
            self._file.close()
            raise HomeLocked(home, pid) from None
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        self._file.close()


def _write_whole(file: Path, value: dict[str, object]) -> None:
    """In one step: a reader sees all of it or nothing."""
    temporary = file.with_suffix(".new")
    temporary.write_text(json.dumps(value, indent=2) + "\n", "utf-8")
    temporary.replace(file)


def _pid_in(file: IO[str]) -> int:
    file.seek(0)
    text = file.read().strip()
    return int(text) if text.isdecimal() else 0

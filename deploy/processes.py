"""One process of the stack: started in a group of its own, watched, and ended.

A group of its own, because Ctrl-C in a terminal goes to the whole foreground group: the supervisor
alone must get it, so that it can drain before anything stops.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_libc: Final = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class Service:
    """How a process is run.

    Attributes:
        ready: whether it does its work; asked several times a second.
        ready_file: removed before each start, where the process says by it that it is ready.
        orphan_signal: what the system sends it when the supervisor is killed (Linux).
        stop_s: seconds it has to end after SIGTERM.
    """

    name: str
    command: tuple[str, ...]
    log: Path
    ready: Callable[[], bool]
    ready_file: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    orphan_signal: signal.Signals = signal.SIGKILL
    start_s: float = 60.0
    stop_s: float = 20.0


class Process:
    """A running service."""

    def __init__(self, service: Service) -> None:
        """Start it. Raises OSError."""
        self.service = service
        if service.ready_file is not None:
            service.ready_file.unlink(missing_ok=True)
        self.started = time.monotonic()
        parent = os.getpid()

        def die_with_parent() -> None:
            if _libc is not None:
                _libc.prctl(_PR_SET_PDEATHSIG, int(service.orphan_signal))
                if os.getppid() != parent:  # it died before the line above
                    os._exit(1)

        with service.log.open("ab") as output:
            self._popen = subprocess.Popen(
                service.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **service.environment},
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def alive(self) -> bool:
        return self._popen.poll() is None

    @property
    def ending(self) -> str:
        """How it ended: `exit code 1`, `killed by SIGKILL`."""
        code = self._popen.poll()
        if code is None:
            return "still running"
        if code >= 0:
            return f"exit code {code}"
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"

    def stop(self) -> bool:
        """SIGTERM, then kill -9 when its time is over. True: it ended by itself."""
        self._signal(signal.SIGTERM)
        try:
            self._popen.wait(self.service.stop_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return False
        return True

    def kill(self) -> None:
        """kill -9, its children too."""
        self._signal(signal.SIGKILL)
        self._popen.wait()

    def _signal(self, sign: signal.Signals) -> None:
        if self._popen.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._popen.pid, sign)


def last_words(log: Path, lines: int = 8) -> str:
    """The end of a log, for an error message."""
    try:
        size = log.stat().st_size
        with log.open("rb") as file:
            file.seek(max(0, size - 16_384))
            text = file.read().decode(errors="replace")
    except OSError:
        return "  (it wrote no log)"
    # one line of JSON or of a traceback can be longer than a screen
    return "\n".join(f"  {line[:300]}" for line in text.splitlines()[-lines:]) or "  (nothing)"


def write_leftovers(file: Path, processes: Mapping[str, int]) -> None:
    """Remember the processes, so that `end_leftovers` finds them after a kill -9 of ours."""
    known = {name: [pid, _birth(pid)] for name, pid in processes.items()}
    # a reader must never see half of it
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(known), "utf-8")
    fresh.replace(file)


def end_leftovers(file: Path) -> list[str]:
    """kill -9 what is left of a killed supervisor's stack; the names of what was found."""
    try:
        known: dict[str, list[str | int]] = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return []
    found = []
    for name, (pid, birth) in known.items():
        # a pid is used again some day: only the same birth is the same process
        if birth and _birth(int(pid)) == birth:
            found.append(name)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(int(pid), signal.SIGKILL)
            deadline = time.monotonic() + 10
            while _birth(int(pid)) == birth and time.monotonic() < deadline:
                time.sleep(0.02)  # it is no child of ours: there is nothing to wait() for
    file.unlink(missing_ok=True)
    return found


def _birth(pid: int) -> str:
    """When the process began, as the system tells it; empty where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] == "Z" else fields[19]
    except OSError:
        if sys.platform == "linux":
            return ""
    done = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()

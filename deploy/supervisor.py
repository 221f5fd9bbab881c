"""Keeps processes running: starts them in order, restarts what dies, ends them in order.

It knows nothing of Kafka or ClickHouse; `stack` says what runs and what one death means for the
others.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import Final

from spendstream.deploy.processes import Process, Service, last_words

FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 10.0
SHORT_LIFE_S: Final = 10.0
"""A process that lived longer than this once is not one that cannot start."""
MAX_SHORT_LIVES: Final = 8
"""0.2 + 0.4 + … s of pauses: about half a minute of trying."""
_LOOK_S: Final = 0.05

log: Final = logging.getLogger("spendstream.supervisor")


class KeepsDying(RuntimeError):
    """A process cannot be kept running; the message holds its last words."""


class Stopping(Exception):
    """The stack was told to stop while it was waiting for something."""


@dataclass(slots=True)
class _Kept:
    service: Service
    process: Process | None = None
    ready: bool = False
    short_lives: int = 0
    start_at: float = 0.0
    """Moment of the next start, while there is no process."""


class Supervisor:
    """Not thread-safe, except that `stopping` may be set from anywhere (a signal handler does)."""

    def __init__(self, stopping: threading.Event) -> None:
        self.stopping = stopping
        self._kept: dict[str, _Kept] = {}

    def start(self, *services: Service) -> None:
        """Start them at the same time, and wait until all are ready.

        Raises:
            KeepsDying: one died before it was ready, or was not ready in its time.
            Stopping: told to stop.
        """
        waiting = []
        for service in services:
            kept = self._kept[service.name] = _Kept(service, Process(service))
            waiting.append(kept)
            log.info("%s started, process %d", service.name, self.pids[service.name])
        while waiting := [kept for kept in waiting if not _came_up(kept)]:
            self.pause(_LOOK_S)

    def pause(self, seconds: float) -> None:
        """Wait. Raises Stopping."""
        if self.stopping.wait(seconds):
            raise Stopping

    def look(self) -> bool:
        """Bury, restart with growing pauses, and notice what became ready.

        Returns:
            Whether any process changed.

        Raises:
            KeepsDying: one died too often in a row.
        """
        changed = False
        for kept in self._kept.values():
            if kept.process is None:
                if time.monotonic() >= kept.start_at:
                    kept.process = Process(kept.service)
                    log.info("%s restarted, process %d", kept.service.name, kept.process.pid)
                    changed = True
            elif not kept.process.alive:
                self._bury(kept, kept.process)
                changed = True
            elif not kept.ready and kept.service.ready():
                kept.ready = True
                log.info("%s is ready again", kept.service.name)
                changed = True
        return changed

    def _bury(self, kept: _Kept, process: Process) -> None:
        log.warning("%s", _death(process))
        if time.monotonic() - process.started > SHORT_LIFE_S:
            kept.short_lives = 0
        kept.short_lives += 1
        if kept.short_lives > MAX_SHORT_LIVES:
            raise KeepsDying(f"{kept.short_lives} times in a row, {_death(process)}")
        kept.process, kept.ready = None, False
        pause = min(FIRST_PAUSE_S * 2 ** (kept.short_lives - 1), LONGEST_PAUSE_S)
        kept.start_at = time.monotonic() + pause

    def keeps(self, name: str) -> bool:
        """Whether it is kept running; between two lives, too."""
        return name in self._kept

    def alive(self, name: str) -> bool:
        kept = self._kept.get(name)
        return kept is not None and kept.process is not None and kept.process.alive

    @property
    def all_ready(self) -> bool:
        return all(kept.ready for kept in self._kept.values())

    @property
    def pids(self) -> dict[str, int]:
        return {name: k.process.pid for name, k in self._kept.items() if k.process is not None}

    def stop(self, name: str) -> None:
        """SIGTERM and wait; it is not restarted."""
        kept = self._kept.pop(name, None)
        if kept is None or kept.process is None:
            return
        if not kept.process.alive:
            log.info("%s had ended: %s", name, kept.process.ending)
        elif kept.process.stop():
            log.info("%s stopped", name)
        else:
            log.warning("%s did not stop in %g s and was killed", name, kept.service.stop_s)

    def kill(self, name: str) -> None:
        """kill -9; it is not restarted."""
        kept = self._kept.pop(name, None)
        if kept is not None and kept.process is not None:
            kept.process.kill()
            log.info("%s killed", name)


def _came_up(kept: _Kept) -> bool:
    """Raises KeepsDying."""
    service, process = kept.service, kept.process
    assert process is not None  # just started
    seconds = time.monotonic() - process.started
    kept.ready = service.ready()
    if kept.ready:
        log.info("%s is ready after %.2f s", service.name, seconds)
    elif not process.alive:
        raise KeepsDying(_death(process))
    elif seconds > service.start_s:
        raise KeepsDying(
            f"{service.name} was not ready after {service.start_s:g} s. "
            f"Its last words:\n{last_words(service.log)}"
        )
    return kept.ready


def _death(process: Process) -> str:
    service = process.service
    return (
        f"{service.name} died ({process.ending}). "
        f"Its last words, from {service.log}:\n{last_words(service.log)}"
    )

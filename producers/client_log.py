"""The log of Kafka's client, without its repeats.

librdkafka says several times a second that a broker cannot be reached: half a million lines a day
from each process of a service, for one outage.
"""

from __future__ import annotations

import re
import time
from typing import Final

from spendstream.producers.stats import LOG_EVERY_S, log

_MAX_KINDS: Final = 1_000
_NUMBER: Final = re.compile(r"\d+")


class ClientLog:
    """What confluent-kafka calls as a logger, in the thread that polls. Of lines that differ in
    numbers only, one every LOG_EVERY_S seconds; the next one says how many were left out, or
    `report` does."""

    def __init__(self) -> None:
        # when the next is due, how many were left out, and the last line
        self._kinds: dict[str, tuple[float, int, int, str]] = {}

    def log(self, level: int, text: str, *arguments: object) -> None:
        line = text % arguments
        kind = _NUMBER.sub("", line)
        now = time.monotonic()
        if kind not in self._kinds and len(self._kinds) >= _MAX_KINDS:
            self.report()
        due, left_out, _, _ = self._kinds.get(kind, (0.0, 0, 0, ""))
        if now < due:
            self._kinds[kind] = (due, left_out + 1, level, line)
            return
        self._kinds[kind] = (now + LOG_EVERY_S, 0, level, line)
        _say(level, line, left_out)

    def report(self) -> None:
        """Say what was left out and not counted yet, and begin anew."""
        kinds, self._kinds = self._kinds, {}
        for _, left_out, level, line in list(kinds.values()):
            if left_out:
                _say(level, line, left_out - 1)


def _say(level: int, line: str, more: int) -> None:
    log.log(level, "%s%s", line, f" ({more} more like it)" if more else "")

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
    numbers only, one every LOG_EVERY_S seconds; it says how many were left out."""

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[float, int]] = {}  # when the next is due, how many were not

    def log(self, level: int, text: str, *arguments: object) -> None:
        line = text % arguments
        kind = _NUMBER.sub("", line)
        now = time.monotonic()
        due, left_out = self._kinds.get(kind, (0.0, 0))
        if now < due:
            self._kinds[kind] = (due, left_out + 1)
            return
        if len(self._kinds) >= _MAX_KINDS:
            self._kinds.clear()
        self._kinds[kind] = (now + LOG_EVERY_S, 0)
        log.log(level, "%s%s", line, f" ({left_out} more like it)" if left_out else "")

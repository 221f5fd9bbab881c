"""Rights that Kafka has taken from the consumer: said, waited for, and shown by `/healthz`.

aiokafka goes on by itself once a right is back. Faust would end the worker at the first refusal,
and never asks aiokafka for those of the group, without which that does not try again.
"""

from __future__ import annotations

import time
from typing import Final

import structlog
from aiokafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError

_log = structlog.get_logger(__name__)

Refused = (TopicAuthorizationFailedError, GroupAuthorizationFailedError)
"""What Kafka answers where a right is missing; the first argument says to what."""
RETRY_S: Final = 1.0
_SAID_AGAIN_S: Final = 30.0
_RECENT_S: Final = 10.0
"""While it lasts, a refusal comes with every attempt, and those are a second apart."""


class Refusals:
    """Written by the consumer's thread, read by any."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}
        self._said: dict[str, float] = {}
        self._topics_ms: dict[str, int] = {}

    def note(self, error: BaseException) -> None:
        """Take a refusal down, and say it, though not each time."""
        [what] = error.args
        if isinstance(error, TopicAuthorizationFailedError):
            topics = [what] if isinstance(what, str) else sorted(what)
            self._topics_ms.update(dict.fromkeys(topics, int(time.time() * 1_000)))
            reason = f"READ on {', '.join(topics)} is missing"
        else:
            reason = f"READ on the consumer group {what} is missing"
        reason += ": grant it to the worker's user"
        now = time.monotonic()
        self._last[reason] = now
        if now - self._said.get(reason, float("-inf")) > _SAID_AGAIN_S:
            self._said[reason] = now
            _log.error("right_missing", error=reason, goes_on="by itself once it is granted")

    def lasting(self) -> list[str]:
        """Which rights are missing, in plain words."""
        now = time.monotonic()
        return [reason for reason, last in self._last.copy().items() if now - last < _RECENT_S]

    def since_fetched(self, topic: str, fetched_ms: int | None) -> bool:
        """Whether reading the topic was refused after what a fetch last told of it."""
        refused_ms = self._topics_ms.get(topic)
        return refused_ms is not None and (fetched_ms is None or refused_ms >= fetched_ms)

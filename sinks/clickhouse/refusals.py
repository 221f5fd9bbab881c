"""Rights that Kafka has taken from the consumer: said, waited for, and shown by `/healthz`.

librdkafka goes on by itself once a right is back, and until then tells of a partition once, not
that it lasts. Paused and resumed, it tells again: the refusal, or where the partition ends. The
group cannot be asked: but what refuses its heartbeats takes its partitions away a session later.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import structlog
from confluent_kafka import KafkaError

ASK_SECONDS: Final = 5.0
GRACE_SECONDS: Final = 5.0
"""Beyond a session, until it is certain that the group did not take the partitions away."""

Place: TypeAlias = tuple[str, int | None]
"""Topic and partition; no topic where it is the group that is refused."""
_GROUP: Final[Place] = ("", None)

_log = structlog.get_logger("spendstream.sinks")

REFUSED: Final = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
)


class Refusals:
    """Used by the polling thread; `lasting` by any."""

    def __init__(self, group: str, session_s: float) -> None:
        """`session_s`: without a heartbeat for so long, a member loses its partitions."""
        self._group = group
        self._session_s = session_s
        self._group_refused = 0.0
        self._missing: dict[Place, str] = {}
        self._asked = 0.0

    def note(self, place: Place, error: KafkaError, now: float) -> None:
        """Take a refusal down, and say which right is missing where that is news."""
        if error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
            place, what = _GROUP, f"the consumer group {self._group}"
            self._group_refused = now
        else:
            what = place[0]
        missing = f"READ on {what} is missing: grant it to the sink's user"
        if missing not in self._missing.values():
            _log.error("right missing", error=missing, goes_on="by itself once it is granted")
        self._missing[place] = missing

    def over(self, place: Place) -> None:
        """It is read again."""
        self._missing.pop(place, None)

    def clear(self) -> None:
        """Another assignment: what is refused of it will be told."""
        self._missing.clear()

    def still_joined(self, now: float) -> None:
        """The partitions are still ours: a session after its last refusal, the group's is over."""
        if now - self._group_refused > self._session_s + GRACE_SECONDS:
            self.over(_GROUP)

    def to_ask(self, now: float) -> list[Place]:
        """Of which places to ask whether it lasts."""
        if not self._missing or now - self._asked < ASK_SECONDS:
            return []
        self._asked = now
        return [place for place in self._missing if place[0]]

    def lasting(self) -> list[str]:
        """Which rights are missing, in plain words."""
        return sorted(set(self._missing.copy().values()))

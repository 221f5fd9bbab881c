"""The one writer of the control topics: command line and API change plans and prices through it.

Every writer opens with the same `transactional.id`, which fences the one before it, and reads the
topic only after that. So whatever it read is still the end of the topic when it commits: a writer
that was overtaken in between cannot commit any more, and is told so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

from confluent_kafka import KafkaError, KafkaException, Producer

TRANSACTIONAL_ID: Final = "spendstream-control"
FENCED: Final = frozenset(
    {KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED}
)

Append = Callable[[str, Iterable[tuple[bytes, bytes]]], None]
"""Writes (key, value) to a control topic, in one transaction; all or none."""


class StaleEdit(ValueError):
    """Someone else changed them since they were read; read them again and repeat."""


class ControlUnavailable(RuntimeError):
    """They could not be written: the broker does not answer. Nothing was changed."""


class Written(Protocol):
    """Who wrote what version."""

    @property
    def version(self) -> int: ...
    @property
    def author(self) -> str: ...


@contextmanager
def only_writer(bootstrap_servers: str, what: str, timeout: float) -> Iterator[Append]:
    """Nobody else writes from here on; read what there is within.

    Args:
        what: is written, for errors: `plans`.
        timeout: seconds for each step with the broker.

    Raises:
        StaleEdit: another writer overtook this one.
        ControlUnavailable: the broker does not answer.
    """
    producer = Producer(
        {
            "bootstrap.servers": bootstrap_servers,
            "transactional.id": TRANSACTIONAL_ID,
            "transaction.timeout.ms": 10_000,
            "message.timeout.ms": 10_000,
            "partitioner": "murmur2_random",
            "log_level": 0,  # what goes wrong is raised
        }
    )
    try:
        producer.init_transactions(timeout)
        yield lambda topic, records: append(producer, topic, records, timeout)
    except KafkaException as error:
        cause: Any = error.args[0]
        if cause.code() in FENCED:
            raise StaleEdit(
                "another writer changed plans or prices at the same moment, and this edit was not "
                f"written; read the {what} again and repeat it"
            ) from error
        raise ControlUnavailable(f"the {what} were not written: {cause.str()}") from error
    finally:
        # what a fenced writer still holds must never be sent
        producer.purge()


def append(
    producer: Producer, topic: str, records: Iterable[tuple[bytes, bytes]], timeout: float
) -> None:
    producer.begin_transaction()
    try:
        for key, value in records:
            producer.produce(topic, key=key, value=value, partition=0)
        producer.commit_transaction(timeout)
    except KafkaException as error:
        if not error.args[0].fatal():
            producer.abort_transaction(timeout)
        raise


def head_of(versions: Iterable[Written]) -> int:
    """What an edit made now must expect; 0 where nothing was ever written.

    The highest number that can be read; the next one's is above those of all records.
    """
    return max((version.version for version in versions), default=0)


def check_expected(
    versions: Iterable[Written],
    expected: int | None,
    what: str,
    touched: Iterable[Written] | None = None,
) -> int:
    """The newest version's number, which the next ones count on from.

    Args:
        touched: those versions that must not be newer than `expected`; all where not given.

    Raises:
        StaleEdit: there is a newer one, or none of that number yet.
    """
    versions = tuple(versions)
    head = head_of(versions)
    if expected is None:
        return head
    since = [v for v in (versions if touched is None else touched) if v.version > expected]
    if since or head < expected:
        authors = ", ".join(sorted({v.author for v in since}))
        by = f" (since then by {authors})" if authors else ""
        raise StaleEdit(
            f"the {what} are at version {head_of(since) or head}{by}, and this edit was made from "
            f"version {expected}; nothing was written; read them again and repeat it"
        )
    return head


def now_ms() -> int:
    return time.time_ns() // 1_000_000

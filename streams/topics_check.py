"""Are the topics as the worker needs them? What is wrong is said with what to do about it.

Looked at before each recovery: a broker that makes topics by itself would make a missing one with
one partition and its own settings, and rows would go there.
"""

from __future__ import annotations

from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from spendstream.schemas.topics import (
    BY_NAME,
    CONTROL_PLANS,
    INPUTS,
    SEQUENCED,
    WORKSPACE_CHECKPOINT,
    WORKSPACE_IDS,
    WORKSPACE_STATE,
)
from spendstream.streams.errors import Recoverable, TopicsWrong

_TIMEOUT_S: Final = 10.0
_USED: Final = (
    *INPUTS, *SEQUENCED, WORKSPACE_CHECKPOINT, WORKSPACE_IDS, WORKSPACE_STATE, CONTROL_PLANS,
)  # fmt: skip


def check_topics(bootstrap_servers: str, partitions: int) -> None:
    """See that all topics are there, with as many partitions as `usage.events` had at the start.

    Raises:
        TopicsWrong: all that is wrong, and what to do.
        Recoverable: no broker.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 3})
    try:
        # of all: a broker that makes topics by itself would make, wrongly, one that is asked for
        topics = admin.list_topics(timeout=_TIMEOUT_S).topics
    except KafkaException as error:
        raise Recoverable(f"no answer from {bootstrap_servers}: {error}") from error
    wrong = []
    for name in _USED:
        expected = BY_NAME[name].partitions or partitions
        found = len(topics[name].partitions) if name in topics else 0
        if not found:
            wrong.append(f"{name} is missing, or may not be described: `spendstream topics create`")
        elif found != expected:
            wrong.append(
                f"{name} has {found} partitions instead of {expected}: if it was made by mistake,"
                " delete it and make it anew by `spendstream topics create`; partitions that were"
                " added cannot be taken away"
            )
    if wrong:
        raise TopicsWrong("; ".join(wrong))

"""Wait until all that was sent is in the figures: read by the workers, stored by the sinks.

"All" is what could be read of the inputs at the call: what stood behind a transaction that was open
then is not waited for. Steps, each with its own ends:

1. The workers' checkpoints are past the end of `usage.events`.
2. They are past the end of `workspace.commands`, taken after step 1: the events of step 1 that
   came to the wrong partition have been forwarded there by then, in the same transactions.
3. The rows in ClickHouse have reached the `seq` of those checkpoints, in every roll-up.
4. Where some of them are late events, the workers have resolved those, which the sink looks up and
   sends back once they are stored; and what they were found to be is stored, as in step 3. An event
   that had to be set aside once more meanwhile is not waited for.

The end of an input is behind its last *record*: its last offsets may be transaction markers or
aborted records, which no worker ever reads, so that `upto` never passes them by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, TypeAlias

from clickhouse_connect.driver.client import Client
from confluent_kafka import Consumer

from spendstream.api.log import last_records, partitions_of, reader
from spendstream.api.state import read_worker_state
from spendstream.api.stored import stored_seq
from spendstream.schemas.topics import (
    SEQUENCED,
    USAGE_EVENTS,
    USAGE_LATE,
    WORKSPACE_CHECKPOINT,
    WORKSPACE_COMMANDS,
    WORKSPACE_STATE,
)
from spendstream.streams.core.state import CHECKPOINT_KEY, Checkpoint, decode_checkpoint

POLL_S = 0.1
LATE_EVENTS: Final = "resolving usage.late"


class Behind(NamedTuple):
    """What is not there yet: `at` of `end`, in records (workers) or rows (sinks)."""

    what: str
    partition: int
    at: int
    end: int

    @property
    def missing(self) -> int:
        return self.end - self.at


Progress: TypeAlias = Callable[[list[Behind]], None]


_WORKERS: Final = (USAGE_EVENTS, WORKSPACE_COMMANDS, WORKSPACE_STATE)


class NotSettled(TimeoutError):
    """Time is up; the message says in plain words who is behind, `behind` says it in figures."""

    def __init__(self, behind: list[Behind], timeout: float) -> None:
        who = "the worker" if behind[0].what in _WORKERS else "the sink"
        places = ", ".join(
            f"{item.what} partition {item.partition} is at {item.at} of {item.end}"
            for item in behind[:6]
        )
        more = f", and {len(behind) - 6} more" if len(behind) > 6 else ""
        super().__init__(
            f"not settled after {timeout:g} s: {who} is behind ({places}{more}). Either it is not "
            "running, or it needs longer, or it cannot go on: its log says which."
        )
        self.behind = behind


def wait_settled(
    bootstrap_servers: str,
    client: Client,
    timeout: float = 60.0,
    progress: Progress | None = None,
) -> None:
    """Return when everything that can be read of the inputs now is counted and stored: up to the
    first transaction that is open in a partition.

    Args:
        client: ClickHouse, with the database of the sinks selected.
        timeout: seconds for all steps.
        progress: called with what is still missing, about ten times a second.

    Raises:
        NotSettled: time is up.
        LogUnavailable: broker or topic is missing.
    """
    deadline = time.monotonic() + timeout
    checkpoints: dict[int, Checkpoint] = {}

    def behind_sinks() -> list[Behind]:
        stored = stored_seq(client)
        return [
            late
            for topic in SEQUENCED
            for late in _behind(
                topic,
                {p: c.seq.get(topic, 0) for p, c in checkpoints.items()},
                {p: stored.get((topic, p), 0) for p in checkpoints},
            )
        ]

    with reader(bootstrap_servers) as consumer:
        for topic in (USAGE_EVENTS, WORKSPACE_COMMANDS):
            ends = data_ends(consumer, topic)

            def behind_workers(topic: str = topic, ends: dict[int, int] = ends) -> list[Behind]:
                checkpoints.update(latest_checkpoints(consumer, ends))
                return list(
                    _behind(topic, ends, {p: c.inputs[topic].upto for p, c in checkpoints.items()})
                )

            _wait(behind_workers, deadline, timeout, progress)
        _wait(behind_sinks, deadline, timeout, progress)
        late_ends = {p: c.seq.get(USAGE_LATE, 0) for p, c in checkpoints.items()}

        def behind_resolver() -> list[Behind]:
            checkpoints.update(latest_checkpoints(consumer, late_ends))
            resolved = {p: c.late_resolved for p, c in checkpoints.items()}
            return list(_behind(LATE_EVENTS, late_ends, resolved))

        if any(c.late_resolved < late_ends[p] for p, c in checkpoints.items()):
            _wait(behind_resolver, deadline, timeout, progress)
            _wait(behind_sinks, deadline, timeout, progress)
    _wait_for_views(client, deadline, timeout)


def _wait_for_views(client: Client, deadline: float, timeout: float) -> None:
    """The position is itself one of the views of an insert: let its siblings get there too.

    Inserts that begin after this call are not waited for.
    """
    called = time.monotonic()
    while True:
        oldest = client.query(
            "SELECT max(elapsed) FROM system.processes"
            " WHERE query_kind = 'Insert' AND current_database = currentDatabase()"
        ).result_rows[0][0]
        if oldest <= time.monotonic() - called:
            return
        if time.monotonic() > deadline:
            raise NotSettled([Behind("an insert into the roll-ups", 0, 0, 1)], timeout)
        time.sleep(POLL_S / 5)  # ClickHouse tells nobody when an insert ends; most end in tenths


def wait_published(bootstrap_servers: str, workspace_id: str, timeout: float = 60.0) -> None:
    """Wait until `workspace.state` shows what the worker knows: it is written once a second.

    Raises:
        NotSettled: time is up.
        LogUnavailable: broker or topic is missing.
    """

    def behind() -> list[Behind]:
        worker = read_worker_state(bootstrap_servers)
        state = worker.workspaces.get(workspace_id)
        if state is None or not state.unpublished:
            return []
        return [Behind(WORKSPACE_STATE, worker.partitions[workspace_id], 0, 1)]

    _wait(behind, time.monotonic() + timeout, timeout, None)


def data_ends(consumer: Consumer, topic: str) -> dict[int, int]:
    """By partition: the offset behind the last committed record; 0 where there is none."""
    partitions = partitions_of(consumer, topic)
    ends = dict.fromkeys(partitions, 0)
    for partition, last in last_records(consumer, topic, partitions).items():
        ends[partition] = (last.offset() or 0) + 1
    return ends


def latest_checkpoints(consumer: Consumer, partitions: Iterable[int]) -> dict[int, Checkpoint]:
    """The last checkpoint of each partition; without those that have none yet."""
    records = last_records(consumer, WORKSPACE_CHECKPOINT, partitions, CHECKPOINT_KEY)
    return {
        partition: decode_checkpoint(value)
        for partition, record in records.items()
        if (value := record.value()) is not None
    }


def _behind(what: str, ends: dict[int, int], at: dict[int, int]) -> Iterable[Behind]:
    for partition, end in sorted(ends.items()):
        if at.get(partition, 0) < end:
            yield Behind(what, partition, at.get(partition, 0), end)


def _wait(
    look: Callable[[], list[Behind]], deadline: float, timeout: float, progress: Progress | None
) -> None:
    while behind := look():
        if progress is not None:
            progress(behind)
        if time.monotonic() > deadline:
            raise NotSettled(behind, timeout)
        time.sleep(POLL_S)  # nobody reports a commit or an insert: both are looked up

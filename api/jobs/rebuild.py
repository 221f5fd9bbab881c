"""Fill a fresh broker from ClickHouse: what the embedded stack does at every start.

Its broker forgets everything when it ends. The sink mirrors checkpoints, states and control topics
into ClickHouse, a checkpoint only once the rows up to its `seq` are there. So the way back is:

1. `control.plans` and `control.prices`, as they were, in one transaction.
2. The mirrored state of all partitions catches up with the raw rows above it (catch_up.py), and
   what was on its way between them is settled.
3. Each partition in one transaction of its own, under the worker's transactional id:
   `workspace.ids`, `workspace.state` and `workspace.checkpoint`, with the new topics' ids as
   epochs, `upto` 0, and every `seq` where ClickHouse has it. So `seq` runs on.

A crash on the way is repaired by running it again: what was committed is found and left alone.
A broker that already holds events is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from clickhouse_connect.driver.client import Client
from confluent_kafka import Consumer, KafkaException, Producer, TopicCollection
from confluent_kafka.admin import AdminClient

from spendstream.api.jobs import control, control_prices
from spendstream.api.jobs.catch_up import CannotCatchUp, CaughtUp, catch_up, settle_forwarded
from spendstream.api.jobs.control_writer import TRANSACTIONAL_ID
from spendstream.api.log import bounds, last_records, partitions_of, reader
from spendstream.api.restore import plan_table, restore
from spendstream.api.settled import latest_checkpoints
from spendstream.api.state import WorkerState, read_mirrored_state
from spendstream.api.stored import connect, stored_seq
from spendstream.schemas.partition import partition_of
from spendstream.schemas.plan import PlanVersion
from spendstream.schemas.prices.version import PriceVersion
from spendstream.schemas.topics import (
    CONTROL_PLANS,
    CONTROL_PRICES,
    INPUTS,
    LARGE_MESSAGE_BYTES,
    USAGE_ALERTS,
    USAGE_EVENTS,
    WORKSPACE_CHECKPOINT,
    WORKSPACE_IDS,
    WORKSPACE_STATE,
)
from spendstream.sinks.clickhouse.config import DATABASE
from spendstream.streams.core.finish import finish
from spendstream.streams.core.outputs import Batch
from spendstream.streams.core.state import InputPosition

WORKER_GROUP: Final = "spendstream-worker"
TRANSACTION_TIMEOUT_MS: Final = 60_000
_TIMEOUT_S: Final = 30.0

Progress = Callable[[str], None]


class RebuildFailed(RuntimeError):
    """The broker was not filled, or not wholly; the sentence says why and what to do."""


class Rebuilt(NamedTuple):
    """What was done. `rows`: those above the mirrored checkpoints."""

    partitions: int
    workspaces: int
    rows: int
    ids: int
    plans: int
    prices: int


NOTHING: Final = Rebuilt(0, 0, 0, 0, 0, 0)


def rebuild(
    bootstrap_servers: str,
    clickhouse_url: str,
    database: str = DATABASE,
    *,
    group: str = WORKER_GROUP,
    progress: Progress | None = None,
) -> Rebuilt:
    """Fill the broker, whose topics must exist, before anything else uses it.

    Args:
        group: the workers' consumer group; their transactional ids are made of it.
        progress: called with what is being done.

    Raises:
        RebuildFailed: the broker is in use already, or ClickHouse holds what cannot be continued.
        LogUnavailable: the broker does not answer.
        ClickHouseUnavailable: ClickHouse does not answer.
    """
    client = connect(clickhouse_url, database)
    try:
        return _Rebuild(bootstrap_servers, client, group, progress or _quiet).run()
    except KafkaException as error:
        raise RebuildFailed(f"the broker could not be filled: {error.args[0].str()}") from error
    except CannotCatchUp as error:
        raise RebuildFailed(str(error)) from error
    finally:
        client.close()


class _Rebuild:
    def __init__(
        self, bootstrap_servers: str, client: Client, group: str, progress: Progress
    ) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._client = client
        self._group = group
        self._progress = progress

    def run(self) -> Rebuilt:
        plans = control.mirrored_versions(self._client)
        prices = control_prices.mirrored_records(self._client)
        worker = read_mirrored_state(self._client)
        stored = stored_seq(self._client)
        if not (plans or prices or worker.checkpoints or stored):
            return NOTHING
        with reader(self._bootstrap_servers) as consumer:
            partitions = partitions_of(consumer, USAGE_EVENTS)
            _refuse_used(consumer, partitions)
            _refuse_other_partitions(worker, stored, len(partitions))
            done = latest_checkpoints(consumer, partitions)
            if len(done) == len(partitions):
                raise RebuildFailed(
                    "the broker is not fresh: workspace.checkpoint has a checkpoint for every "
                    "partition already; a broker is filled once, right after it has started"
                )
        self._progress("plans and prices")
        self._write_control([r.version for r in plans], [r.version for r in prices])
        table = plan_table(plans)
        results = []
        for partition in partitions:
            self._progress(f"partition {partition + 1} of {len(partitions)}")
            state = restore(worker, partition, len(partitions))
            results.append(catch_up(self._client, state, table))
        settle_forwarded(result.state.checkpoint for result in results)
        epochs = self._epochs()
        written = [r for r in results if r.state.checkpoint.partition not in done]
        for result in written:
            self._write(result, epochs, len(plans), len(prices))
        return Rebuilt(
            partitions=len(partitions),
            workspaces=sum(len(result.state.workspaces) for result in written),
            rows=sum(result.rows for result in written),
            ids=sum(result.ids for result in written),
            plans=len(plans),
            prices=len(prices),
        )

    def _write(
        self, result: CaughtUp, epochs: dict[str, str], plans_upto: int, prices_upto: int
    ) -> None:
        """A partition, in one transaction under its worker's id."""
        state = result.state
        checkpoint = state.checkpoint
        partition = checkpoint.partition
        for topic in INPUTS:
            checkpoint.inputs[topic] = InputPosition(epochs[topic], 0)
        checkpoint.ids_epoch = epochs[WORKSPACE_IDS]
        checkpoint.ids_from = checkpoint.ids_upto = 0
        checkpoint.truncated = {}
        checkpoint.checkpoint_epoch = ""  # the worker fills it in
        checkpoint.control[CONTROL_PLANS] = InputPosition(upto=plans_upto)
        checkpoint.control[CONTROL_PRICES] = InputPosition(epochs[CONTROL_PRICES], prices_upto)
        batch = Batch()
        batch.changed = dict(state.workspaces)
        closing = finish(state, batch)
        producer = self._producer(f"{self._group}-{partition}")
        producer.begin_transaction()
        _send(producer, USAGE_ALERTS, partition, result.alerts)
        _send(producer, WORKSPACE_IDS, partition, ((None, ids) for ids in result.packed_ids))
        _send(producer, WORKSPACE_STATE, partition, closing.state)
        _send(producer, WORKSPACE_CHECKPOINT, partition, closing.checkpoint)
        producer.commit_transaction(_TIMEOUT_S)

    def _write_control(self, plans: list[PlanVersion], prices: list[PriceVersion]) -> None:
        servers = self._bootstrap_servers
        there = [record.version for record in control.read_records(servers)]
        prices_there = control_prices.read_versions(servers)
        if (there, prices_there) == (plans, prices):
            return  # nothing to write, or an earlier run has written them
        if there or prices_there:
            raise RebuildFailed(
                f"the broker is not fresh: it holds {len(there)} versions of plans and "
                f"{len(prices_there)} prices that are not the {len(plans)} and {len(prices)} stored"
            )
        producer = self._producer(TRANSACTIONAL_ID)
        producer.begin_transaction()
        _send(producer, CONTROL_PLANS, 0, map(control.as_record, plans))
        _send(producer, CONTROL_PRICES, 0, map(control_prices.as_record, prices))
        producer.commit_transaction(_TIMEOUT_S)

    def _producer(self, transactional_id: str) -> Producer:
        producer = Producer(
            {
                "bootstrap.servers": self._bootstrap_servers,
                "transactional.id": transactional_id,
                "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
                "message.timeout.ms": TRANSACTION_TIMEOUT_MS,
                "message.max.bytes": LARGE_MESSAGE_BYTES,
                "queue.buffering.max.messages": 0,  # a partition's states are one transaction
                "compression.type": "lz4",
                "log_level": 0,
            }
        )
        producer.init_transactions(_TIMEOUT_S)
        return producer

    def _epochs(self) -> dict[str, str]:
        """The ids of the topics whose offsets a checkpoint holds."""
        admin = AdminClient({"bootstrap.servers": self._bootstrap_servers, "log_level": 0})
        topics = TopicCollection([*INPUTS, WORKSPACE_IDS, CONTROL_PRICES])
        described = admin.describe_topics(topics, request_timeout=_TIMEOUT_S)
        return {name: str(future.result().topic_id) for name, future in described.items()}


def _refuse_used(consumer: Consumer, partitions: list[int]) -> None:
    """Nobody may have been let in yet: an event that is there would be counted from nothing."""
    for topic in INPUTS:
        held = [p for p in partitions if bounds(consumer, topic, p)[1] > 0]
        if held and last_records(consumer, topic, held):
            raise RebuildFailed(
                f"the broker is not fresh: {topic} holds records already; a broker is filled "
                "before anything is sent to it"
            )


def _refuse_other_partitions(
    worker: WorkerState, stored: dict[tuple[str, int], int], partitions: int
) -> None:
    """A workspace's partition follows from their number: with another, it would be counted anew."""
    numbers = {p for _, p in stored} | set(worker.checkpoints)
    misplaced = [w for w, p in worker.partitions.items() if partition_of(w, partitions) != p]
    if misplaced or any(number >= partitions for number in numbers):
        raise RebuildFailed(
            f"the stored figures were written with another number of partitions than {partitions}"
            + (f" (workspace {misplaced[0]!r} is elsewhere)" if misplaced else "")
        )


def _send(
    producer: Producer,
    topic: str,
    partition: int,
    rows: Iterable[tuple[bytes | None, bytes]],
) -> None:
    for key, value in rows:
        producer.produce(topic, value, key, partition)


def _quiet(step: str) -> None:
    """Tell nobody."""

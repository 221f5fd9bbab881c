"""Nothing lost and nothing twice: `seq` without gaps, every record with one outcome, unique ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from clickhouse_connect.driver.client import Client

from spendstream.api.jobs.checks.difference import Difference, difference
from spendstream.api.stored import TABLES
from spendstream.schemas.topics import (
    USAGE_DEAD,
    USAGE_EVENTS,
    USAGE_LATE,
    USAGE_PRICED,
)
from spendstream.streams.core.state import OUTCOMES, Checkpoint


def check_sequence(client: Client, checkpoints: Mapping[int, Checkpoint]) -> Iterator[Difference]:
    """Rows of each topic and partition against the numbers 1 … the checkpoint's last."""
    for topic, table in TABLES.items():
        rows = client.query(
            f"SELECT partition, count(), uniqExact(seq), min(seq), max(seq) FROM {table} "
            "GROUP BY partition"
        ).result_rows
        found = {int(row[0]): tuple(map(int, row[1:])) for row in rows}
        for partition in sorted(found.keys() | checkpoints.keys()):
            count, distinct, first, last = found.get(partition, (0, 0, 1, 0))
            where = {"topic": topic, "partition": partition}
            if count != distinct:
                yield difference("seq: rows that are there twice", 0, count - distinct, **where)
            if first != 1:
                yield difference("seq: the first row", 1, first, **where)
            if last - first + 1 != distinct:
                missing = last - first + 1 - distinct
                holes = _holes(client, table, partition)
                yield difference("seq: rows that are missing", 0, missing, **where, at=holes)
            checkpoint = checkpoints.get(partition)
            if checkpoint is None:
                yield difference("a partition with rows has no checkpoint", 1, 0, **where)
            elif checkpoint.seq.get(topic, 0) != last:
                what = "seq: the last row (the worker's number, the stored one)"
                yield difference(what, checkpoint.seq.get(topic, 0), last, **where)


def check_conservation(checkpoints: Mapping[int, Checkpoint]) -> Iterator[Difference]:
    """Each record that was read ended in exactly one way."""
    for partition, checkpoint in sorted(checkpoints.items()):
        for topic, outcomes in checkpoint.outcomes.items():
            ended = sum(outcomes.get(outcome, 0) for outcome in OUTCOMES)
            if outcomes.get("read", 0) != ended:
                yield difference(
                    "records read and records with an outcome",
                    outcomes.get("read", 0),
                    ended,
                    topic=topic,
                    partition=partition,
                )
        for topic, outcome in (
            (USAGE_PRICED, "priced"),
            (USAGE_LATE, "late"),
            (USAGE_DEAD, "dead"),
        ):
            counted = sum(o.get(outcome, 0) for o in checkpoint.outcomes.values())
            if counted != checkpoint.seq.get(topic, 0):
                yield difference(
                    f"records that ended as {outcome} and rows written",
                    counted,
                    checkpoint.seq.get(topic, 0),
                    topic=topic,
                    partition=partition,
                )
        if checkpoint.late_pending < 0:
            yield difference(
                "late rows written, and how many of them are resolved",
                checkpoint.seq.get(USAGE_LATE, 0),
                checkpoint.late_resolved,
                partition=partition,
            )
    sent = sum(c.outcomes[USAGE_EVENTS].get("forwarded", 0) for c in checkpoints.values())
    taken = sum(c.taken_over for c in checkpoints.values())
    if sent != taken:
        yield difference("events forwarded and events taken over", sent, taken)


def check_unique_ids(client: Client) -> Iterator[Difference]:
    """Consumers drop alerts and overage by id: one that is there twice is two facts or a repeat."""
    for table in ("alerts", "overage"):
        rows = client.query(
            f"SELECT workspace_id, id, count() AS times FROM {table} GROUP BY workspace_id, id "
            "HAVING times > 1 ORDER BY workspace_id, id"
        ).result_rows
        for workspace, identity, times in rows:
            yield difference(f"{table}: rows of one id", 1, times, workspace=workspace, id=identity)


def _holes(client: Client, table: str, partition: int) -> list[str]:
    """The first few ranges of missing numbers, as `5` or `5-9`."""
    rows = client.query(
        "SELECT before + 1, seq - 1 FROM (SELECT seq, lagInFrame(seq, 1, seq) OVER "
        "(ORDER BY seq ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS before "
        f"FROM {table} WHERE partition = {{partition:UInt32}}) WHERE seq > before + 1 "
        "ORDER BY seq LIMIT 10",
        parameters={"partition": partition},
    ).result_rows
    return [str(a) if a == b else f"{a}-{b}" for a, b in rows]

"""Late rows in ClickHouse, and which of their ids were counted.

The ids never leave ClickHouse: the rows to look up are named by their seq, so nothing that a
producer wrote becomes part of a statement.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from spendstream.sinks.clickhouse.store import Store
from spendstream.sinks.late.window import LateRow

PAGE_BYTES: Final = 8 * 1_048_576
"""Of events in one page; a single one may be larger."""
IDS_KEPT_MS: Final = 37 * 86_400_000
"""`usage_ids` keeps an id for 40 days from its arrival, which may be an hour before the time that
the event claims. Where a row had to wait until it is older than this, the raw rows are asked."""

_PAGE: Final = """
SELECT seq, topic, `offset`, toUnixTimestamp64Milli(arrival), toUnixTimestamp64Milli(time),
    event_id, source, priced_seq, workspace_id, event
FROM (
    SELECT *, sum(length(event)) OVER (ORDER BY seq) AS bytes FROM late
    WHERE partition = {partition:UInt32} AND seq > {after:UInt64} AND seq <= {upto:UInt64}
)
WHERE bytes <= {most:UInt64} OR seq = {after:UInt64} + 1
ORDER BY seq
"""

_COUNTED: Final = """
SELECT DISTINCT workspace_id, event_id FROM {ids}
WHERE (workspace_id, event_id) IN (
    SELECT workspace_id, event_id FROM late
    WHERE partition = {{partition:UInt32}} AND seq > {{after:UInt64}} AND seq <= {{upto:UInt64}}
)
"""


def stored_upto(store: Store, partition: int) -> dict[str, int]:
    """Up to which seq a topic's rows were stored, all of them; where some are missing, how many
    there are. Raises Retry, Refused.

    The highest seq alone says nothing: a sink that did not notice that ClickHouse was restored from
    a backup has gone on above what was lost.
    """
    return {topic: stored.upto for topic, stored in store.positions(partition).items()}


def read_page(store: Store, partition: int, seqs: range) -> list[LateRow]:
    """The rows with these seqs, in order, as far as they make PAGE_BYTES. Raises Retry, Refused."""
    parameters = {
        "partition": partition, "after": seqs.start - 1, "upto": seqs.stop - 1, "most": PAGE_BYTES,
    }  # fmt: skip
    return [LateRow._make(row) for row in store.query(_PAGE, parameters)]


def counted_ids(
    store: Store, partition: int, rows: Sequence[LateRow], now_ms: int
) -> set[tuple[str, str]]:
    """(workspace id, event id) of those of the rows that were counted. Raises Retry, Refused."""
    old = min(row.time_ms for row in rows) < now_ms - IDS_KEPT_MS
    found = store.query(
        _COUNTED.format(ids="usage_raw" if old else "usage_ids"),
        {"partition": partition, "after": rows[0].seq - 1, "upto": rows[-1].seq},
    )
    return {(str(workspace_id), str(event_id)) for workspace_id, event_id in found}

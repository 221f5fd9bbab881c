"""Which topic goes into which table, as data.

A record's JSON is inserted as it is, so the columns that an insert names are the fields of its
model; the migrations make the stored columns from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel

from spendstream.schemas import topics
from spendstream.schemas.records import Alert, DeadLetter, LateUsage, Overage, PricedUsage
from spendstream.sinks.clickhouse.config import MAX_BLOCK_ROWS


@dataclass(frozen=True, slots=True)
class Table:
    """Where a sequenced topic goes."""

    topic: str
    name: str
    record: type[BaseModel]

    @property
    def columns(self) -> list[str]:
        return list(self.record.model_fields)


TABLES: Final[dict[str, Table]] = {
    table.topic: table
    for table in (
        Table(topics.USAGE_PRICED, "usage_raw", PricedUsage),
        Table(topics.USAGE_ALERTS, "alerts", Alert),
        Table(topics.USAGE_OVERAGE, "overage", Overage),
        Table(topics.USAGE_LATE, "late", LateUsage),
        Table(topics.USAGE_DEAD, "dead_letters", DeadLetter),
    )
}

ROLLUPS: Final = (
    "usage_quarter",
    "usage_day",
    "usage_user_day",
    "usage_hour",
    "usage_task",
    "usage_trackable",
    "usage_total",
    "usage_unique_users",
    "usage_ids",
)
"""Targets of usage_raw's materialized views."""

BLOCK_SETTINGS: Final[dict[str, str | int]] = {
    # asynchronous inserts (the default since 26.2) acknowledge what no token covers
    "async_insert": 0,
    "insert_deduplicate": 1,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    # one insert, one block: a token stands for all of it, and no reader sees half
    "max_insert_block_size": MAX_BLOCK_ROWS,
    "min_insert_block_size_rows": MAX_BLOCK_ROWS,
    "min_insert_block_size_bytes": 0,
    "max_partitions_per_insert_block": 0,
    # an insert is small: more threads cost more than they do
    "max_threads": 1,
    "max_insert_threads": 1,
}
INSERT_SETTINGS: Final[dict[str, str | int]] = {
    **BLOCK_SETTINGS,
    # several parsing threads would cut a batch into several blocks
    "input_format_parallel_parsing": 0,
    # a field that has no column would be lost in silence: refused instead
    "input_format_skip_unknown_fields": 0,
    "input_format_json_ignore_unknown_keys_in_named_tuple": 0,
    "input_format_null_as_default": 1,
    "input_format_json_read_objects_as_strings": 1,
}

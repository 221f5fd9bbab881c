"""What the loader needs to know. Unsafe values are refused at start, all reasons at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from spendstream.sinks.clickhouse.errors import ConfigError

DATABASE: Final = "spendstream"
MAX_BLOCK_ROWS: Final = 1_000_000
"""An insert has to be one block, which is what the deduplication token stands for."""
RESERVED: Final = frozenset(
    {"group.id", "isolation.level", "partition.assignment.strategy", "transactional.id"}
)
"""Kafka settings that exactness rests on."""


@dataclass(frozen=True, slots=True)
class LoaderConfig:
    """How to reach Kafka and ClickHouse, and how rows are batched.

    `mirror` is the embedded stack's: its broker forgets, so checkpoint, control topics and intents
    are kept in ClickHouse too, and a stop first loads all that the topics hold.
    `start_id` stands for the topics' ids where a broker has none: it must change whenever the
    broker forgot its topics. `session_timeout_s`: a loader that is silent for longer loses its
    partitions. `kafka` holds more librdkafka settings (security, for example).
    """

    bootstrap_servers: str
    clickhouse_url: str
    database: str = DATABASE
    group: str = "spendstream-sink"
    ready_file: Path | None = None
    mirror: bool = False
    linger_ms: int = 400
    max_rows: int = 50_000
    start_id: str = ""
    session_timeout_s: float = 10.0
    kafka: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        wrong = []
        if not self.bootstrap_servers:
            wrong.append("bootstrap_servers is empty")
        address = urlsplit(self.clickhouse_url)
        if address.scheme not in ("http", "https") or not address.hostname:
            wrong.append(f"clickhouse_url is not an http address: {self.clickhouse_url!r}")
        if not self.database.isidentifier() or not self.database.isascii():
            wrong.append(f"database is not a plain name: {self.database!r}")
        if not self.group:
            wrong.append("group is empty")
        if not 0 <= self.linger_ms <= 60_000:
            wrong.append(f"linger_ms is not within 0 and 60000: {self.linger_ms}")
        if not 1 <= self.max_rows <= MAX_BLOCK_ROWS:
            wrong.append(f"max_rows is not within 1 and {MAX_BLOCK_ROWS}: {self.max_rows}")
        if reserved := sorted(RESERVED & self.kafka.keys()):
            wrong.append(f"kafka sets what exactness rests on: {', '.join(reserved)}")
        if wrong:
            raise ConfigError("; ".join(wrong))

    def client_settings(self) -> dict[str, str | int | float | bool]:
        """Of every Kafka client of the loader."""
        return {**self.kafka, "bootstrap.servers": self.bootstrap_servers}

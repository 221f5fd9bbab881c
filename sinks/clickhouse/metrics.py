"""Every metric of the loader. Never a label by workspace or user: there are too many of them."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

# Rows that ClickHouse acknowledged, by topic. A retried insert counts once.
ROWS: Final = Counter("spendstream_sink_rows", "Rows inserted", ["topic"])

# Inserts that ClickHouse acknowledged, by topic. rows / inserts is the size of a batch.
INSERTS: Final = Counter("spendstream_sink_inserts", "Inserts acknowledged", ["topic"])

# Time of one acknowledged insert with all its views; failed attempts are not in it.
INSERT_SECONDS: Final = Histogram(
    "spendstream_sink_insert_seconds",
    "Time of an acknowledged insert",
    ["topic"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)

# Records that were not above the high-water seq. On Apache Kafka it stays 0; the embedded broker
# shows aborted records, and its restarts send rows again.
REPEATS: Final = Counter("spendstream_sink_repeats", "Repeated records dropped by seq", ["topic"])

# Missing seqs: rows were lost before they came here. Alert on any.
GAPS: Final = Counter("spendstream_sink_gaps", "Gaps found in seq", ["topic"])

# Intents of an earlier run whose range was read and inserted again.
INTENTS_REPLAYED: Final = Counter(
    "spendstream_sink_intents_replayed", "Ranges inserted again after a crash", ["topic"]
)

# Attempts that failed and are tried again, by what was being done.
RETRIES: Final = Counter("spendstream_sink_retries", "Attempts to be tried again", ["step"])

# Age of the oldest record of an insert when it was acknowledged: Kafka's time stamp to ClickHouse.
LAG_SECONDS: Final = Histogram(
    "spendstream_sink_lag_seconds",
    "Age of the oldest record of an acknowledged insert",
    ["topic"],
    buckets=(0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600),
)

# Highest seq in ClickHouse, by topic and partition: compare with the worker's.
POSITION: Final = Gauge(
    "spendstream_sink_position", "Highest seq in ClickHouse", ["topic", "partition"]
)

# Partitions that stopped for a named error. Alert on any.
STOPPED: Final = Gauge("spendstream_sink_stopped", "1 where a partition stopped", ["partition"])

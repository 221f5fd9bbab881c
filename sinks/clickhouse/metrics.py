"""Every metric of the loader. Never a label by workspace or user: there are too many of them."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from spendstream.schemas.topics import SEQUENCED

# Rows that ClickHouse acknowledged, by topic. A retried insert counts once.
ROWS: Final = Counter("spendstream_sink_rows", "Rows inserted", ["topic"])

# Inserts that ClickHouse acknowledged, by topic, and the rows that each had.
INSERTS: Final = Counter("spendstream_sink_inserts", "Inserts acknowledged", ["topic"])
INSERT_ROWS: Final = Histogram(
    "spendstream_sink_insert_rows",
    "Rows of an acknowledged insert",
    ["topic"],
    buckets=(1, 10, 100, 500, 1_000, 2_500, 5_000, 10_000, 20_000, 50_000),
)

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

# Missing seqs: rows were lost before they came here, and the partition stops. Alert on any.
GAPS: Final = Counter("spendstream_sink_gaps", "Gaps found in seq", ["topic"])

# Intents of an earlier run whose range was read and inserted again.
INTENTS_REPLAYED: Final = Counter(
    "spendstream_sink_intents_replayed", "Ranges inserted again after a crash", ["topic"]
)

# From the start, so that the first is a rise: a series that begins at 1 has a rate of 0.
for _topic in SEQUENCED:
    GAPS.labels(_topic)
    INTENTS_REPLAYED.labels(_topic)

# Attempts that failed and are tried again, by what was being done.
RETRIES: Final = Counter("spendstream_sink_retries", "Attempts to be tried again", ["step"])

# Age of the oldest record of an insert when it was acknowledged: Kafka's time stamp to ClickHouse.
LAG_SECONDS: Final = Histogram(
    "spendstream_sink_lag_seconds",
    "Age of the oldest record of an acknowledged insert",
    ["topic"],
    buckets=(0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600),
)

# How far behind now: offsets that are not in ClickHouse (markers of transactions among them while
# there is more to read), and how long ago the last record that is in had arrived. 0 at the end.
LAG_EVENTS: Final = Gauge(
    "spendstream_sink_lag_events", "Offsets not in ClickHouse", ["topic", "partition"]
)
BEHIND_SECONDS: Final = Gauge(
    "spendstream_sink_behind_seconds",
    "Since the arrival of what was loaded last, where more waits",
    ["topic", "partition"],
)

# Partitions lost to another loader, or after a transaction that hung: it joins the group again.
FENCED: Final = Counter("spendstream_sink_fenced", "Partitions lost while they were loaded")

# Highest seq in ClickHouse, by topic and partition: compare with the worker's.
POSITION: Final = Gauge(
    "spendstream_sink_position", "Highest seq in ClickHouse", ["topic", "partition"]
)

# Partitions that stopped for a named error. Alert on any.
STOPPED: Final = Gauge("spendstream_sink_stopped", "1 where a partition stopped", ["partition"])

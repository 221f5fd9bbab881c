"""Every metric of the stream worker. Base units; never a label by workspace or user."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

events = Counter("spendstream_worker_events_total", "Records of both inputs, committed.")
batches = Counter("spendstream_worker_batches_total", "Transactions committed.")
rows = Counter("spendstream_worker_rows_total", "Rows produced, also those of retries.", ["topic"])
commit_seconds = Histogram(
    "spendstream_worker_commit_seconds",
    "From the last record of a batch to its commit.",
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 15),
)
recoveries = Counter("spendstream_worker_recoveries_total", "Partitions recovered.")
recovery_seconds = Histogram(
    "spendstream_worker_recovery_seconds",
    "From assignment or error to running.",
    buckets=(0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120),
)
fenced = Counter("spendstream_worker_fenced_total", "Partitions lost to another owner.")
errors = Counter("spendstream_worker_errors_total", "Errors that led to a recovery.", ["kind"])
halted = Counter(
    "spendstream_worker_halted_total", "Partitions standing still for an operator.", ["kind"]
)
running = Gauge("spendstream_worker_partitions", "Partitions running here.")

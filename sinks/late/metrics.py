"""Every metric of the late lane. Never a label by workspace or user."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge

# Late rows in ClickHouse that the worker has not resolved: they are in no figure yet. Alert where
# it stays up. Either the worker is away, or the log of the sink says what fails.
PENDING: Final = Gauge("spendstream_late_pending", "Late rows not resolved", ["partition"])

# Age of the oldest of them, since its arrival. An id is looked up in usage_ids for 37 days.
OLDEST_SECONDS: Final = Gauge(
    "spendstream_late_oldest_seconds", "Age of the oldest late row not resolved", ["partition"]
)

# Rows that this process sent and the worker resolved, by what was sent: readmit (its id was not
# found: the event is counted, unless a second copy was faster) or duplicate.
RESOLVED: Final = Counter("spendstream_late_resolved", "Late rows resolved", ["kind"])

# Commands that were forgotten and sent again, because the worker's mark stood still or went back.
# A few around crashes of a worker are nothing to worry about.
RESENT: Final = Counter("spendstream_late_resent", "Commands sent again")

# Attempts that failed, by what failed: kafka, clickhouse, data (rows are missing), other.
FAILURES: Final = Counter("spendstream_late_failures", "Attempts to be tried again", ["what"])

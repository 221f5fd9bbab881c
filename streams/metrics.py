"""Every metric of the stream worker. Base units; never a label by workspace or user.

What is counted was committed, once: of a batch that was aborted and done again, nothing is counted
twice. A worker that is killed between a commit and its counting counts too little; exact figures
are in the checkpoint and in ClickHouse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from spendstream.schemas.reasons import Reason
from spendstream.streams.health import Standing

if TYPE_CHECKING:
    from spendstream.streams.core.outputs import Batch
    from spendstream.streams.core.state import Checkpoint

# Records of both inputs, each read once: events and commands.
events = Counter("spendstream_worker_events_total", "Records of both inputs, committed.")

# What became of them: priced, duplicate, late, dead, forwarded. Their sum is the records.
outcomes = Counter(
    "spendstream_worker_outcomes_total", "Records committed, by outcome.", ["topic", "outcome"]
)

# Dead letters by reason: a rise after a deployment is a producer that sends nonsense.
dead = Counter("spendstream_worker_dead_total", "Dead letters committed.", ["reason"])
for _reason in Reason:  # from the start: a series that begins at 1 has a rate of 0
    dead.labels(_reason.value)

# Events whose model the price book does not know: their usage counts, their cost is missing.
unpriced = Counter("spendstream_worker_unpriced_total", "Priced rows without a cost, committed.")

# Events that emitters say they dropped (`ce_dropped`): spend that nobody counts. Above 0: look into
# the services' logs for "usage events dropped", give them a spool or a larger queue.
emitter_dropped = Counter(
    "spendstream_worker_emitter_dropped_total", "Events that emitters report as dropped."
)

# Rows by output topic. Compare with spendstream_sink_rows.
rows = Counter("spendstream_worker_rows_total", "Sequenced rows committed.", ["topic"])

# A transaction is a batch; those without records are heartbeats and what is due by time.
batches = Counter("spendstream_worker_batches_total", "Transactions committed.")
batch_events = Histogram(
    "spendstream_worker_batch_events",
    "Records of a transaction that had any.",
    buckets=(1, 10, 100, 500, 1_000, 2_500, 5_000, 10_000, 20_000),
)
transaction_seconds = Histogram(
    "spendstream_worker_transaction_seconds",
    "From the first record of a transaction to its commit, lingering included.",
    buckets=(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 15),
)
commit_seconds = Histogram(
    "spendstream_worker_commit_seconds",
    "From the last record of a batch to its commit.",
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 15),
)

# Also of every assignment, so each rebalance adds some. Alert on a rate that lasts.
recoveries = Counter("spendstream_worker_recoveries_total", "Partitions recovered.")
# Of those: nobody had committed to the partition meanwhile, so nothing was read.
resumed = Counter("spendstream_worker_resumed_total", "Partitions gone on with from memory.")
recovery_seconds = Histogram(
    "spendstream_worker_recovery_seconds",
    "From assignment or error to running.",
    buckets=(0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120),
)
fenced = Counter("spendstream_worker_fenced_total", "Partitions lost to another owner.")
errors = Counter("spendstream_worker_errors_total", "Errors that led to a recovery.", ["kind"])

# A fault of the worker, whose traceback is in the letter. Alert on any.
poison = Counter(
    "spendstream_worker_poison_total", "Records that the core failed on, dead-lettered."
)

# Counted at every look, twice a minute. Alert on any.
halted = Counter(
    "spendstream_worker_halted_total", "Partitions standing still for an operator.", ["kind"]
)
running = Gauge("spendstream_worker_partitions", "Partitions running here.")


class Tally:
    """Counts a partition's commits: each time what the checkpoint has more than the time before."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        """From a checkpoint that another run has committed, and counted."""
        self._outcomes, self._seq = _figures(checkpoint)

    def committed(self, checkpoint: Checkpoint, batch: Batch, seconds: float) -> None:
        """The batch is committed, `seconds` after its transaction began."""
        now, seq = _figures(checkpoint)
        read = 0
        for (topic, outcome), total in now.items():
            if more := total - self._outcomes.get((topic, outcome), 0):
                if outcome == "read":
                    read += more
                else:
                    outcomes.labels(topic, outcome).inc(more)
        for topic, total in seq.items():
            if more := total - self._seq.get(topic, 0):
                rows.labels(topic).inc(more)
        self._outcomes, self._seq = now, seq
        for reason, letters in batch.dead.items():
            dead.labels(reason).inc(letters)
        unpriced.inc(batch.unpriced)
        emitter_dropped.inc(batch.emitter_dropped)
        batches.inc()
        if read:
            events.inc(read)
            batch_events.observe(read)
        transaction_seconds.observe(seconds)


def _figures(checkpoint: Checkpoint) -> tuple[dict[tuple[str, str], int], Mapping[str, int]]:
    by_outcome = {
        (topic, outcome): total
        for topic, totals in checkpoint.outcomes.items()
        for outcome, total in totals.items()
    }
    return by_outcome, dict(checkpoint.seq)


class Partitions(Collector):
    """Gauges by partition, as they are when asked: those that left leave no series behind."""

    look: Callable[[], Sequence[Standing]] = staticmethod(lambda: ())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        # Assigned, but not running: being recovered, or halted.
        assigned = GaugeMetricFamily(
            "spendstream_worker_partitions_assigned", "Partitions assigned to this process."
        )
        # An idle partition commits a heartbeat every five seconds. Alert above 60.
        age = GaugeMetricFamily(
            "spendstream_worker_checkpoint_age_seconds",
            "Since the last commit, or the recovery after it.",
            labels=["partition"],
        )
        # What the log has and no checkpoint covers; markers of transactions are among it.
        lag = GaugeMetricFamily(
            "spendstream_worker_lag_events", "Offsets not committed.", labels=["topic", "partition"]
        )
        # The inputs are merged by arrival, so one time tells how far either is.
        behind = GaugeMetricFamily(
            "spendstream_worker_lag_seconds",
            "Since the arrival of the last record committed; 0 where none waits.",
            labels=["topic", "partition"],
        )
        standings = self.look()
        assigned.add_metric([], len(standings))
        for standing in standings:
            partition = str(standing.partition)
            age.add_metric([partition], standing.checkpoint_age_s)
            for topic, waiting in standing.lag.items():
                lag.add_metric([topic, partition], waiting.events)
                behind.add_metric([topic, partition], waiting.seconds)
        yield from (assigned, age, lag, behind)


partitions: Final = Partitions()
REGISTRY.register(partitions)

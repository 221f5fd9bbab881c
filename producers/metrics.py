"""Every metric of the emitter, for a service that serves Prometheus metrics anyway.

    prometheus_client.REGISTRY.register(EmitterCollector(emitter))

Needs prometheus-client, which emitting alone does not. The figures are the emitter's own (`stats`),
read when Prometheus asks: `emit()` pays nothing for them. Never a label by workspace.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from spendstream.producers.stats import Drop, EmitterStats


class Emitter(Protocol):
    """What is asked of a `UsageEmitter`."""

    @property
    def stats(self) -> EmitterStats: ...


class EmitterCollector(Collector):
    """One emitter's figures; after a fork those of the process that is asked."""

    def __init__(self, emitter: Emitter) -> None:
        self._emitter = emitter

    def collect(self) -> Iterator[Metric]:
        stats = self._emitter.stats
        # Kafka has acknowledged them.
        yield CounterMetricFamily(
            "spendstream_emitter_delivered", "Events delivered", value=stats.delivered
        )
        # Alert on any: a reason each, all of them from the start, so that a rate is seen.
        dropped = CounterMetricFamily(
            "spendstream_emitter_dropped", "Events not delivered, by reason", labels=["reason"]
        )
        for reason in Drop:
            dropped.add_metric([reason.value], stats.dropped.get(reason, 0))
        yield dropped
        # Events that Kafka's client sent once more; Kafka drops such repeats itself.
        yield CounterMetricFamily(
            "spendstream_emitter_retried", "Events sent again", value=stats.retried
        )
        # In memory or in the spool. It grows where the broker is slower than the service, or gone.
        yield GaugeMetricFamily(
            "spendstream_emitter_queued", "Events not acknowledged yet", value=stats.queued
        )
        # With a spool: on disk now; left behind by an earlier process; would not survive a crash.
        yield GaugeMetricFamily(
            "spendstream_emitter_spooled", "Events in the spool", value=stats.spooled
        )
        yield CounterMetricFamily(
            "spendstream_emitter_recovered", "Events of an earlier process", value=stats.recovered
        )
        yield CounterMetricFamily(
            "spendstream_emitter_unspooled", "Events the spool did not take", value=stats.unspooled
        )

"""The emitter's figures as Prometheus sees them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from spendstream.producers.metrics import EmitterCollector
from spendstream.producers.stats import Drop, EmitterStats


class Emitter:
    stats = EmitterStats(
        queued=5,
        delivered=90,
        retried=3,
        dropped={Drop.EXPIRED: 2},
        spooled=4,
        recovered=6,
        unspooled=1,
    )


def test_every_figure_is_told() -> None:
    registry = CollectorRegistry()
    registry.register(EmitterCollector(Emitter()))
    seen = {
        name: registry.get_sample_value(f"spendstream_emitter_{name}")
        for name in (
            *("delivered_total", "retried_total", "queued", "spooled"),
            *("recovered_total", "unspooled_total"),
        )
    }
    assert seen == {
        "delivered_total": 90,
        "retried_total": 3,
        "queued": 5,
        "spooled": 4,
        "recovered_total": 6,
        "unspooled_total": 1,
    }
    dropped = {
        reason: registry.get_sample_value("spendstream_emitter_dropped_total", {"reason": reason})
        for reason in Drop
    }
    assert dropped == {reason: 2 if reason is Drop.EXPIRED else 0 for reason in Drop}

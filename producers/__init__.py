"""What a service imports: the emitter and what feeds it."""

from spendstream.producers.emitter import UsageEmitter
from spendstream.producers.record import record, use
from spendstream.producers.stats import Drop, EmitterStats
from spendstream.producers.tracking import carried, track, tracked
from spendstream.producers.wrap import instrument, uninstrument

__all__ = [
    "Drop",
    "EmitterStats",
    "UsageEmitter",
    "carried",
    "instrument",
    "record",
    "track",
    "tracked",
    "uninstrument",
    "use",
]

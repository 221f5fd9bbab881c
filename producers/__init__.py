"""What a service imports: the emitter and what feeds it."""

from spendstream.producers.emitter import UsageEmitter
from spendstream.producers.stats import Drop, EmitterStats

__all__ = ["Drop", "EmitterStats", "UsageEmitter"]

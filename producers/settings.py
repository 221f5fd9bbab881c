"""The emitter's settings: what a service may set, what exactness depends on, and the switch."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any, Final

from spendstream.producers.stats import log

DISABLED_VARIABLE: Final = "SPENDSTREAM_DISABLED"
SPOOL_VARIABLE: Final = "SPENDSTREAM_SPOOL"
SPOOL_BYTES: Final = 268_435_456  # some 400,000 events
_LEAST_SPOOL_BYTES: Final = 1_048_576
_YES: Final = frozenset({"1", "true", "yes", "on"})
_NO: Final = frozenset({"", "0", "false", "no", "off"})

_FIXED: Final[dict[str, Any]] = {
    # a repeat would be dropped by its id, but reordering within a workspace would not be noticed
    "enable.idempotence": True,
    "acks": "all",
    # librdkafka's own default is CRC32: the worker would have to forward every event
    "partitioner": "murmur2_random",
}
_DEFAULTS: Final[dict[str, Any]] = {
    "compression.type": "lz4",
    "linger.ms": 5,
    "queue.buffering.max.messages": 100_000,
    "queue.buffering.max.kbytes": 65_536,
    # five minutes of broker outage are bridged, as long as the queue holds
    "message.timeout.ms": 300_000,
    "statistics.interval.ms": 2_000,
}


def disabled() -> bool:
    """Whether SPENDSTREAM_DISABLED turns the emitter off: 1, true, yes or on, in any case.

    What is neither that nor a no (0, false, no, off, nothing) is a typing error. It is logged, and
    events are sent: spend that nobody counts is the worse surprise.
    """
    given = os.environ.get(DISABLED_VARIABLE, "")
    said = given.strip().lower()
    if said not in _YES | _NO:
        log.warning(
            "%s=%r is neither yes (%s) nor no (%s): events are sent",
            DISABLED_VARIABLE,
            given,
            "1, true, yes, on",
            "0, false, no, off",
        )
    return said in _YES


def for_kafka(bootstrap_servers: str, given: dict[str, Any]) -> dict[str, Any]:
    """librdkafka's settings; `given` has them as `linger.ms` or `linger_ms`. Raises ValueError."""
    named = {k if k == "log_level" else k.replace("_", "."): v for k, v in given.items()}
    if clash := sorted(named.keys() & _FIXED.keys()):
        raise ValueError(f"exactness depends on these settings, they are fixed: {', '.join(clash)}")
    return {**_DEFAULTS, **named, **_FIXED, "bootstrap.servers": bootstrap_servers}


def spool(given: str | os.PathLike[str] | None) -> Path | None:
    """The spool's directory; None: no spool. An empty text is a no, also against the variable."""
    text = os.environ.get(SPOOL_VARIABLE, "") if given is None else os.fspath(given)
    return Path(text).absolute() if text else None


def spool_bytes(given: int) -> int:
    """Raises ValueError."""
    if given < _LEAST_SPOOL_BYTES:
        raise ValueError(f"spool_bytes must be at least {_LEAST_SPOOL_BYTES:,}, not {given:,}")
    return given


def default_source() -> str:
    """Who emits, where the service does not say."""
    return os.environ.get("OTEL_SERVICE_NAME") or socket.gethostname() or "unknown"

"""Back off and try again, until it works or the partition is given up."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

import structlog

from spendstream.sinks.clickhouse import metrics
from spendstream.sinks.clickhouse.errors import Lost, Retry

T = TypeVar("T")

FIRST_SECONDS: Final = 0.1
CAP_SECONDS: Final = 10.0

_log = structlog.get_logger("spendstream.sinks")


def delays(uniform: Callable[[float, float], float] = random.uniform) -> Iterator[float]:
    """Seconds to wait after each failure: doubling to a cap, each shortened by up to half.

    The jitter keeps partitions that failed together from coming back together.
    """
    delay = FIRST_SECONDS
    while True:
        yield uniform(delay / 2, delay)
        delay = min(delay * 2, CAP_SECONDS)


def until(step: str, given_up: threading.Event, attempt: Callable[[], T]) -> T:
    """The attempt's result, however many attempts it takes.

    Raises Lost once `given_up` is set, and whatever else than Retry the attempt raises.
    """
    for delay in delays():
        try:
            return attempt()
        except Retry as error:
            metrics.RETRIES.labels(step).inc()
            _log.warning("trying again", step=step, seconds=round(delay, 2), why=str(error))
        if given_up.wait(delay):
            break
    raise Lost(f"the partition was given up while {step} failed")

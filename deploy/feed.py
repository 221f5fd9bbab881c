"""Sending many events through the emitter: at full speed or in time, with a manifest.

A service must never wait, so the emitter drops when its queue is full. Here nobody waits for an
answer: this waits for the queue instead.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from spendstream.deploy import failures
from spendstream.deploy.console import CommandError
from spendstream.deploy.manifest import Manifest
from spendstream.producers import UsageEmitter
from spendstream.schemas import UsageEvent

MAX_QUEUED: Final = 50_000
FLUSH_S: Final = 60.0
_CHECK_EVERY: Final = 200


class Call(NamedTuple):
    """An event to send; `time_ms` is its `ce_time`."""

    id: str
    time_ms: int
    event: UsageEvent


@dataclass(frozen=True, slots=True)
class Fed:
    """What a run sent. Tokens are sums over `events`; `retried`: how
    often Kafka's client sent an event once more."""

    events: int
    input_tokens: int
    output_tokens: int
    retried: int
    seconds: float


def feed(
    calls: Sequence[Call],
    bootstrap_servers: str,
    manifest: Manifest,
    *,
    speed: float | None = None,
    source: str,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Fed:
    """Send the calls in their order and wait until all are delivered.

    Args:
        speed: times as fast as the calls' own times; None: as fast as the broker takes them.
        on_progress: told how many have been sent.

    Raises:
        CommandError: sending is turned off; or not all were delivered, and sending the same again
            is safe, as ids are dropped.
    """
    began = time.monotonic()
    input_tokens = output_tokens = 0
    with UsageEmitter(bootstrap_servers, source=source) as emitter:
        if not emitter.enabled:
            raise CommandError(
                "SPENDSTREAM_DISABLED is set, so that nothing is sent: unset it first",
                failures.WRONG_INPUT,
            )
        for number, call in enumerate(calls):
            if speed is not None:
                _sleep_until(began + (call.time_ms - calls[0].time_ms) / 1000 / speed)
            if number % _CHECK_EVERY == 0:
                on_progress(number)
                # emit() drops what the queue cannot hold. This ends, broker or not: what is queued
                # expires.
                while emitter.stats.queued > MAX_QUEUED:
                    time.sleep(0.01)  # flush() waits for the whole queue, nothing for some room
            if emitter.emit(call.event, id=call.id, time_ms=call.time_ms):
                manifest.add(*call)
            if call.event.usage is not None:
                input_tokens += call.event.usage.input_tokens
                output_tokens += call.event.usage.output_tokens
        emitter.flush(FLUSH_S)
        on_progress(len(calls))
        stats = emitter.stats
    if stats.delivered != len(calls):
        raise CommandError(
            f"{len(calls) - stats.delivered} of {len(calls)} events were not delivered to "
            f"{bootstrap_servers}. Repeat the command: what arrived is not counted twice.",
            failures.NOT_RIGHT,
        )
    return Fed(len(calls), input_tokens, output_tokens, stats.retried, time.monotonic() - began)


def _sleep_until(moment: float) -> None:
    pause = moment - time.monotonic()
    if pause > 0:
        time.sleep(pause)  # the calls are sent at the pace at which they happened

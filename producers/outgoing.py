"""`Outgoing`: what is known of an event between `emit()` and Kafka's acknowledgement."""

from __future__ import annotations


class Outgoing:
    """An event on its way, without its bytes: those are in Kafka's client and in the spool.

    No lock: `row` and `waits` are the spool's thread's once the spool was told of the event, and
    `done` only ever becomes True, before `kept` is looked at.
    """

    __slots__ = (
        "alone", "done", "dropped", "event_id", "forgotten", "kept",
        "reports", "row", "source", "time_ms", "waits",
    )  # fmt: skip

    def __init__(self, event_id: bytes, source: bytes, time_ms: int) -> None:
        self.event_id = event_id
        self.source = source
        self.time_ms = time_ms
        self.forgotten = 0  # how many brokers have lost it
        self.reports = 0  # how many drops its `ce_dropped` says
        self.alone = False  # Kafka's client sends it in a batch of its own
        self.kept = False  # the spool was given it
        self.row: int | None = None  # where it is in the spool's file
        self.waits = False  # the spool is to send it (again)
        self.dropped = False  # and counted
        self.done = False  # it needs no spool any more: acknowledged, or dropped and counted

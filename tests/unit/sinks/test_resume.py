"""Where a topic is read on, by its last intent and by what its log still holds."""

from __future__ import annotations

import pytest
from confluent_kafka import OFFSET_BEGINNING

from spendstream.schemas.topics import USAGE_ALERTS
from spendstream.sinks.clickhouse.config import LoaderConfig
from spendstream.sinks.clickhouse.epochs import Bounds
from spendstream.sinks.clickhouse.intents import Intent
from spendstream.sinks.clickhouse.loading import Loading
from spendstream.sinks.clickhouse.tables import TABLES

TABLE = TABLES[USAGE_ALERTS]
STORED = 8


def intent(epoch: str, *, done: bool) -> Intent:
    """All of it is stored where it is done, and nothing of it where it is not."""
    before, seq = (5, STORED) if done else (STORED, STORED)
    return Intent(
        epoch=epoch, start=10, end=15, n=4, seq_before=before, seq=seq, inserts=0, at_ms=0,
        done=done,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("log", "last", "epoch", "start"),
    [
        (Bounds(0, 15), intent("a", done=True), "a", 15),
        (Bounds(0, 15), intent("a", done=False), "a", 10),
        (Bounds(15, 15), intent("a", done=True), "a", 15),
        # retention has taken what is next, and offsets never come again
        (Bounds(16, 20), intent("a", done=True), "a", OFFSET_BEGINNING),
        (Bounds(11, 20), intent("a", done=False), "a", OFFSET_BEGINNING),
        # the log was cut short: they come again, for other rows
        (Bounds(0, 14), intent("a", done=True), "a@8", OFFSET_BEGINNING),
        (Bounds(0, 14), intent("a", done=False), "a@8", OFFSET_BEGINNING),
        (Bounds(0, 0), intent("a@3", done=True), "a@8", OFFSET_BEGINNING),
        (Bounds(0, 15), intent("a@3", done=True), "a@3", 15),
        # made anew
        (Bounds(0, 0), intent("ab", done=True), "a", OFFSET_BEGINNING),
        (Bounds(0, 15), intent("b@3", done=True), "a", OFFSET_BEGINNING),
        (Bounds(0, 15), None, "a", OFFSET_BEGINNING),
    ],
)
def test_where_a_topic_is_read_on(log: Bounds, last: Intent | None, epoch: str, start: int) -> None:
    config = LoaderConfig("127.0.0.1:1", "http://127.0.0.1")
    loading = Loading(config, None, 0)  # type: ignore[arg-type]
    stream, begin = loading._resume(TABLE, "a", log, STORED, last)
    assert (stream.epoch, begin) == (epoch, start)
    assert stream.reading_again == (last is not None and not last.done and start == last.start)

"""Intents, and a stream that reads an earlier run's intent again."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message
from hypothesis import given
from hypothesis import strategies as st

from spendstream.schemas.topics import SEQUENCED, USAGE_ALERTS
from spendstream.sinks.clickhouse import intents
from spendstream.sinks.clickhouse.errors import Changed, Unreadable
from spendstream.sinks.clickhouse.intents import TRUST_INSERTS, TRUST_MS, Intent, Standing
from spendstream.sinks.clickhouse.ranges import Range
from spendstream.sinks.clickhouse.stream import Stream
from spendstream.sinks.clickhouse.tables import TABLES

TABLE = TABLES[USAGE_ALERTS]
INTENT = Intent(epoch="e", start=10, end=15, n=4, seq_before=5, seq=8, inserts=100, at_ms=1_000_000)


def row(seq: int) -> bytes:
    return b'{"seq":%d,"partition":0}' % seq


def record(offset: int, seq: int) -> Message:
    return Message(offset=offset, value=row(seq), timestamp=(TIMESTAMP_LOG_APPEND_TIME, 0))


def test_every_sequenced_topic_has_a_table() -> None:
    assert tuple(TABLES) == SEQUENCED


def test_intent_travels_whole() -> None:
    value = intents.encode(INTENT)
    assert intents.decode(value) == INTENT
    assert msgspec.json.decode(value)["from"] == 10
    assert intents.decode(intents.encode(INTENT.finished())).done


@pytest.mark.parametrize("value", [b"", b"{}", b'{"epoch":1}', b"\xff"])
def test_a_foreign_value_is_named(value: bytes) -> None:
    with pytest.raises(Unreadable, match="no intent"):
        intents.decode(value)


@pytest.mark.parametrize(
    ("stored", "pending", "done"),
    [
        (4, Standing.BEHIND, Standing.BEHIND),
        (5, Standing.BEFORE, Standing.BEHIND),
        (7, Standing.AHEAD, Standing.BEHIND),
        (8, Standing.THERE, Standing.THERE),
        (9, Standing.AHEAD, Standing.AHEAD),
    ],
)
def test_standing(stored: int, pending: Standing, done: Standing) -> None:
    assert INTENT.standing(stored) is pending
    assert INTENT.finished().standing(stored) is done


def test_trust_ends_with_inserts_and_with_time() -> None:
    assert INTENT.trusts_token(100 + TRUST_INSERTS, 1_000_000 + TRUST_MS, 999_999)
    assert not INTENT.trusts_token(101 + TRUST_INSERTS, 1_000_000, 0)
    assert not INTENT.trusts_token(100, 1_000_001 + TRUST_MS, 0)
    assert not INTENT.trusts_token(100, 1_000_000, 1_000_000)


@given(st.integers(1, 20), st.integers(0, 20))
def test_what_was_taken_can_be_taken_again(first: int, more: int) -> None:
    before = Stream(TABLE, 0, "e", 0, None)
    for seq in range(1, first + 1):
        before.add([record(seq * 2, seq)])
    work, _ = before.take(7)
    assert work is not None
    # a crash; the next owner reads from the intent's start, as far as the topic goes by then
    after = Stream(TABLE, 0, "e", 0, work.intent)
    assert after.reading_again
    after.add([record(seq * 2, seq) for seq in range(1, first + more + 1)])
    again, _ = after.take(99)
    assert again is not None
    assert again.again
    assert (again.intent, again.batch.rows) == (work.intent, work.batch.rows)
    rest, _ = after.take(99)
    assert (rest is not None) == (more > 0)
    if rest is not None:
        assert not rest.again
        assert rest.batch.rows == [row(seq) for seq in range(first + 1, first + more + 1)]


def test_nothing_is_taken_before_the_range_is_whole() -> None:
    stream = Stream(TABLE, 0, "e", 5, INTENT)
    for offset, seq in ((10, 6), (11, 6), (12, 7)):
        stream.add([record(offset, seq)])
        assert stream.take(0) == (None, 0)
    stream.add([record(14, 8)])
    work, repeats = stream.take(0)
    assert work is not None
    assert (work.batch.range, repeats) == (Range(10, 15), 1)


@pytest.mark.parametrize(
    "offsets",
    [
        (10, 11, 14),  # one record fewer
        (9, 10, 11, 14),  # begins before it
        (11, 12, 13, 14),  # begins after it
        (10, 11, 12, 15),  # its last record is gone
        (10, 11, 12, 13, 14),  # one record more
    ],
)
def test_a_range_that_reads_differently_is_named(offsets: tuple[int, ...]) -> None:
    stream = Stream(TABLE, 0, "e", 5, INTENT)

    def read() -> None:
        for offset, seq in zip(offsets, itertools.chain((6, 7), itertools.repeat(8)), strict=False):
            stream.add([record(offset, seq)])

    with pytest.raises(Changed, match="an intent stands for 4 records in 10–14 up to seq 8"):
        read()


def test_repeats_alone_are_counted_and_not_inserted() -> None:
    stream = Stream(TABLE, 0, "e", 5, None)
    stream.add([record(1, 4)])
    stream.add([record(2, 5)])
    assert stream.take(0) == (None, 2)
    assert stream.take(0) == (None, 0)


def test_full() -> None:
    stream = Stream(TABLE, 0, "e", 0, None)
    stream.add([record(0, 1)])
    assert not stream.full(2)
    stream.add([record(1, 2)])
    assert stream.full(2)

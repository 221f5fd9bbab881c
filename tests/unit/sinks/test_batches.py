"""Rows are decided by the records and the seq before them, however the records are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.sinks.clickhouse.batches import Batch
from spendstream.sinks.clickhouse.errors import Gap, Unreadable
from spendstream.sinks.clickhouse.ranges import Range


def row(seq: int, partition: int = 0) -> bytes:
    return b'{"seq":%d,"partition":%d,"event":{"seq":"not this one"}}' % (seq, partition)


@st.composite
def records(draw: st.DrawFn) -> list[tuple[int, int]]:
    """(offset, seq): offsets with holes, seq without, some of it sent again."""
    seq, offset, found = 0, draw(st.integers(0, 5)), []
    for _ in range(draw(st.integers(1, 30))):
        seq = draw(st.integers(max(1, seq - 3), seq)) if seq and draw(st.booleans()) else seq + 1
        found.append((offset, seq))
        seq = max(seq for _, seq in found)
        offset += draw(st.integers(1, 3))
    return found


@given(records(), st.data())
def test_any_cut_gives_the_same_rows(found: list[tuple[int, int]], data: st.DataObject) -> None:
    batch = Batch("t", 0, 0)
    rows: list[bytes] = []
    n = 0
    for offset, seq in found:
        batch.add(offset, row(seq), 0)
        if data.draw(st.booleans()):
            rows += batch.rows
            n += batch.n
            batch = Batch("t", 0, batch.seq)
    rows += batch.rows
    assert rows == [row(seq) for seq in range(1, max(seq for _, seq in found) + 1)]
    assert n + batch.n == len(found)


def test_counts_and_range() -> None:
    batch = Batch("t", 0, 4)
    for offset, seq in ((10, 4), (11, 5), (13, 5), (14, 6)):
        batch.add(offset, row(seq), 1000 + offset)
    assert (batch.range, batch.n, batch.repeats, batch.seq) == (Range(10, 15), 4, 2, 6)
    assert batch.oldest_ms == 1010
    assert batch.size == sum(map(len, batch.rows))


def test_a_gap_is_named_and_leaves_the_batch_as_it_was() -> None:
    batch = Batch("usage.priced", 0, 4)
    batch.add(1, row(5), 0)
    with pytest.raises(Gap, match=r"usage\.priced\[0\]@2 has seq 9 after 5: 3 rows are missing"):
        batch.add(2, row(9), 0)
    assert (batch.n, batch.seq, batch.range) == (1, 5, Range(1, 2))


@pytest.mark.parametrize(
    "value",
    [None, b"", b"[]", b'{"seq":1}', b'{"seq":"1","partition":0}', b'{"seq":1,"partition":0}{}',
     b'{"seq":1.5,"partition":0}', b"\xff", row(1, partition=1)],
)  # fmt: skip
def test_what_is_no_row_is_named(value: bytes | None) -> None:
    with pytest.raises(Unreadable, match=r"t\[0\]@7"):
        Batch("t", 0, 0).add(7, value, 0)

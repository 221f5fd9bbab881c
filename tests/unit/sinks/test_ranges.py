"""Any two ranges stand in exactly one relation, and it says what the sets of offsets say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.sinks.clickhouse.ranges import Range, Relation

RANGES = st.builds(
    lambda start, length: Range(start, start + length), st.integers(0, 12), st.integers(1, 12)
)


@given(RANGES, RANGES)
def test_relation_is_what_the_sets_say(one: Range, other: Range) -> None:
    a, b = set(range(one.start, one.end)), set(range(other.start, other.end))
    meant = {
        Relation.SAME: a == b,
        Relation.BEFORE: max(a) < min(b),
        Relation.AFTER: min(a) > max(b),
        Relation.AROUND: a > b,
        Relation.PREFIX: a < b and min(a) == min(b),
        Relation.INSIDE: a < b and min(a) > min(b),
        Relation.OVERLAP: bool(a & b) and bool(a - b) and bool(b - a),
    }
    assert [relation for relation, holds in meant.items() if holds] == [one.compare(other)]


@given(RANGES, RANGES)
def test_turned_round(one: Range, other: Range) -> None:
    turned = {
        Relation.SAME: {Relation.SAME},
        Relation.BEFORE: {Relation.AFTER},
        Relation.AFTER: {Relation.BEFORE},
        Relation.AROUND: {Relation.PREFIX, Relation.INSIDE},
        Relation.PREFIX: {Relation.AROUND},
        Relation.INSIDE: {Relation.AROUND},
        Relation.OVERLAP: {Relation.OVERLAP},
    }
    assert other.compare(one) in turned[one.compare(other)]


@pytest.mark.parametrize(("start", "end"), [(0, 0), (3, 2), (-1, 4)])
def test_never_empty_nor_negative(start: int, end: int) -> None:
    with pytest.raises(ValueError, match="not a range"):
        Range(start, end)

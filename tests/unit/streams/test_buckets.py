"""The table that finds the place of a word in a sorted array: as a plain search finds it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from spendstream.streams.core.buckets import Buckets

ALL = 2**64 - 1
Words = NDArray[np.uint64]

# random ones, as digests are; and what crowds into the first, the last, or any one bucket
CROWDS = st.lists(
    st.tuples(
        st.integers(0, 300), st.sampled_from((0, ALL - 40, 1 << 63, None)), st.integers(0, 2**32)
    ),
    max_size=6,
)


def words(count: int, around: int | None, seed: int) -> Words:
    random = np.random.default_rng(seed)
    if around is None:
        return random.integers(0, ALL, count, np.uint64, endpoint=True)
    return np.uint64(around) + random.integers(0, 40, count, np.uint64, endpoint=True)


def check(buckets: Buckets, array: Words) -> None:
    asked = np.concatenate([array, array - np.uint64(1), array + np.uint64(1), words(50, None, 1)])
    found = buckets.first_from(array, asked)
    assert found.tolist() == np.searchsorted(array, asked).tolist()


@given(CROWDS, st.booleans())
def test_as_a_plain_search_finds_it(crowds: list[tuple[int, int | None, int]], drop: bool) -> None:
    buckets, array = Buckets(), np.empty(0, np.uint64)
    check(buckets, array)
    for crowd in crowds:
        new = words(*crowd)
        array = np.sort(np.concatenate([array, new]))
        buckets.insert(new, array)
        check(buckets, array)
    if drop:
        array = array[::3]
        buckets.rebuild(array)
        check(buckets, array)


@pytest.mark.parametrize("count", [100, 100_000])
def test_however_large(count: int) -> None:
    buckets, array = Buckets(), np.sort(words(count, None, 1))
    buckets.rebuild(array)
    for seed in range(2, 6):
        new = words(count // 48, None, seed)
        array = np.sort(np.concatenate([array, new]))
        buckets.insert(new, array)
        check(buckets, array)

"""Where words stand in a large sorted array of random ones, without a search through all of it.

Their first bits say in which bucket they belong, and a table where each bucket begins. What remains
is a search among some thirty neighbours: a look-up misses the processor's cache two or three times
instead of ten, and those misses overlap, because a batch's words take each step together.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_WORDS: Final = 32
"""In a bucket, at most, on the average: the table has 0.1 to 0.25 bytes a word. Words that crowd
into one bucket are found as well, in more steps."""
_CHUNK: Final = 1 << 15


class Buckets:
    """The table of one sorted array, which the caller keeps; up to 2³¹ words."""

    __slots__ = ("_bits", "_shift", "_starts", "_step")

    def __init__(self) -> None:
        self.rebuild(np.empty(0, np.uint64))

    def first_from(self, array: NDArray[np.uint64], words: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Of each word the position of the first in the array that is not below it."""
        at = self._starts.take(self._bucket(words)).astype(np.int64)
        step = self._step
        while step:
            # past the bucket's end all are above the word, past the array's end the last one stands
            at += step * (array.take(at + (step - 1), mode="clip") < words)
            step >>= 1
        return np.minimum(at, len(array))

    def insert(self, words: NDArray[np.uint64], array: NDArray[np.uint64]) -> None:
        """Take note of words that now stand in the array, too."""
        if _bits(len(array)) != self._bits:
            self.rebuild(array)
            return
        added = np.bincount(self._bucket(words), minlength=len(self._starts) - 1)
        self._starts[1:] += np.cumsum(added, dtype=np.int32)
        self._step = _first_step(np.diff(self._starts))

    def rebuild(self, array: NDArray[np.uint64]) -> None:
        """Begin anew."""
        self._bits = _bits(len(array))
        self._shift = np.uint64(64 - self._bits)
        counts = np.zeros((1 << self._bits) + 1, np.int32)
        for start in range(0, len(array), _CHUNK):
            buckets = self._bucket(array[start : start + _CHUNK])
            found = np.bincount(buckets - buckets[0]).astype(np.int32)
            counts[buckets[0] + 1 : buckets[-1] + 2] += found
        self._step = _first_step(counts)
        self._starts: NDArray[np.int32] = np.cumsum(counts, dtype=np.int32)

    def _bucket(self, words: NDArray[np.uint64]) -> NDArray[np.int64]:
        return (words >> self._shift).view(np.int64)


def _bits(size: int) -> int:
    return max(1, (size // _WORDS).bit_length())


def _first_step(counts: NDArray[np.int32]) -> int:
    """Steps are halved from it; together they span the largest bucket."""
    return (1 << int(counts.max()).bit_length()) >> 1

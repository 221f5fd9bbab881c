"""The price book of any position in `control.prices`.

A batch is priced by the book of the position that the checkpoint before it names. So a batch that
is done again, after a crash or by another worker, is priced as it was the first time, whatever has
been written since; and a price governs events from the second batch on after it was seen.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from typing import Final

from spendstream.schemas.prices.book import PriceBook
from spendstream.schemas.prices.compile import compile_book
from spendstream.schemas.prices.version import PriceVersion, overrides_of

_KEPT: Final = 4
"""Books. Partitions commit within seconds of each other: more than two are rarely in use."""


class PriceTable:
    """All records known so far. For several threads: one adds, others ask."""

    def __init__(self) -> None:
        self._versions: list[PriceVersion] = []
        self._offsets: list[int] = []
        self._books: dict[int, PriceBook] = {}
        self._lock = threading.Lock()

    def add(self, version: PriceVersion, offset: int) -> None:
        """Take the next record of `control.prices`."""
        self._versions.append(version)
        self._offsets.append(offset)  # last: whoever counts these finds the version there

    def records(self, position: int) -> int:
        """How many records lie below a position."""
        return bisect_left(self._offsets, position)

    def book(self, position: int) -> PriceBook:
        """The book of the records below a position; the same object for the same records."""
        count = self.records(position)
        with self._lock:
            book = self._books.pop(count, None)
            if book is None:
                book = compile_book(overrides_of(self._versions[:count]))
            self._books[count] = book  # the last one used is the last one dropped
            while len(self._books) > _KEPT:
                del self._books[next(iter(self._books))]
            return book

"""Which prices there were, and by which of them each row may be priced.

A row names the number of records of `control.prices` that its book goes up to, and costs what those
make of it. Which number that must be, the checkpoint says that came before the row's batch: so a
batch that was done again, or by another worker, was priced as it was the first time.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from typing import Any, Final

from tests.storm.recount.differences import Differences
from tests.storm.recount.topics import Log
from tests.storm.traffic import EDITED, edit
from tests.support.oracle_prices import PRICES, Prices
from tests.support.rig import CHECKPOINT

TOPIC: Final = "control.prices"
_VERSION: Final = re.compile(r"genai-prices [0-9.]+(?:\+([1-9][0-9]*))? [0-9a-f]+")


class OperatorPrices:
    """All that were set in the storm; `used` counts the rows of each version."""

    def __init__(self, log: Log, found: Differences) -> None:
        self._log, self._found = log, found
        self._offsets: list[int] = []
        self._books: list[Prices] = [PRICES]
        self._names: dict[int, str] = {}
        self.used: dict[int, int] = {}
        for message in log.committed(TOPIC, 0):
            self._offsets.append(message.offset() or 0)
            number = len(self._offsets)
            fresh, read, _, output = self._written(number, json.loads(message.value() or b""))
            self._books.append({**PRICES, EDITED: (fresh, read, None, output)})

    def _written(self, number: int, value: dict[str, Any]) -> tuple[str, str, None, str]:
        fresh, read, _, output = expected = edit(number)
        prices = {"input": fresh, "cache_read": read, "output": output}
        entry = value["entry"]
        actual = value["version"], (entry["provider"], entry["model"]), entry["prices"]
        self._found.check("prices set")
        if actual != (number, EDITED, prices):
            self._found.add("prices set", f"{actual} instead of {(number, EDITED, prices)}")
        return expected

    def of_partition(self, partition: int) -> RowPrices:
        return RowPrices(self, *self._checkpoints(partition))

    def _checkpoints(self, partition: int) -> tuple[list[int], list[tuple[int, int]]]:
        """In their order: up to which `seq` they go, and (number of the batch, records of TOPIC
        that the next is priced by)."""
        seqs: list[int] = []
        named: list[tuple[int, int]] = []
        for message in self._log.committed("workspace.checkpoint", partition):
            if message.key() != CHECKPOINT:
                continue
            value = json.loads(message.value() or b"")
            seqs.append(value["seq"]["usage.priced"])
            upto = value["control"].get(TOPIC, {"upto": 0})["upto"]
            named.append((value["batch"], bisect_left(self._offsets, upto)))
        return seqs, named

    def named(self, version: str) -> int | None:
        """How many records a row's book goes up to. None: no such book can be."""
        found = _VERSION.fullmatch(version)
        number = int(found.group(1) or 0) if found else -1
        # a book has one name
        if not 0 <= number < len(self._books) or self._names.setdefault(number, version) != version:
            return None
        self.used[number] = self.used.get(number, 0) + 1
        return number

    def book(self, number: int) -> Prices:
        return self._books[number]

    def check_used(self) -> None:
        """Prices that nothing was priced by prove nothing."""
        self._found.fact("prices set", len(self._offsets))
        self._found.fact("price versions in rows", len(self.used))
        if self._offsets and not any(self.used):
            self._found.add("prices set", "and no row was priced by any")


class RowPrices:
    """Those of a partition's rows, which are asked for in the order of `seq`."""

    def __init__(
        self, prices: OperatorPrices, seqs: list[int], checkpoints: list[tuple[int, int]]
    ) -> None:
        self._prices, self._seqs, self._checkpoints = prices, seqs, checkpoints
        self._last = 0

    def of(self, seq: int, version: str, where: str, found: Differences) -> Prices:
        """The prices that the row itself names; whether they are the right ones is checked."""
        number = self._prices.named(version)
        if number is None:
            found.add("price versions", f"{where}: {version!r}, which is none")
            return PRICES
        if number < self._last:
            found.add("price versions", f"{where}: {number} after {self._last}")
        self._last = number
        due = self._due(seq)
        if due is not None:
            found.check("price versions")
            if number != due:
                words = f"{where}: {number} instead of {due}, as the checkpoint before its batch"
                found.add("price versions", words)
        return self._prices.book(number)

    def _due(self, seq: int) -> int | None:
        """None: compaction has taken the checkpoint before."""
        at = bisect_left(self._seqs, seq)
        if not 0 < at < len(self._seqs):
            return None
        (before, due), (batch, _) = self._checkpoints[at - 1 : at + 1]
        return due if before + 1 == batch else None

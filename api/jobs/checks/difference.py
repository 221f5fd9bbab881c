"""A difference between two ways to the same figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeAlias

Difference: TypeAlias = dict[str, Any]
"""`what`, `expected`, `found`, and whatever says where: `workspace`, `event`, `partition`, …"""

MAX_OF_A_KIND: Final = 50


def difference(what: str, expected: object, found: object, **where: object) -> Difference:
    """`expected` is the independent figure, `found` what is checked. Amounts as plain strings."""
    return {"what": what, **where, "expected": expected, "found": found}


def bounded(differences: Iterable[Difference]) -> Iterator[Difference]:
    """At most MAX_OF_A_KIND of each `what`, then one that says how many there are in all."""
    counts: Counter[str] = Counter()
    for item in differences:
        counts[item["what"]] += 1
        if counts[item["what"]] <= MAX_OF_A_KIND:
            yield item
    for what, count in counts.items():
        if count > MAX_OF_A_KIND:
            yield difference(f"{what}: there are {count} of these", 0, count)

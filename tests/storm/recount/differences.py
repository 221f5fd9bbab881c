"""What a recount found to be other than it should, in words, and what it looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

K = TypeVar("K")
SHOWN: Final = 8
_MISSING: Final = "nothing"


@dataclass
class Differences:
    """`checked` counts the comparisons, so that a recount of nothing does not look like success."""

    found: dict[str, list[str]] = field(default_factory=dict)
    facts: dict[str, object] = field(default_factory=dict)
    checked: dict[str, int] = field(default_factory=dict)

    def add(self, what: str, words: str) -> None:
        self.found.setdefault(what, []).append(words)

    def fact(self, name: str, value: object) -> None:
        self.facts[name] = value

    def check(self, what: str, times: int = 1) -> None:
        self.checked[what] = self.checked.get(what, 0) + times

    def compare(self, what: str, expected: Mapping[K, object], actual: Mapping[K, object]) -> None:
        """Two tables, key by key."""
        self.check(what, max(len(expected), 1))
        for key, value in expected.items():
            there = actual.get(key, _MISSING)
            if there != value:
                self.add(what, f"{key}: {there} instead of {value}")
        for key in actual.keys() - expected.keys():
            self.add(what, f"{key}: {actual[key]} instead of {_MISSING}")

    @property
    def count(self) -> int:
        return sum(map(len, self.found.values()))

    def __str__(self) -> str:
        lines = []
        for what, words in self.found.items():
            lines.append(f"  {what}: {len(words)}")
            lines += [f"    {text[:300]}" for text in words[:SHOWN]]
        return "\n".join(lines)

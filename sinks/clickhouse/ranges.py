"""Offset ranges as values, with a total comparison: any two ranges stand in exactly one relation.

After Allen's intervals, with those that a loader treats alike taken together.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Relation(Enum):
    """How one range stands to another."""

    SAME = "same"
    BEFORE = "before"  # ends where the other begins, or earlier
    AFTER = "after"  # begins where the other ends, or later
    PREFIX = "prefix"  # begins with it and ends inside it
    INSIDE = "inside"  # begins after it, and does not end after it
    AROUND = "around"  # holds all of it and more
    OVERLAP = "overlap"  # each has something that the other lacks


@dataclass(frozen=True, slots=True)
class Range:
    """Offsets `start` ≤ o < `end`; never empty."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end:
            raise ValueError(f"not a range of offsets: {self.start}–{self.end}")

    def __str__(self) -> str:
        return f"{self.start}–{self.end - 1}"

    def compare(self, other: Range) -> Relation:
        """How this range stands to `other`."""
        if self == other:
            return Relation.SAME
        if self.end <= other.start:
            return Relation.BEFORE
        if other.end <= self.start:
            return Relation.AFTER
        if self.start <= other.start and other.end <= self.end:
            return Relation.AROUND
        if self.start == other.start:
            return Relation.PREFIX
        if other.start < self.start and self.end <= other.end:
            return Relation.INSIDE
        return Relation.OVERLAP

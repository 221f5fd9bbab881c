"""Reading a trace: CSV with the columns TIMESTAMP, ContextTokens, GeneratedTokens.

These are the columns of the Azure LLM inference traces (Azure Public Dataset, CC BY 4.0). Times
are UTC; more columns, and any order of them, are fine. Every bad row is named with line and column.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from spendstream.schemas.fields import MAX_COUNT
from spendstream.schemas.period import to_ms

COLUMNS: Final = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
MAX_NAMED: Final = 10
"""Mistakes that are shown; a file of another kind has one in every row."""

_TIME: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2})[ T](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(?:Z|\+00:00)?", re.ASCII
)
_COUNT: Final = re.compile(r"\d{1,18}", re.ASCII)


class TraceError(ValueError):
    """The file is not such a trace; one line a mistake."""


@dataclass(frozen=True, slots=True)
class TraceRow:
    """A call; `time_ms` in milliseconds since 1970 UTC, finer digits cut off."""

    index: int
    time_ms: int
    input_tokens: int
    output_tokens: int


def read_trace(path: Path) -> list[TraceRow]:
    """All rows in order of time; `index` is the place in the file, from 0.

    Raises:
        TraceError: the file cannot be read, lacks a column, has bad rows, or none at all.
    """
    rows: list[TraceRow] = []
    mistakes: list[str] = []
    count = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise TraceError(f"{path}: no column {', '.join(missing)} in its first line")
            for index, record in enumerate(reader):
                row = _row(index, record, reader.line_num, mistakes)
                if row is not None:
                    rows.append(row)
                else:
                    count += 1
    except OSError as error:
        raise TraceError(f"{path} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise TraceError(f"{path} cannot be read as CSV: {error}") from None
    if mistakes:
        more = f"\n… and more: {count} bad rows" if len(mistakes) > MAX_NAMED else ""
        raise TraceError(f"{path}:\n" + "\n".join(mistakes[:MAX_NAMED]) + more)
    if not rows:
        raise TraceError(f"{path} has no rows")
    # stable: rows of the same millisecond stay in the order of the file
    return sorted(rows, key=lambda row: row.time_ms)


def _row(
    index: int, record: dict[str, str | None], line: int, mistakes: list[str]
) -> TraceRow | None:
    before = len(mistakes)
    values: list[int] = []
    for name, parse in zip(COLUMNS, (_milliseconds, _tokens, _tokens), strict=True):
        try:
            values.append(parse(record[name]))
        except ValueError as error:
            mistakes.append(f"line {line}, column {name}: {error}")
    return TraceRow(index, *values) if len(mistakes) == before else None


def _milliseconds(text: str | None) -> int:
    """`2023-11-16 18:15:46.6805900` → 1700158546680."""
    match = _TIME.fullmatch((text or "").strip())
    if match is None:
        raise ValueError(f"{text!r} is not a time like 2023-11-16 18:15:46.6805900")
    date, time, fraction = match.groups()
    # seconds and fraction apart: datetime knows microseconds only, and would refuse the 7th digit
    try:
        whole = datetime.fromisoformat(f"{date}T{time}").replace(tzinfo=UTC)
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from None
    return to_ms(whole) + int((fraction or "0").ljust(3, "0")[:3])


def _tokens(text: str | None) -> int:
    cleaned = (text or "").strip()
    if not _COUNT.fullmatch(cleaned):
        raise ValueError(f"{text!r} is not a whole number of tokens")
    if (count := int(cleaned)) > MAX_COUNT:
        raise ValueError(f"{count} is more than {MAX_COUNT} tokens")
    return count

"""Reading just enough SQL to serve it over HTTP: where an INSERT's data begins, what answers rows.

The engine parses everything else. Splitting is ours because chDB's own way with rows behind a
statement is four times slower and refuses Native: they go in as a file instead (engine.py).
"""

from __future__ import annotations

import re
from typing import NamedTuple

# Quoted text, comments and brackets have to be skipped as units: a column may be called `format`
# and a value may say 'values'.
_TOKEN = re.compile(
    rb"""'(?:\\.|''|[^'\\])*' | "(?:\\.|""|[^"\\])*" | `(?:\\.|``|[^`\\])*`
       | --[^\n]* | /\*.*?\*/ | [A-Za-z_][A-Za-z0-9_]* | [()] | [0-9.]+ | \s+ | .""",
    re.VERBOSE | re.DOTALL,
)
_ANSWERS_ROWS = {
    b"SELECT", b"WITH", b"SHOW", b"DESCRIBE", b"DESC", b"EXPLAIN", b"EXISTS", b"CHECK", b"FROM",
}  # fmt: skip
_LAST_FORMAT = re.compile(rb"\bFORMAT\s+(\w+)\s*(?:SETTINGS\s[^()]*)?;?\s*$", re.IGNORECASE)


class Insert(NamedTuple):
    """An INSERT whose rows follow as `data` in `format`; `statement` ends before SETTINGS or
    FORMAT, `settings` is what stands between them."""

    statement: str
    settings: str
    format: str
    data: bytes


def split_insert(sql: bytes) -> Insert | None:
    """The parts of `INSERT … FORMAT name <data>`, or None for any other statement.

    `INSERT … SELECT` and `INSERT … VALUES (…)` are None too: the engine takes them whole.
    """
    depth = 0
    first = b""
    settings: int | None = None
    for token in _TOKEN.finditer(sql):
        word = token.group().upper()
        if word == b"(":
            depth += 1
        elif word == b")":
            depth -= 1
        if depth or not word[:1].isalpha():
            continue
        if not first:
            first = word
            if word != b"INSERT":
                return None
        elif word in (b"SELECT", b"WITH", b"VALUES"):
            return None
        elif word == b"SETTINGS" and settings is None:
            settings = token.start()
        elif word == b"FORMAT":
            name = re.compile(rb"\s+(\w+)[ \t\f]*(?:\r?\n)?").match(sql, token.end())
            if name is None:
                return None
            end = token.start()
            begin = end if settings is None else settings
            head, between = sql[:begin].decode(), sql[begin:end].decode()
            return Insert(head, between, name.group(1).decode(), sql[name.end() :])
    return None


def result_format(sql: bytes, default: str) -> str | None:
    """The format in which a statement answers rows; None where it answers nothing."""
    for token in _TOKEN.finditer(sql):
        word = token.group().upper()
        if word[:1].isalpha():
            if word not in _ANSWERS_ROWS:
                return None
            break
        if word != b"(" and not word.isspace() and not word.startswith((b"--", b"/*")):
            return None
    else:
        return None
    named = _LAST_FORMAT.search(sql)
    return named.group(1).decode() if named else default

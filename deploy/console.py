"""Printing: tables and bars for people, JSON for scripts, errors in plain words.

Data goes to stdout, everything else to stderr, so that `--json | jq` always works.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

out: Final = Console(highlight=False)
err: Final = Console(stderr=True, highlight=False)


class CommandError(Exception):
    """A command cannot do what it was asked; `exit_code` as documented in `failures`."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def print_json(value: object) -> None:
    """One JSON document, indented where a person looks at it."""
    print(json.dumps(value, indent=2 if sys.stdout.isatty() else None, ensure_ascii=False))


def say(text: str) -> None:
    """A sentence for people, on stderr."""
    err.print(text, soft_wrap=True, markup=False)


@contextmanager
def working(text: str) -> Iterator[None]:
    """A spinner while something takes its time; nothing where nobody looks."""
    if not err.is_terminal:
        yield
        return
    with err.status(text):
        yield


@contextmanager
def progress(text: str, total: int) -> Iterator[Progress]:
    """A bar for what takes over a second; its one task has id 0. Nothing where nobody looks."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=err, transient=True, disable=not err.is_terminal)
    bar.add_task(text, total=total)
    with bar:
        yield bar


def credit_bar(used: int, amount: int, width: int = 20) -> Text:
    """How much of an amount is used: green, yellow from 75 %, red from 90 %; never longer than
    full. Both in the same unit."""
    share = min(used / amount, 1.0) if amount else (1.0 if used else 0.0)
    filled = int(share * width)
    style = "red" if share >= 0.9 else "yellow" if share >= 0.75 else "green"
    return Text.assemble(("█" * filled, style), ("░" * (width - filled), "dim"))

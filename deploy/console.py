"""Printing: tables and bars for people, JSON for scripts, errors in plain words.

Data goes to stdout, everything else to stderr, so that `--json | jq` always works.

Names come from outside and are shown as they are: a plain string is never markup here, styles are
`styled` pieces. What would steer the terminal is shown escaped; the data itself stays as it is.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

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

# C0 but tab and line feed, DEL and C1 (a bare U+009B begins an escape sequence), line separators,
# what turns the direction of a whole line, and halves of characters, which no terminal can be sent
_STEERING: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def visible(text: str) -> str:
    """The text with what would steer a terminal written out, like `\\x9b`."""
    return _STEERING.sub(lambda found: ascii(found[0])[1:-1], text)


class PlainConsole(Console):
    """Every string, in a table's cells too, is shown as it is: no markup, no emoji codes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text), **options)


out: Final = PlainConsole()
err: Final = PlainConsole(stderr=True)


class CommandError(Exception):
    """A command cannot do what it was asked; `exit_code` as documented in `failures`."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def print_json(value: object) -> None:
    """One JSON document, indented where a person looks at it."""
    text = json.dumps(value, indent=2 if sys.stdout.isatty() else None, ensure_ascii=False)
    # outside ASCII there are strings only, in which an escape is the same character. Flushed,
    # because a script waits for what a command in the foreground says.
    print(_STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text), flush=True)


def say(text: str) -> None:
    """A sentence for people, on stderr."""
    err.print(text, soft_wrap=True)


def styled(text: str, style: str) -> Text:
    """A string in a colour, otherwise as it is."""
    return Text(visible(text), style)


@contextmanager
def working(text: str) -> Iterator[Callable[[str], None]]:
    """A spinner while something takes its time; nothing where nobody looks.

    Gives what changes its text.
    """
    if not err.is_terminal:
        yield lambda _: None
        return
    with err.status(styled(text, "")) as status:
        yield lambda step: status.update(styled(step, ""))


@contextmanager
def progress(text: str, total: int) -> Iterator[Progress]:
    """A bar for what takes over a second; its one task has id 0. Nothing where nobody looks."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=err, transient=True, disable=not err.is_terminal)
    bar.add_task(visible(text), total=total)
    with bar:
        yield bar


def credit_bar(used: int, amount: int, width: int = 20) -> Text:
    """How much of an amount is used: green, yellow from 75 %, red from 90 %; never longer than
    full. Both in the same unit."""
    share = min(used / amount, 1.0) if amount else (1.0 if used else 0.0)
    filled = int(share * width)
    style = "red" if share >= 0.9 else "yellow" if share >= 0.75 else "green"
    return Text.assemble(("█" * filled, style), ("░" * (width - filled), "dim"))

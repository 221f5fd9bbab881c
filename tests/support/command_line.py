"""`spendstream`, as a shell calls it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, chdir, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, TypeAlias
from unittest.mock import patch

from spendstream.deploy import cli

Runs: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "spendstream.deploy.cli", *arguments]


def environment(**settings: str) -> dict[str, str]:
    """The tests' own, but of ours these settings and no other."""
    others = {k: v for k, v in os.environ.items() if not k.startswith("SPENDSTREAM_")}
    return {**others, **settings}


def run(
    *arguments: str, directory: Path | None = None, **settings: str
) -> subprocess.CompletedProcess[str]:
    """A command to its end, in a directory outside any project."""
    return subprocess.run(
        command(*arguments),
        cwd=directory or tempfile.gettempdir(),
        env=environment(**settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def run_here(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """The same in this process, which has imported it all: a second of CPU less each time.

    Not for what asks a person, is ended by a signal, or runs beside others.
    """
    argv = ["spendstream", *arguments]
    out, err = StringIO(), StringIO()
    code: object = None
    with ExitStack() as around:
        around.enter_context(patch.dict(os.environ, environment(**settings), clear=True))
        around.enter_context(patch.object(sys, "argv", argv))
        around.enter_context(patch.object(sys, "stdin", around.enter_context(open(os.devnull))))
        around.enter_context(chdir(tempfile.gettempdir()))
        around.enter_context(redirect_stdout(out))
        around.enter_context(redirect_stderr(err))
        try:
            cli.main()
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int), code
    return subprocess.CompletedProcess(argv, code, out.getvalue(), err.getvalue())


def ask(
    *arguments: str,
    by: Runs = run_here,
    **settings: str,
) -> tuple[int, Any, str]:
    """Exit code, JSON and sentences of a command; `by=run` makes it a process of its own."""
    ended = by(*arguments, "--json", **settings)
    return ended.returncode, json.loads(ended.stdout or "null"), ended.stderr

"""`spendstream`, as a shell calls it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


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


def ask(*arguments: str, **settings: str) -> tuple[int, Any, str]:
    """Exit code, JSON and sentences of a command."""
    ended = run(*arguments, "--json", directory=None, **settings)
    return ended.returncode, json.loads(ended.stdout or "null"), ended.stderr

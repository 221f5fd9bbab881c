"""Editing a text in the operator's own editor, until it is right.

Whatever goes wrong, what was written is not lost: it stays in a file whose name is told.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from spendstream.api.plans.file import PlansError
from spendstream.api.plans.text import comments
from spendstream.api.yaml_file import YamlError, read_text
from spendstream.deploy import failures
from spendstream.deploy.console import CommandError, say

T = TypeVar("T")

MISTAKE: Final = "#! "
"""Begins the lines that tell the mistakes; they go when it is opened again."""


@contextmanager
def draft(name: str, text: str) -> Iterator[Draft]:
    """A file to edit, which is kept only if something goes wrong and it was changed."""
    safe = re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII)[:40]
    handle, path = tempfile.mkstemp(prefix=f"spendstream-{safe}-", suffix=".yaml")
    os.close(handle)
    opened = Draft(Path(path), text)
    done = False
    try:
        yield opened
        done = True
    finally:
        if done or not opened.is_changed():
            opened.remove()
        else:
            say(f"what you wrote is kept in {path}")


class Draft:
    """A text on its way through the editor."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._text = text
        path.write_text(text, encoding="utf-8")

    def is_changed(self) -> bool:
        try:
            return _without_mistakes(self._path.read_text("utf-8")) != self._text
        except (OSError, UnicodeDecodeError):
            return self._path.exists()

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)

    def edited(self, read: Callable[[str], T]) -> T | None:
        """What `read` makes of the text once it is right; None where it was left as it was.

        Raises:
            CommandError: there is no editor, it failed, or it left mistakes as they were.
        """
        shown, told = self._text, [""]
        while True:
            run_editor(self._path)
            try:
                saved = read_text(self._path)
                text = _without_mistakes(saved)
                if text == self._text or not _says_anything(text):
                    return None
                if saved == shown:
                    raise CommandError(
                        "\n".join([*told, "left so: nothing was written"]), failures.WRONG_INPUT
                    )
                return read(text)
            except PlansError as error:
                told = error.errors
            except YamlError as error:
                raise CommandError(str(error), failures.WRONG_INPUT) from error
            above = [line for reason in told for line in comments(reason, mark=MISTAKE)]
            shown = "\n".join([f"{MISTAKE}Not written yet:", *above, text])
            self._path.write_text(shown, encoding="utf-8")


def run_editor(path: Path) -> None:
    """Until it ends. Raises CommandError."""
    words = _editor()
    # where stdout is a pipe that data goes into, the editor shows itself elsewhere
    screen = None if os.isatty(1) else 2
    try:
        running = subprocess.Popen([*words, str(path)], stdout=screen)
    except OSError as error:
        raise CommandError(
            f"the editor {words[0]!r} does not start: {error.strerror}; set VISUAL or EDITOR",
            failures.WRONG_INPUT,
        ) from error
    # Ctrl-C within it is the editor's
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        code = running.wait()
    finally:
        signal.signal(signal.SIGINT, before)
    if code:
        raise CommandError(
            f"the editor {words[0]!r} ended with {code}; nothing was written", failures.WRONG_INPUT
        )


def _editor() -> list[str]:
    for name in ("VISUAL", "EDITOR"):
        try:
            words = shlex.split(os.environ.get(name, ""))
        except ValueError as error:
            raise CommandError(f"{name}: {error}", failures.WRONG_INPUT) from error
        if words:
            return words
    if shutil.which("vi") is None:
        raise CommandError("there is no editor: set VISUAL or EDITOR", failures.WRONG_INPUT)
    return ["vi"]


def _without_mistakes(text: str) -> str:
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(MISTAKE.rstrip()))


def _says_anything(text: str) -> bool:
    return any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines())

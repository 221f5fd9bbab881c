"""Who edits, for what is kept with an edit: plans, accepted losses."""

from __future__ import annotations

import getpass
import os


def os_user() -> str:
    """The name of the operating system's user; in a container one may have a number only."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # OSError from Python 3.13 on
        return f"uid {os.getuid()}"

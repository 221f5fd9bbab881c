"""Waiting for other processes."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(
    holds: Callable[[], bool], timeout: float, otherwise: Callable[[], str] = lambda: ""
) -> None:
    """Wait for something to hold. Fails the test, with the reason, where it does not."""
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, f"not within {timeout:g} s. {otherwise()}"
        time.sleep(0.1)

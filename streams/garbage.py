"""The collector of cycles, kept away from millions of objects that are no garbage.

CPython goes through all that is there whenever that has grown by a quarter: while a state of a
million workspaces is built this costs three quarters of the time, and later it would stop a worker
that serves for seconds.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_lock = Lock()
_building = 0
_failed = False


@contextmanager
def building() -> Iterator[None]:
    """Around building what will stay. For any number of threads."""
    global _building, _failed
    with _lock:
        _building += 1
        gc.disable()
    try:
        yield
    except BaseException:
        _failed = True  # its error still holds what was built, and that would stay for ever
        raise
    finally:
        with _lock:
            _building -= 1
            if not _building:
                gc.collect()  # else cycles of elsewhere would stay for ever, too
                if not _failed:
                    gc.freeze()
                _failed = False
                gc.enable()

"""What the embedded engine says where the file for an insert's rows cannot be written."""

from __future__ import annotations

import errno
import os

import pytest

from spendstream.deploy.embedded.engine import _refused


@pytest.mark.parametrize(
    ("number", "code", "name"),
    [
        (errno.ENOSPC, 243, "NOT_ENOUGH_SPACE"),
        (errno.EDQUOT, 243, "NOT_ENOUGH_SPACE"),
        (errno.EMFILE, 1001, "STD_EXCEPTION"),
        (errno.EACCES, 1001, "STD_EXCEPTION"),
    ],
    ids=errno.errorcode.get,
)
def test_only_a_full_disk_is_called_one(number: int, code: int, name: str) -> None:
    refused = _refused(OSError(number, os.strerror(number), "/dev/shm/insert-x"))
    assert (refused.code, refused.name) == (code, name)
    assert f"{os.strerror(number)}: '/dev/shm/insert-x'" in refused.message

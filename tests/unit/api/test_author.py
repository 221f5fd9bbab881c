"""Who edits, also where the operating system knows a number only."""

from __future__ import annotations

import os
import pwd

import pytest

from spendstream.api.author import os_user

NAMES = ("LOGNAME", "USER", "LNAME", "USERNAME")


def test_a_user_with_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "ada")
    assert os_user() == "ada"


def test_a_user_without_an_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> pwd.struct_passwd:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert os_user() == f"uid {os.getuid()}"

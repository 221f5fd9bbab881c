"""The lock installs the same everywhere: hashes for all, an address or a path for none."""

from __future__ import annotations

import re
from pathlib import Path

LOCK = (Path(__file__).parents[2] / "requirements.lock").read_text()


def test_names_no_place() -> None:
    assert "://" not in LOCK
    assert "@" not in LOCK
    assert not re.search(r"^\s*-(?!-hash=)", LOCK, re.MULTILINE)  # no option but hashes
    assert not re.search(r"(^|\s)[./~]\S*/", LOCK)


def test_every_requirement_is_pinned_and_hashed() -> None:
    requirements = re.split(r"\n(?=\S)", LOCK.strip())
    for requirement in requirements:
        assert re.match(r"[a-z0-9][a-z0-9.-]*==\S+", requirement), requirement[:60]
        assert "--hash=sha256:" in requirement, requirement[:60]

"""The home directory: who may look into it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from spendstream.deploy.home import Addresses, Home


@pytest.fixture(autouse=True)
def _permissive() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    home = Home(tmp_path / "new" / "home")
    home.create()
    assert mode(home.path) == 0o700
    assert home.run.is_dir()


def test_one_that_exists_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "home"
    path.mkdir(0o750)
    Home(path).create()
    assert mode(path) == 0o750


def test_manifests_of_another_broker_are_apart(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.create()
    assert home.manifests_of(None) == home.manifests
    elsewhere = home.manifests_of("kafka-1.example:9092,[::1]:9092")
    assert elsewhere.parent == home.manifests
    assert elsewhere.name == "kafka-1.example_9092____1__9092"
    lock = home.lock()
    home.publish(Addresses("127.0.0.1:9092", "http://127.0.0.1:8123", str(home.path), "", {}))
    assert home.manifests_of("127.0.0.1:9092") == home.manifests
    assert home.manifests_of("127.0.0.1:9093") != home.manifests
    lock.release()

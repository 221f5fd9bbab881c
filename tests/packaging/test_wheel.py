"""What users install: the wheel holds every part, and nothing else."""

from __future__ import annotations

import shutil
import tomllib
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[2]
PARTS = ("schemas", "producers", "streams", "sinks", "api", "deploy")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built from a copy by hatchling itself: no network, and nothing left in the checkout."""
    copy = tmp_path_factory.mktemp("source") / "spendstream"
    ignored = shutil.ignore_patterns("__pycache__")
    for part in (*PARTS, ".editable"):
        shutil.copytree(ROOT / part, copy / part, symlinks=True, ignore=ignored)
    for file in ("pyproject.toml", "LICENSE", "README.md"):
        if (ROOT / file).exists():
            shutil.copy(ROOT / file, copy)
    target = tmp_path_factory.mktemp("wheel")
    (built,) = WheelBuilder(str(copy)).build(directory=str(target), versions=["standard"])
    return zipfile.ZipFile(built)


def test_every_part_is_whole(wheel: zipfile.ZipFile) -> None:
    """Every tracked kind of file of every part: modules, py.typed, SQL, schemas, pages."""
    packed = {name for name in wheel.namelist() if name.startswith("spendstream/")}
    for part in PARTS:
        assert f"spendstream/{part}/py.typed" in packed
        files = [
            f"spendstream/{path.relative_to(ROOT)}"
            for path in (ROOT / part).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
        ]
        assert set(files) <= packed


def test_nothing_else_is_in_it(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert tops == {"spendstream", f"spendstream-{version}.dist-info"}
    assert {name.split("/")[1] for name in wheel.namelist() if name.startswith("spendstream/")} == {
        *PARTS
    }


def test_the_command_is_declared(wheel: zipfile.ZipFile) -> None:
    (entry_points,) = (n for n in wheel.namelist() if n.endswith("entry_points.txt"))
    assert "spendstream = spendstream.deploy.cli:main" in wheel.read(entry_points).decode()


def test_links_for_development_lead_to_the_parts() -> None:
    for part in PARTS:
        assert (ROOT / ".editable" / "spendstream" / part).resolve() == ROOT / part

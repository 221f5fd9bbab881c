"""Each mutant of the storm still switches off what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.storm.mutate import DIFFERS, ROOT, Mutant, applies, mutants
from tests.storm.plan import BY_NAME
from tests.storm.recount.differences import Differences


@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: mutant.name)
def test_its_patch_applies_cleanly(mutant: Mutant) -> None:
    assert mutant.patch is not None
    applies(mutant.patch, ROOT, check=True)


@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: mutant.name)
def test_its_faults_exist_and_tests_are_left_alone(mutant: Mutant) -> None:
    assert set(mutant.faults) <= BY_NAME.keys()
    assert mutant.patch is not None
    patched = [line[6:] for line in mutant.patch.read_text().splitlines() if line[:4] == "+++ "]
    assert patched
    assert not any(Path(path).parts[0] == "tests" for path in patched)


@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: mutant.name)
def test_what_must_differ_is_a_check_of_the_recount(mutant: Mutant) -> None:
    recount = (ROOT / "tests/storm/recount").glob("*.py")
    assert any(f'"{mutant.differs}"' in file.read_text() for file in recount)


def test_what_differs_is_read_from_a_report() -> None:
    found = Differences()
    found.compare("alerts", {1: 1}, {1: 1})
    found.compare("raw rows", {1: 1, 2: 2}, {1: 2})
    assert DIFFERS.findall(f"storm: seed 1\ndifferences   2\n{found}\n3 passed") == ["raw rows"]

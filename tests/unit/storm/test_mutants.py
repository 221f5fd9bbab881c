"""Each mutant of the storm still switches off what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.storm.mutate import ROOT, Mutant, applies, mutants
from tests.storm.plan import BY_NAME


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

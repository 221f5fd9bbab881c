"""`make storm-mutants`: with one protection switched off, a storm must find differences.

A storm that stays green whatever is broken proves nothing. Each patch in mutants/ is applied to a
copy of the tree, and a short storm of the faults that its header names is run there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
MUTANTS: Final = Path(__file__).parent / "mutants"
PARTS: Final = (".editable", "schemas", "producers", "streams", "sinks", "api", "deploy", "tests")
EVENTS: Final = 12_000
SEED: Final = 7
LIMIT_S: Final = 900
_LAST_LINE: Final = re.compile(r"\d+ passed, (\d+) failed")
DIFFERS: Final = re.compile(r"^  (\S.*): \d+$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A patch; its header says what it switches off, which faults bring that to light, and in which
    check of the recount it shows."""

    name: str
    off: str
    faults: tuple[str, ...]
    count: int
    differs: str = ""
    patch: Path | None = None

    @classmethod
    def read(cls, patch: Path) -> Mutant:
        header = dict(
            line.split(": ", 1) for line in patch.read_text().split("\n\n")[0].splitlines()
        )
        faults = tuple(header["Faults"].split(", "))
        count, differs = int(header["Count"]), header["Differs"]
        return cls(patch.stem, header["Off"], faults, count, differs, patch)


def mutants() -> list[Mutant]:
    return [Mutant.read(patch) for patch in sorted(MUTANTS.glob("*.patch"))]


def control() -> Mutant:
    """Nothing switched off, the faults of all mutants: it must be green."""
    faults = tuple(sorted({fault for mutant in mutants() for fault in mutant.faults}))
    return Mutant("control", "nothing: the same faults on the tree as it is", faults, 12)


def applies(patch: Path, tree: Path, *, check: bool) -> None:
    """Apply a patch to a tree, or see whether it can be. Raises CalledProcessError."""
    command = ["git", "apply", *(["--check"] if check else []), str(patch)]
    # in a directory within a repository git would take the paths to be its own
    env = os.environ | {"GIT_CEILING_DIRECTORIES": str(tree.parent)}
    subprocess.run(command, cwd=tree, check=True, capture_output=True, text=True, env=env)


def copy_tree(to: Path) -> Path:
    for part in PARTS:
        ignore = shutil.ignore_patterns("__pycache__", "*-data")
        shutil.copytree(ROOT / part, to / part, symlinks=True, ignore=ignore)
    return to


def storm(mutant: Mutant, directory: Path) -> tuple[str, str]:
    """`green`, `red` (it differs where it must), `failed` (in any other way) or `broken` (it did
    not come to a verdict), and the storm's report."""
    tree = copy_tree(directory / "tree")
    if mutant.patch is not None:
        applies(mutant.patch, tree, check=False)
    only = [word for fault in mutant.faults for word in ("--only", fault)]
    size = ["--seed", str(SEED), "--events", str(EVENTS), "--faults", str(mutant.count), "--hasty"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.storm", *size, *only],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree / ".editable")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    said = done.stdout.splitlines()
    last = _LAST_LINE.fullmatch(said[-1]) if said else None
    if last is None:
        return "broken", done.stdout
    # without its protection a fault may well never land, or nothing settle: that proves nothing
    if mutant.differs in DIFFERS.findall(done.stdout):
        return "red", done.stdout
    return ("failed" if int(last.group(1)) else "green"), done.stdout


def main(names: Sequence[str]) -> int:
    chosen = [one for one in (control(), *mutants()) if not names or one.name in names]
    if unknown := set(names) - {one.name for one in chosen}:
        print(f"no such mutant: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    results: list[tuple[Mutant, str, str, float]] = []
    for mutant in chosen:
        print(f"--- off: {mutant.off}", file=sys.stderr, flush=True)
        begun = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="spendstream-mutant-") as made:
            colour, said = storm(mutant, Path(made))
        results.append((mutant, colour, said, time.monotonic() - begun))
        print(f"--- {mutant.name}: {colour}", file=sys.stderr, flush=True)
    wrong = 0
    print(f"{'switched off':18}{'storm':8}{'s':>5}  what differs")
    for mutant, colour, said, seconds in results:
        expected = "red" if mutant.patch else "green"
        wrong += colour != expected
        print(f"{mutant.name:18}{colour:8}{seconds:5.0f}  {', '.join(DIFFERS.findall(said)[:6])}")
        if colour != expected:
            print(said)
    print(f"{len(results) - wrong} passed, {wrong} failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

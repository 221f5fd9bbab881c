"""Write the generated files, or with `--check` compare them: exit code 1 and a diff on drift."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from pathlib import Path
from typing import Any, Final

from spendstream.schemas.generate.asyncapi import document
from spendstream.schemas.generate.catalogue import MESSAGES, json_schema, schema_name, topic_table
from spendstream.schemas.generate.examples import examples
from spendstream.schemas.generate.readme import with_topic_table

FOLDER: Final = Path(__file__).resolve().parent.parent
README: Final = "README.md"


def generated(folder: Path = FOLDER) -> dict[str, str]:
    """Path below `schemas/` → text, of every generated file."""
    files: dict[str, Any] = {
        f"generated/{schema_name(model)}": json_schema(model)
        for models in MESSAGES.values()
        for model in models
    }
    files["generated/topics.json"] = topic_table()
    files["generated/asyncapi.json"] = document()
    files |= {f"examples/{stem}.json": record for stem, record in examples().items()}
    texts = {
        path: json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        for path, content in files.items()
    }
    return {**texts, README: with_topic_table((folder / README).read_text(encoding="utf-8"))}


def on_disk(folder: Path = FOLDER) -> dict[str, str]:
    """What is there now, also files that nothing generates any more."""
    paths = [folder / README, *(folder / "generated").glob("*"), *(folder / "examples").glob("*")]
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in paths
        if path.is_file()
    }


def drift(wanted: dict[str, str], present: dict[str, str]) -> str:
    """Unified diff from what is there to what should be; empty where they are the same."""
    lines: list[str] = []
    for path in sorted(wanted.keys() | present.keys()):
        lines += difflib.unified_diff(
            present.get(path, "").splitlines(keepends=True),
            wanted.get(path, "").splitlines(keepends=True),
            path if path in present else "/dev/null",
            path if path in wanted else "/dev/null",
        )
    return "".join(lines)


def write(wanted: dict[str, str], folder: Path = FOLDER) -> None:
    """Write what should be there, and delete generated files that should not."""
    for path in on_disk(folder).keys() - wanted.keys():
        (folder / path).unlink()
    for path, text in wanted.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m spendstream.schemas.generate", description=__doc__
    )
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    options = parser.parse_args(arguments)
    wanted = generated()
    if not options.check:
        write(wanted)
        return 0
    if difference := drift(wanted, on_disk()):
        sys.stdout.write(difference)
        print(
            "Generated files differ from the models: run python -m spendstream.schemas.generate",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

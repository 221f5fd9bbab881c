"""The operator's prices as people write them: a YAML file, every mistake reported at once.

Its form is in `schemas/README.md`, what each field means and which of several entries counts in
`schemas/prices/overrides.py`.
"""

from __future__ import annotations

from pathlib import Path

from spendstream.api.yaml_file import YamlError, load_yaml, read_text
from spendstream.schemas.prices.overrides import Overrides, OverridesError, parse_overrides


def read_overrides(path: Path) -> Overrides:
    """The file's entries.

    Raises:
        OverridesError: the file cannot be read, or holds mistakes (all of them are named).
    """
    try:
        return parse_overrides(load_yaml(read_text(path)))
    except YamlError as error:
        raise OverridesError([str(error)]) from error

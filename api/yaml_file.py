"""YAML that people write, read without losing anything in silence."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any, Final

import yaml


class YamlError(ValueError):
    """A file cannot be read or is no YAML; the message says where."""


class _Loader(yaml.SafeLoader):
    """YAML that refuses a key given twice: the plain loader would silently keep the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if key_node.value in seen:
                line = key_node.start_mark.line + 1
                raise YamlError(f"line {line}: {key_node.value!r} is given twice")
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def read_text(path: Path) -> str:
    """Raises YamlError."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise YamlError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise YamlError(f"{path}: {error}") from error


def load_yaml(text: str) -> Any:
    """Raises YamlError."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise YamlError(f"not YAML: {error}") from error


_KINDS: Final = {
    dict: "a mapping",
    list: "a list",
    str: "text",
    bool: "true or false",
    int: "a whole number",
}


def kind(value: object) -> str:
    """What a value is, for whoever wrote it: often YAML took it for something else."""
    if value is None:
        return "nothing"
    if isinstance(value, date):
        return "a date"
    return _KINDS.get(type(value), f"a {type(value).__name__}")

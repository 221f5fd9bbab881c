"""A usage type of an SDK: where each of its fields goes, or why it is left out."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel

Json = dict[str, Any]
Wrap = Callable[[Any], Any]
"""From a usage block to the response that has it."""

CHECKED: Final = "conflicts"
"""Where a total goes that is the sum of others: one that is not makes a conflict."""
REST: Final = "the rest of its total"
PREDICTED: Final = "a part of the completion that costs what the rest of it does"
TIME: Final = "how long it took is no usage"


@dataclass(frozen=True)
class Block:
    """A usage type. `usage` has all its fields, and room in every total for a little more."""

    model: type[BaseModel]
    provider: str
    wrap: Wrap
    usage: Json
    read: dict[str, str]
    left_out: dict[str, str] = field(default_factory=dict)
    instead_of: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """What must be absent for a field to matter."""

    def __str__(self) -> str:
        return f"{self.model.__module__}.{self.model.__name__}"


def whole(usage: Any) -> Json:
    return {"id": "1", "model": "m", "usage": usage}


def under(name: str, **fields: Any) -> Wrap:
    return lambda usage: {"id": "1", "model": "m", **fields, name: usage}


MORE: Final = 4
OTHERWISE: Final = {
    "service_tier": "priority",
    "serviceTier": "priority",
    "trafficType": "ON_DEMAND_PRIORITY",
    "speed": "fast",
    "inference_geo": "eu",
    "model": "another",
    "modality": "AUDIO",
    "type": "google_maps",
    "reason": "not_enabled",
}


def changed(usage: Json, path: str) -> Json:
    """A copy in which a count is larger, or a name another one."""
    usage = copy.deepcopy(usage)
    held, name = holder(usage, path), path.rpartition(".")[2].removesuffix("[]")
    value = held[name]
    if isinstance(value, str):
        held[name] = OTHERWISE.get(name, "otherwise")
    elif isinstance(value, dict):
        held[name] = {key: n + MORE for key, n in value.items() if isinstance(n, int)}
    elif isinstance(value, bool):
        held[name] = not value
    elif isinstance(value, list):
        held[name] = [*value, *value]
    else:
        held[name] = value + MORE
    return usage


def value_at(usage: Json, path: str) -> Any:
    return holder(usage, path)[path.rpartition(".")[2].removesuffix("[]")]


def holder(usage: Json, path: str) -> Any:
    """What holds the last name of a path; of a list its first entry."""
    value: Any = usage
    for name in path.split(".")[:-1]:
        value = value[name.removesuffix("[]")]
        value = value[0] if isinstance(value, list) else value
    return value

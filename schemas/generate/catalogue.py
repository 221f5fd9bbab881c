"""Which models travel in which topic, and their JSON Schemas."""

from __future__ import annotations

import re
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from spendstream.schemas import topics
from spendstream.schemas.event import UsageEvent
from spendstream.schemas.plan import PlanVersion
from spendstream.schemas.prices.version import PriceVersion
from spendstream.schemas.records import (
    Alert,
    DeadLetter,
    DuplicateLate,
    ForwardedEvent,
    LateUsage,
    Overage,
    PricedUsage,
    ReadmitLate,
)
from spendstream.schemas.state import Heartbeat, WorkspaceState

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

MESSAGES: Final[dict[str, tuple[type[BaseModel], ...]]] = {
    topics.USAGE_EVENTS: (UsageEvent,),
    topics.WORKSPACE_COMMANDS: (ForwardedEvent, ReadmitLate, DuplicateLate),
    topics.USAGE_PRICED: (PricedUsage,),
    topics.USAGE_ALERTS: (Alert,),
    topics.USAGE_OVERAGE: (Overage,),
    topics.USAGE_LATE: (LateUsage,),
    topics.USAGE_DEAD: (DeadLetter,),
    topics.WORKSPACE_STATE: (WorkspaceState, Heartbeat),
    topics.CONTROL_PLANS: (PlanVersion,),
    topics.CONTROL_PRICES: (PriceVersion,),
}
"""Topics that are missing here hold what only its own writer reads."""


class _Plain(GenerateJsonSchema):
    """Without a title for every field, which would only repeat the field's name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def file_stem(model: type[BaseModel]) -> str:
    """`UsageEvent` → `usage_event`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", model.__name__).lower()


def schema_name(model: type[BaseModel]) -> str:
    return f"{file_stem(model)}.schema.json"


def json_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The model's JSON Schema; `title` is the model's name, `description` its docstring."""
    return {"$schema": DIALECT, **model.model_json_schema(schema_generator=_Plain)}


def topic_table() -> list[dict[str, Any]]:
    """The topics as data, for tools that create or check them without Python."""
    return [
        {
            "name": topic.name,
            "purpose": topic.purpose,
            "key": topic.key,
            "partitions": topic.partitions,
            "config": topic.config(),
            "writers": list(topic.writers),
            "readers": list(topic.readers),
            "public": topic.public,
            "schemas": [schema_name(model) for model in MESSAGES.get(topic.name, ())],
        }
        for topic in topics.TOPICS
    ]

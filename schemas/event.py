"""`UsageEvent`: one LLM call, as its service publishes it to `usage.events`.

On Kafka it is a CloudEvents 1.0 message in binary mode: the attributes travel as headers
(`ce_id`, `ce_time`, …), the record's value is the JSON of `UsageEvent`, the key is the workspace
id. `ce_id` is the idempotent request id, unique within its workspace: a second event with the
same id is a duplicate. `ce_time` is the end of the call.

There is no field for prompts or outputs, and unknown fields are refused, so that neither can
enter by accident.

Sources: CloudEvents 1.0 Kafka protocol binding; OpenTelemetry semantic conventions for generative
AI for the names.
"""

from __future__ import annotations

from math import isfinite
from typing import Annotated, Final, Literal, Self

from annotated_types import MaxLen
from pydantic import Field, JsonValue, field_validator, model_validator
from pydantic_core import to_json

from spendstream.schemas.fields import (
    Count,
    EpochMs,
    Milliseconds,
    Model,
    Name,
    Text,
    no_control_characters,
)
from spendstream.schemas.reasons import InvalidEvent, Reason
from spendstream.schemas.usage import Usage

SPEC_VERSION: Final = "1.0"
EVENT_TYPE: Final = "spendstream.usage.v1"
CONTENT_TYPE: Final = "application/json"
STRUCTURED_CONTENT_TYPE: Final = "application/cloudevents+json"

MAX_EVENT_BYTES: Final = 65_536
MAX_ID: Final = 256
"""Characters of `ce_id`."""
MAX_TAGS: Final = 32
MAX_METADATA_BYTES: Final = 8_192
MAX_METADATA_DEPTH: Final = 8

FUTURE_LIMIT_MS: Final = 3_600_000
"""An event that claims to be further ahead of its arrival is dead (`in_the_future`)."""
OLD_LIMIT_MS: Final = 35 * 86_400_000
"""An event that claims to be further behind its arrival is dead (`too_old`)."""

Status = Literal["ok", "error", "cancelled", "blocked"]
UsageQuality = Literal["measured", "estimated", "conflicting"]


class Trackable(Model):
    """The caller's own object that the call worked on: a document, a ticket, a submission."""

    type: Name
    id: Name


class UsageEvent(Model):
    """The data of a usage event. Times are milliseconds since 1970 UTC, durations milliseconds."""

    provider: Name = Field(description="gen_ai.provider.name: `openai`, `anthropic`, `gcp.gemini`")
    operation: Name = Field("chat", description="gen_ai.operation.name: `chat`, `embeddings`, …")
    request_model: Text | None = Field(None, description="gen_ai.request.model")
    response_model: Text | None = Field(
        None, description="gen_ai.response.model: the one that answered, and that is priced"
    )
    response_id: Text | None = None
    service_tier: Name | None = None
    batch: bool = Field(False, description="sent through the provider's batch API")
    region: Name | None = None
    usage: Usage | None = Field(None, description="null: the response held no usage, it is unknown")
    workspace_id: Name = Field(description="who is charged: a customer, a team, an organisation")
    user_id: Name | None = None
    api_key_id: Name | None = Field(None, description="an id or hash, never the key itself")
    request_type: Name | None = Field(None, description="the caller's purpose: `chat`, `grading`")
    task_id: Name | None = None
    trackable: Trackable | None = None
    tags: Annotated[dict[Name, Text], MaxLen(MAX_TAGS)] = Field(
        default_factory=dict, description="for grouping in reports"
    )
    metadata: dict[str, JsonValue] | None = Field(
        None, description=f"stored, never grouped by; ≤ {MAX_METADATA_BYTES} bytes of JSON"
    )
    status: Status = "ok"
    started_at_ms: EpochMs | None = None
    duration_ms: Milliseconds | None = None
    time_to_first_token_ms: Milliseconds | None = None
    reported_cost_pico: Annotated[str, Field(pattern=r"^[0-9]{1,19}$")] | None = Field(
        None, description="pico-USD that provider or caller knows it cost; a string of an integer"
    )
    usage_quality: UsageQuality = "measured"
    provider_usage: Annotated[dict[Name, Count], MaxLen(MAX_TAGS)] | None = Field(
        None, description="the provider's own usage figures, kept where they contradict themselves"
    )

    @field_validator("metadata")
    @classmethod
    def _bounded_metadata(cls, value: dict[str, JsonValue] | None) -> dict[str, JsonValue] | None:
        if value is not None:
            check_metadata(value)
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_consistent(
            self.request_model,
            self.response_model,
            self.status,
            self.usage is not None,
            self.usage_quality,
            self.provider_usage is not None,
        )
        return self

    @property
    def model(self) -> str:
        """The model that is priced and reported: the one that answered, else the one asked."""
        model = self.response_model or self.request_model
        assert model is not None  # _consistent
        return model


def check_consistent(
    request_model: str | None,
    response_model: str | None,
    status: str,
    has_usage: bool,
    usage_quality: str,
    has_provider_usage: bool,
) -> None:
    """Rules between fields, shared with the hot path. Raises InvalidEvent."""
    if request_model is None and response_model is None:
        raise InvalidEvent(Reason.MISSING_FIELD, "request_model or response_model is required")
    if status == "blocked" and has_usage:
        raise InvalidEvent(
            Reason.INVALID_VALUE, "usage: a blocked call never reached the provider, so it has none"
        )
    if (usage_quality == "conflicting") != has_provider_usage:
        raise InvalidEvent(
            Reason.INVALID_VALUE,
            "provider_usage: required with usage_quality `conflicting`, and only with it",
        )


def check_metadata(value: dict[str, JsonValue]) -> None:
    """Bounds of `metadata`: bytes of its compact JSON, objects and arrays within each other, no
    control characters in keys, numbers that a double holds."""
    size = len(to_json(value))
    if size > MAX_METADATA_BYTES:
        raise InvalidEvent(Reason.TOO_LONG, f"{size} bytes > {MAX_METADATA_BYTES}")
    pending: list[tuple[JsonValue, int]] = [(value, 1)]
    while pending:
        node, depth = pending.pop()
        if depth > MAX_METADATA_DEPTH and isinstance(node, dict | list):
            raise InvalidEvent(Reason.TOO_DEEP, f"nested more than {MAX_METADATA_DEPTH} deep")
        if isinstance(node, dict):
            for key in node:
                no_control_characters(key)
            pending.extend((child, depth + 1) for child in node.values())
        elif isinstance(node, list):
            pending.extend((child, depth + 1) for child in node)
        elif isinstance(node, float) and not isfinite(node):
            raise InvalidEvent(Reason.OUT_OF_RANGE, "a number beyond a double's range")

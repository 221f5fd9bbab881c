"""Bedrock's payloads, which are dicts: checked against the service's model that botocore ships."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from botocore.loaders import Loader  # type: ignore[import-untyped]
from botocore.model import ServiceModel, Shape  # type: ignore[import-untyped]
from botocore.validate import ParamValidator  # type: ignore[import-untyped]

from tests.unit.producers.extract.sdk.case import Case, Expected

Json = dict[str, Any]


@cache
def service() -> ServiceModel:
    return ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"))


def checked(value: Json, shape: Shape) -> Json:
    """As boto3 checks what it sends: every name is known, every type fits, nothing is missing."""
    report = ParamValidator().validate(value, shape)
    assert not report.has_errors(), report.generate_report()
    return value


def conversed(usage: Json, **fields: Any) -> Json:
    shape = service().operation_model("Converse").output_shape
    assert shape is not None
    said = {"role": "assistant", "content": [{"text": "hi"}]}
    body = {"output": {"message": said}, "stopReason": "end_turn", "metrics": {"latencyMs": 812}}
    return checked({**body, "usage": usage, **fields}, shape)


def event(name: str, **body: Any) -> Json:
    return checked({name: body}, service().shape_for("ConverseStreamOutput"))


def said(*texts: str) -> list[Json]:
    return [
        event("messageStart", role="assistant"),
        *(event("contentBlockDelta", delta={"text": one}, contentBlockIndex=0) for one in texts),
    ]


USED: Final = {
    "inputTokens": 40,
    "cacheReadInputTokens": 5000,
    "cacheWriteInputTokens": 300,
    "cacheDetails": [{"ttl": "1h", "inputTokens": 100}, {"ttl": "5m", "inputTokens": 200}],
    "outputTokens": 500,
    "totalTokens": 5840,
}
WHAT_WAS_USED: Final = {
    "input_tokens": 5340,
    "output_tokens": 500,
    "cache_read_input_tokens": 5000,
    "cache_write_input_tokens": 300,
    "cache_write_5m_input_tokens": 200,
    "cache_write_1h_input_tokens": 100,
}
LESS_DETAILED: Final = {**USED, "cacheDetails": [{"ttl": "1h", "inputTokens": 100}]}
ROUTED: Final = {"promptRouter": {"invokedModelId": "anthropic.claude-sonnet-4-5-v1:0"}}


def converse(what: str, payload: object, expected: Expected) -> Case:
    return Case("Bedrock Converse", what, "aws.bedrock", "converse", payload, expected)


CASES: Final = [
    converse(
        "whole",
        conversed(USED, serviceTier={"type": "flex"}, trace=ROUTED),
        {
            **WHAT_WAS_USED,
            "service_tier": "flex",
            "model": "anthropic.claude-sonnet-4-5-v1:0",
        },
    ),
    converse(
        "nothing cached, optimized for latency",
        conversed(
            {"inputTokens": 9, "outputTokens": 2, "totalTokens": 11},
            performanceConfig={"latency": "optimized"},
            serviceTier={"type": "default"},
        ),
        {"input_tokens": 9, "output_tokens": 2, "service_tier": "optimized"},
    ),
    converse(
        "details that are less than their total",
        conversed(LESS_DETAILED),
        {
            **{name: n for name, n in WHAT_WAS_USED.items() if "5m" not in name},
            "quality": "conflicting",
        },
    ),
    converse(
        "stream",
        [
            *said("hel", "lo"),
            event("contentBlockStop", contentBlockIndex=0),
            event("messageStop", stopReason="end_turn"),
            event(
                "metadata",
                usage=USED,
                metrics={"latencyMs": 812},
                serviceTier={"type": "priority"},
            ),
        ],
        {**WHAT_WAS_USED, "service_tier": "priority"},
    ),
    converse(
        "stream that was cut off",
        said("twelve", " chars"),
        {"input_tokens": 0, "output_tokens": 3, "quality": "estimated"},
    ),
]

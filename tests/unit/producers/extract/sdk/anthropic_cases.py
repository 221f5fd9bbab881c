"""Anthropic's payloads by the types of its SDK. Source: `anthropic.types` and its `beta`."""

from __future__ import annotations

from typing import Any, Final

from anthropic.lib.streaming import MessageStopEvent
from anthropic.types import (
    Message,
    RawContentBlockDeltaEvent,
    RawContentBlockStartEvent,
    RawContentBlockStopEvent,
    RawMessageDeltaEvent,
    RawMessageStartEvent,
    RawMessageStopEvent,
)
from anthropic.types.beta import (
    BetaMessage,
    BetaRawContentBlockStartEvent,
    BetaRawMessageDeltaEvent,
    BetaRawMessageStartEvent,
    BetaRawMessageStopEvent,
)
from anthropic.types.messages import MessageBatchIndividualResponse

from tests.unit.producers.extract.sdk.case import Case, Expected

Json = dict[str, Any]

USED: Final = {
    "input_tokens": 40,
    "cache_read_input_tokens": 5000,
    "cache_creation_input_tokens": 300,
    "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 100},
    "output_tokens": 500,
    "output_tokens_details": {"thinking_tokens": 320},
    "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 2},
    "service_tier": "priority",
    "speed": "standard",
    "inference_geo": "us",
}
WHAT_WAS_READ: Final = {
    "input_tokens": 5340,
    "cache_read_input_tokens": 5000,
    "cache_write_input_tokens": 300,
    "cache_write_5m_input_tokens": 200,
    "cache_write_1h_input_tokens": 100,
    "service_tier": "priority",
    "region": "us",
}
WHAT_WAS_USED: Final = {
    **WHAT_WAS_READ,
    "output_tokens": 500,
    "reasoning_output_tokens": 320,
    "web_searches": 3,
    "web_fetches": 2,
}
MESSAGE_IS: Final = {"model": "claude-sonnet-4-5-20250929", "response_id": "msg_1"}


def message(usage: Json, **fields: Any) -> Json:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5-20250929",
        "content": [{"type": "text", "text": "twelve chars"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": usage,
        **fields,
    }


def begun(usage: Json) -> RawMessageStartEvent:
    """What a stream begins with: the input, and the output's first token or so."""
    return RawMessageStartEvent.model_validate(
        {"type": "message_start", "message": message(usage, content=[], stop_reason=None)}
    )


def written(*texts: str) -> list[object]:
    start = {"type": "content_block_start", "index": 0}
    return [
        RawContentBlockStartEvent.model_validate(
            {**start, "content_block": {"type": "text", "text": ""}}
        ),
        *(
            RawContentBlockDeltaEvent.model_validate(
                {
                    "type": "content_block_delta",
                    "index": 0,
                    "delta": {"type": "text_delta", "text": text},
                }
            )
            for text in texts
        ),
        RawContentBlockStopEvent.model_validate({"type": "content_block_stop", "index": 0}),
    ]


def ended(usage: Json, reason: str = "end_turn") -> list[object]:
    return [
        RawMessageDeltaEvent.model_validate(
            {
                "type": "message_delta",
                "delta": {"stop_reason": reason, "stop_sequence": None},
                "usage": usage,
            }
        ),
        RawMessageStopEvent.model_validate({"type": "message_stop"}),
    ]


FIRST: Final = {**USED, "output_tokens": 1, "output_tokens_details": None, "server_tool_use": None}
LAST: Final = {
    "input_tokens": 40,
    "cache_read_input_tokens": 5000,
    "cache_creation_input_tokens": 300,
    "output_tokens": 500,
    "output_tokens_details": {"thinking_tokens": 320},
    "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 2},
}


def anthropic(row: str, what: str, payload: object, expected: Expected) -> Case:
    return Case(row, what, "anthropic", "messages", payload, expected)


MESSAGES: Final = [
    anthropic(
        "Anthropic",
        "whole",
        Message.model_validate(message(USED)),
        {**WHAT_WAS_USED, **MESSAGE_IS},
    ),
    anthropic(
        "Anthropic",
        "nothing but the totals",
        Message.model_validate(message({"input_tokens": 12, "output_tokens": 3})),
        {"input_tokens": 12, "output_tokens": 3, **MESSAGE_IS},
    ),
    anthropic(
        "Anthropic",
        "fast mode, on the standard tier",
        Message.model_validate(
            message(
                {
                    "input_tokens": 12,
                    "output_tokens": 3,
                    "service_tier": "standard",
                    "speed": "fast",
                    "inference_geo": "not_available",
                }
            )
        ),
        {"input_tokens": 12, "output_tokens": 3, "service_tier": "fast", **MESSAGE_IS},
    ),
    anthropic(
        "Anthropic stream",
        "whole",
        [begun(FIRST), *written("twelve", " chars"), *ended(LAST)],
        {**WHAT_WAS_USED, **MESSAGE_IS},
    ),
    anthropic(
        "Anthropic stream",
        "deltas that name the output alone, and are cumulative",
        [
            begun({"input_tokens": 12, "output_tokens": 1}),
            *written("hi"),
            *ended({"output_tokens": 4})[:1],
            *ended({"output_tokens": 9}),
        ],
        {"input_tokens": 12, "output_tokens": 9, **MESSAGE_IS},
    ),
    anthropic(
        "Anthropic stream",
        "a last delta that takes back what the first event said",
        [
            begun(
                {
                    "input_tokens": 12,
                    "cache_read_input_tokens": 700,
                    "cache_creation_input_tokens": 50,
                    "output_tokens": 1,
                }
            ),
            *ended(
                {
                    "input_tokens": 900,
                    "cache_read_input_tokens": 0,
                    "cache_creation_input_tokens": 0,
                    "output_tokens": 0,
                },
                "refusal",
            ),
        ],
        {"input_tokens": 900, "output_tokens": 0, **MESSAGE_IS},
    ),
    anthropic(
        "Anthropic stream",
        "cut off: the output is what was seen of it",
        [begun(FIRST), *written("twelve", " chars")],
        {**WHAT_WAS_READ, "output_tokens": 3, "quality": "estimated", **MESSAGE_IS},
    ),
    anthropic(
        "Anthropic stream",
        "the SDK's own last event, which brings the whole message once more",
        [
            begun(FIRST),
            *written("twelve", " chars"),
            ended(LAST)[0],
            MessageStopEvent.model_validate({"type": "message_stop", "message": message(USED)}),
        ],
        {**WHAT_WAS_USED, **MESSAGE_IS},
    ),
]


def iteration(kind: str, fresh: int, output: int, **fields: Any) -> Json:
    return {
        "type": kind,
        "input_tokens": fresh,
        "output_tokens": output,
        "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 0,
        "cache_creation": None,
        **fields,
    }


COMPACTED: Final = {
    "input_tokens": 900,
    "cache_read_input_tokens": 0,
    "cache_creation_input_tokens": 0,
    "output_tokens": 50,
    "iterations": [
        iteration(
            "compaction",
            20_000,
            1_500,
            cache_read_input_tokens=100_000,
            cache_creation_input_tokens=600,
            cache_creation={"ephemeral_5m_input_tokens": 600, "ephemeral_1h_input_tokens": 0},
        ),
        iteration("message", 900, 50, model="claude-sonnet-4-5-20250929"),
    ],
}
WHAT_COMPACTING_TOOK: Final = {
    "input_tokens": 121_500,
    "output_tokens": 1_550,
    "cache_read_input_tokens": 100_000,
    "cache_write_input_tokens": 600,
    "cache_write_5m_input_tokens": 600,
}
ADVISED: Final = {
    "input_tokens": 412,
    "output_tokens": 531,
    "iterations": [
        iteration("message", 412, 89),
        iteration("advisor_message", 823, 1_612, model="claude-opus-4-5"),
        iteration("message", 1_348, 442, cache_read_input_tokens=412),
    ],
}
FELL_BACK: Final = {
    "input_tokens": 60,
    "output_tokens": 200,
    "iterations": [
        iteration("message", 50, 7, model="claude-fable-5"),
        iteration("fallback_message", 60, 200, model="claude-opus-4-5"),
    ],
}
HANDED_OVER: Final = {
    "type": "fallback",
    "from": {"model": "claude-fable-5"},
    "to": {"model": "claude-opus-4-5"},
    "trigger": {"type": "refusal", "category": "cyber"},
}
DECLINED: Final = {"model": "claude-fable-5", "input_tokens": 50, "output_tokens": 7}

BETA: Final = [
    anthropic(
        "Anthropic",
        "a compaction, which the top level leaves out",
        BetaMessage.model_validate(message(COMPACTED)),
        {**WHAT_COMPACTING_TOOK, **MESSAGE_IS},
    ),
    anthropic(
        "Anthropic",
        "an advisor, at another model's price",
        BetaMessage.model_validate(message(ADVISED)),
        {
            # both passes of its own
            "input_tokens": 412 + 1_348 + 412,
            "output_tokens": 531,
            "cache_read_input_tokens": 412,
            "other_models": (
                {"model": "claude-opus-4-5", "input_tokens": 823, "output_tokens": 1_612},
            ),
            **MESSAGE_IS,
        },
    ),
    anthropic(
        "Anthropic",
        "a fallback, after a model that had begun to write",
        BetaMessage.model_validate(
            message(FELL_BACK, model="claude-opus-4-5", content=[HANDED_OVER])
        ),
        {
            "input_tokens": 60,
            "output_tokens": 200,
            "other_models": (DECLINED,),
            "model": "claude-opus-4-5",
            "response_id": "msg_1",
        },
    ),
    anthropic(
        "Anthropic stream",
        "a fallback: the first event names the model that did not answer",
        [
            BetaRawMessageStartEvent.model_validate(
                {
                    "type": "message_start",
                    "message": message(
                        {"input_tokens": 50, "output_tokens": 1},
                        model="claude-fable-5",
                        content=[],
                        stop_reason=None,
                    ),
                }
            ),
            BetaRawContentBlockStartEvent.model_validate(
                {"type": "content_block_start", "index": 1, "content_block": HANDED_OVER}
            ),
            BetaRawMessageDeltaEvent.model_validate(
                {
                    "type": "message_delta",
                    "delta": {"stop_reason": "end_turn"},
                    "usage": FELL_BACK,
                }
            ),
            BetaRawMessageStopEvent.model_validate({"type": "message_stop"}),
        ],
        {
            "input_tokens": 60,
            "output_tokens": 200,
            "other_models": (DECLINED,),
            "model": "claude-opus-4-5",
            "response_id": "msg_1",
        },
    ),
]

IN_A_BATCH: Final = {**USED, "service_tier": "batch"}
BATCH: Final = [
    anthropic(
        "batch",
        "lines of Anthropic's results, one of which failed",
        [
            MessageBatchIndividualResponse.model_validate(
                {
                    "custom_id": "call-1",
                    "result": {"type": "succeeded", "message": message(IN_A_BATCH)},
                }
            ),
            MessageBatchIndividualResponse.model_validate(
                {
                    "custom_id": "call-2",
                    "result": {
                        "type": "errored",
                        "error": {
                            "type": "error",
                            "request_id": "req_1",
                            "error": {"type": "overloaded_error", "message": "busy"},
                        },
                    },
                }
            ),
        ],
        {**WHAT_WAS_USED, **MESSAGE_IS, "service_tier": "batch", "batch": True},
    ),
    Case(
        "Bedrock Converse",
        "Claude by InvokeModel, in Anthropic's shape",
        "aws.bedrock",
        "invoke_model",
        Message.model_validate(message({"input_tokens": 12, "output_tokens": 3})),
        {"input_tokens": 12, "output_tokens": 3, **MESSAGE_IS},
    ),
]

CASES: Final = [*MESSAGES, *BETA, *BATCH]

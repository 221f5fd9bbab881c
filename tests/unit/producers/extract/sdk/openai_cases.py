"""OpenAI's payloads by the types of its SDK. Source: `openai.types`."""

from __future__ import annotations

from typing import Any, Final

from openai.types import (
    Batch,
    Completion,
    CreateEmbeddingResponse,
    Decision,
    ImageEditCompletedEvent,
    ImageGenCompletedEvent,
    ImagesResponse,
)
from openai.types.audio import (
    Transcription,
    TranscriptionDiarized,
    TranscriptionTextDeltaEvent,
    TranscriptionTextDoneEvent,
    TranscriptionVerbose,
)
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.live import SessionUsageUpdatedEvent
from openai.types.realtime import (
    ConversationItemInputAudioTranscriptionCompletedEvent,
    ResponseDoneEvent,
)
from openai.types.responses import (
    CompactedResponse,
    Response,
    ResponseCompletedEvent,
    ResponseCreatedEvent,
    ResponseIncompleteEvent,
    ResponseTextDeltaEvent,
    ResponseTextDoneEvent,
)

from tests.unit.producers.extract.sdk.case import Case, Expected

Json = dict[str, Any]

USED: Final = {
    "prompt_tokens": 1000,
    "completion_tokens": 400,
    "total_tokens": 1400,
    "prompt_tokens_details": {
        "cached_tokens": 600,
        "cache_write_tokens": 100,
        "audio_tokens": 50,
        "image_tokens": 30,
        "text_tokens": 920,
    },
    "completion_tokens_details": {
        "reasoning_tokens": 250,
        "audio_tokens": 20,
        "text_tokens": 130,
        "accepted_prediction_tokens": 10,
        "rejected_prediction_tokens": 5,
    },
}
WHAT_WAS_USED: Final = {
    "input_tokens": 1000,
    "output_tokens": 400,
    "cache_read_input_tokens": 600,
    "cache_write_input_tokens": 100,
    "audio_input_tokens": 50,
    "image_input_tokens": 30,
    "reasoning_output_tokens": 250,
    "audio_output_tokens": 20,
}


def chat(usage: Json | None, **fields: Any) -> ChatCompletion:
    choice = {"index": 0, "message": {"role": "assistant", "content": "hi"}}
    return ChatCompletion.model_validate(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1_795_000_000,
            "model": "gpt-4o-2024-08-06",
            "choices": [{**choice, "finish_reason": "stop", "logprobs": None}],
            "usage": usage,
            **fields,
        }
    )


def chunk(text: str | None, finish: str | None = None, **fields: Any) -> ChatCompletionChunk:
    """Without a text: the last one, which has no choices."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return ChatCompletionChunk.model_validate(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1_795_000_000,
            "model": "gpt-4o-2024-08-06",
            "choices": [] if text is None else [choice],
            **fields,
        }
    )


CHAT_IS: Final = {"model": "gpt-4o-2024-08-06", "response_id": "chatcmpl-1"}

CHAT: Final = [
    Case(
        "OpenAI chat",
        "whole",
        "openai",
        "chat",
        chat(USED, service_tier="flex"),
        {**WHAT_WAS_USED, **CHAT_IS, "service_tier": "flex"},
    ),
    Case(
        "OpenAI chat",
        "no details",
        "openai",
        "chat",
        chat({"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}),
        {"input_tokens": 9, "output_tokens": 2, **CHAT_IS},
    ),
    Case("OpenAI chat", "no usage", "openai", "chat", chat(None), None),
    Case(
        "OpenAI chat",
        "completions",
        "openai",
        "completions",
        Completion.model_validate(
            {
                "id": "cmpl-1",
                "object": "text_completion",
                "created": 1_795_000_000,
                "model": "gpt-3.5-turbo-instruct",
                "choices": [{"index": 0, "text": "hi", "finish_reason": "stop", "logprobs": None}],
                "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
            }
        ),
        {
            "input_tokens": 9,
            "output_tokens": 2,
            "model": "gpt-3.5-turbo-instruct",
            "response_id": "cmpl-1",
        },
    ),
    Case(
        "OpenAI stream",
        "with include_usage",
        "openai",
        "chat",
        [
            chunk("hel", usage=None, service_tier="priority"),
            chunk("lo", "stop", usage=None, service_tier="priority"),
            chunk(None, usage=USED, service_tier="priority"),
        ],
        {**WHAT_WAS_USED, **CHAT_IS, "service_tier": "priority"},
    ),
    Case(
        "OpenAI stream",
        "interrupted",
        "openai",
        "chat",
        [chunk("twelve", usage=None), chunk(" chars", usage=None)],
        {"input_tokens": 0, "output_tokens": 3, "quality": "estimated", **CHAT_IS},
    ),
    Case(
        "OpenAI stream",
        "interrupted before its last chunk, after the answer",
        "openai",
        "chat",
        [chunk("hi", usage=None), chunk("", "stop", usage=None)],
        {"input_tokens": 0, "output_tokens": 1, "quality": "estimated", **CHAT_IS},
    ),
    Case(
        "OpenAI stream",
        "whole without include_usage",
        "openai",
        "chat",
        [chunk("hel"), chunk("lo", "stop")],
        None,
    ),
]


def response(usage: Json | None, **fields: Any) -> Json:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_795_000_000,
        "model": "gpt-5.2",
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": usage,
        **fields,
    }


RESPONDED: Final = {
    "input_tokens": 5000,
    "input_tokens_details": {
        "cached_tokens": 3000,
        "cache_write_tokens": 1500,
        "cache_write_tokens_details": {"ttl_30m_tokens": 1000, "ttl_12h_tokens": 500},
    },
    "output_tokens": 800,
    "output_tokens_details": {"reasoning_tokens": 640},
    "total_tokens": 5800,
}
WHAT_IT_TOOK: Final = {
    "input_tokens": 5000,
    "output_tokens": 800,
    "cache_read_input_tokens": 3000,
    "cache_write_input_tokens": 1500,
    "cache_write_30m_input_tokens": 1000,
    "cache_write_12h_input_tokens": 500,
    "reasoning_output_tokens": 640,
}
RESPONSE_IS: Final = {"model": "gpt-5.2", "response_id": "resp_1"}


def text_event(delta: str | None, number: int) -> object:
    """A delta; without one the event that says all of it again."""
    where = {"content_index": 0, "item_id": "msg_1", "output_index": 0, "logprobs": []}
    if delta is None:
        event = {"type": "response.output_text.done", "text": "twelve chars"}
        return ResponseTextDoneEvent.model_validate({**where, **event, "sequence_number": number})
    event = {"type": "response.output_text.delta", "delta": delta}
    return ResponseTextDeltaEvent.model_validate({**where, **event, "sequence_number": number})


def response_stream(last: object = None) -> list[object]:
    begun = {"type": "response.created", "sequence_number": 0}
    events = [
        ResponseCreatedEvent.model_validate({**begun, "response": response(None)}),
        text_event("twelve", 1),
        text_event(" chars", 2),
        text_event(None, 3),
    ]
    return events if last is None else [*events, last]


DRAWN: Final = {
    "input_tokens": 120,
    "input_tokens_details": {"image_tokens": 100, "text_tokens": 20},
    "cached_tokens": 90,
    "cached_tokens_details": {"cached_image_tokens": 80, "cached_text_tokens": 10},
    "output_tokens": 1100,
    "output_tokens_details": {"image_tokens": 1056, "text_tokens": 44},
    "total_tokens": 1220,
}
SVG: Final = {
    "model": "gpt-5.2-mini",
    "input_tokens": 300,
    "output_tokens": 900,
    "reasoning_tokens": 700,
    "total_tokens": 1200,
}
WHAT_THE_SVG_TOOK: Final = {
    "model": "gpt-5.2-mini",
    "input_tokens": 300,
    "output_tokens": 900,
    "reasoning_output_tokens": 700,
}

RESPONSES: Final = [
    Case(
        "OpenAI responses",
        "whole",
        "openai",
        "responses",
        Response.model_validate(response(RESPONDED, status="completed", service_tier="default")),
        {**WHAT_IT_TOOK, **RESPONSE_IS, "service_tier": "default"},
    ),
    Case(
        "OpenAI responses",
        "stream",
        "openai",
        "responses",
        response_stream(
            ResponseCompletedEvent.model_validate(
                {
                    "type": "response.completed",
                    "sequence_number": 4,
                    "response": response(RESPONDED, service_tier="priority"),
                }
            )
        ),
        {**WHAT_IT_TOOK, **RESPONSE_IS, "service_tier": "priority"},
    ),
    Case(
        "OpenAI responses",
        "stream that ran into its limit",
        "openai",
        "responses",
        response_stream(
            ResponseIncompleteEvent.model_validate(
                {
                    "type": "response.incomplete",
                    "sequence_number": 4,
                    "response": response(RESPONDED, status="incomplete"),
                }
            )
        ),
        {**WHAT_IT_TOOK, **RESPONSE_IS},
    ),
    Case(
        "OpenAI responses",
        "stream that was cut off",
        "openai",
        "responses",
        response_stream(),
        {"input_tokens": 0, "output_tokens": 3, "quality": "estimated", **RESPONSE_IS},
    ),
    Case(
        "OpenAI responses",
        "hosted tools",
        "openai",
        "responses",
        Response.model_validate(
            response(
                RESPONDED,
                tools=[{"type": "image_generation", "model": "gpt-image-1.5"}],
                tool_usage={"image_gen": DRAWN, "web_search": {"num_requests": 3}},
            )
        ),
        {
            **WHAT_IT_TOOK,
            **RESPONSE_IS,
            "web_searches": 3,
            "other_models": (
                {
                    "model": "gpt-image-1.5",
                    "input_tokens": 120,
                    "output_tokens": 1100,
                    "cache_read_input_tokens": 90,
                    "image_input_tokens": 100,
                    "cache_read_image_input_tokens": 80,
                    "image_output_tokens": 1056,
                },
            ),
        },
    ),
    Case(
        "OpenAI responses",
        "an image that another model wrote as SVG",
        "openai",
        "responses",
        Response.model_validate(
            response(
                RESPONDED,
                output=[
                    {
                        "type": "image_generation_call",
                        "id": "ig_1",
                        "status": "completed",
                        "result": "",
                        "svg_usage": SVG,
                    }
                ],
            )
        ),
        {**WHAT_IT_TOOK, **RESPONSE_IS, "other_models": (WHAT_THE_SVG_TOOK,)},
    ),
    Case(
        "OpenAI responses",
        "compaction",
        "openai",
        "responses",
        CompactedResponse.model_validate(
            {
                "id": "resp_1",
                "object": "response.compaction",
                "created_at": 1_795_000_000,
                "output": [],
                "usage": RESPONDED,
            }
        ),
        {**WHAT_IT_TOOK, "response_id": "resp_1"},
    ),
]

EMBEDDINGS: Final = [
    Case(
        "embeddings",
        "whole",
        "openai",
        "embeddings",
        CreateEmbeddingResponse.model_validate(
            {
                "object": "list",
                "model": "text-embedding-3-small",
                "data": [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}],
                "usage": {"prompt_tokens": 8, "total_tokens": 8},
            }
        ),
        {"input_tokens": 8, "output_tokens": 0, "model": "text-embedding-3-small"},
    )
]


def drawn_event(kind: str) -> Json:
    return {
        "type": kind,
        "b64_json": "",
        "background": "opaque",
        "created_at": 1_795_000_000,
        "output_format": "png",
        "quality": "high",
        "size": "1024x1024",
        "usage": {
            "input_tokens": 120,
            "input_tokens_details": {"image_tokens": 100, "text_tokens": 20},
            "output_tokens": 1056,
            "total_tokens": 1176,
        },
    }


# `output_tokens`: "the number of image tokens in the output image"
DRAWN_IN_A_STREAM: Final = {
    "input_tokens": 120,
    "output_tokens": 1056,
    "image_input_tokens": 100,
    "image_output_tokens": 1056,
    "images": 1,
    "image_size": "1024x1024",
    "image_quality": "high",
}

IMAGES: Final = [
    Case(
        "images",
        "whole, by tokens",
        "openai",
        "images",
        ImagesResponse.model_validate(
            {
                "created": 1_795_000_000,
                "background": "opaque",
                "output_format": "png",
                "quality": "high",
                "size": "1024x1536",
                "data": [{"b64_json": ""}, {"b64_json": ""}],
                "usage": {
                    "input_tokens": 120,
                    "input_tokens_details": {"image_tokens": 100, "text_tokens": 20},
                    "output_tokens": 2200,
                    "output_tokens_details": {"image_tokens": 2112, "text_tokens": 88},
                    "total_tokens": 2320,
                },
            }
        ),
        {
            "input_tokens": 120,
            "output_tokens": 2200,
            "image_input_tokens": 100,
            "image_output_tokens": 2112,
            "images": 2,
            "image_size": "1024x1536",
            "image_quality": "high",
        },
    ),
    Case(
        "images",
        "SVG that another model wrote",
        "openai",
        "images",
        ImagesResponse.model_validate(
            {
                "created": 1_795_000_000,
                "output_format": "svg",
                "data": [{"b64_json": ""}],
                "usage": {
                    "input_tokens": 20,
                    "input_tokens_details": {"image_tokens": 0, "text_tokens": 20},
                    "output_tokens": 1056,
                    "output_tokens_details": {"image_tokens": 1056, "text_tokens": 0},
                    "total_tokens": 1076,
                },
                "svg_usage": SVG,
            }
        ),
        {
            "input_tokens": 20,
            "output_tokens": 1056,
            "image_output_tokens": 1056,
            "images": 1,
            "other_models": (WHAT_THE_SVG_TOOK,),
        },
    ),
    Case(
        "images",
        "stream, generated",
        "openai",
        "images",
        [ImageGenCompletedEvent.model_validate(drawn_event("image_generation.completed"))],
        DRAWN_IN_A_STREAM,
    ),
    Case(
        "images",
        "stream, edited",
        "openai",
        "images",
        [ImageEditCompletedEvent.model_validate(drawn_event("image_edit.completed"))],
        DRAWN_IN_A_STREAM,
    ),
]

HEARD: Final = {
    "type": "tokens",
    "input_tokens": 1400,
    "input_token_details": {"audio_tokens": 1370, "text_tokens": 30},
    "output_tokens": 210,
    "total_tokens": 1610,
}
WHAT_WAS_HEARD: Final = {"input_tokens": 1400, "output_tokens": 210, "audio_input_tokens": 1370}
BY_TIME: Final = {"type": "duration", "seconds": 12.34}
TIME: Final = {"input_tokens": 0, "output_tokens": 0, "audio_input_ms": 12_340}


def heard(delta: str) -> TranscriptionTextDeltaEvent:
    return TranscriptionTextDeltaEvent.model_validate(
        {"type": "transcript.text.delta", "delta": delta}
    )


def asr(usage: Json) -> ConversationItemInputAudioTranscriptionCompletedEvent:
    return ConversationItemInputAudioTranscriptionCompletedEvent.model_validate(
        {
            "type": "conversation.item.input_audio_transcription.completed",
            "event_id": "event_1",
            "item_id": "item_1",
            "content_index": 0,
            "transcript": "hi",
            "usage": usage,
        }
    )


def transcription(what: str, payload: object, expected: Expected) -> Case:
    return Case("transcription", what, "openai", "transcription", payload, expected)


TRANSCRIPTION: Final = [
    transcription(
        "by tokens",
        Transcription.model_validate({"text": "hi", "usage": HEARD}),
        WHAT_WAS_HEARD,
    ),
    transcription("by time", Transcription.model_validate({"text": "hi", "usage": BY_TIME}), TIME),
    transcription(
        "verbose",
        TranscriptionVerbose.model_validate(
            {"text": "hi", "language": "en", "duration": 12.3, "usage": BY_TIME}
        ),
        TIME,
    ),
    transcription(
        "by speaker",
        TranscriptionDiarized.model_validate(
            {"text": "", "duration": 12.3, "segments": [], "task": "transcribe", "usage": HEARD}
        ),
        WHAT_WAS_HEARD,
    ),
    transcription(
        "stream",
        [
            heard("twelve"),
            heard(" chars"),
            TranscriptionTextDoneEvent.model_validate(
                {"type": "transcript.text.done", "text": "twelve chars", "usage": HEARD}
            ),
        ],
        WHAT_WAS_HEARD,
    ),
    transcription(
        "stream that was cut off",
        [heard("twelve"), heard(" chars")],
        {"input_tokens": 0, "output_tokens": 3, "quality": "estimated"},
    ),
    transcription("of a realtime session, by tokens", asr(HEARD), WHAT_WAS_HEARD),
    transcription("of a realtime session, by time", asr(BY_TIME), TIME),
    transcription(
        "of a realtime session, two utterances",
        [asr(HEARD), asr(HEARD)],
        {name: 2 * n for name, n in WHAT_WAS_HEARD.items()},
    ),
]


def turn(number: int, usage: Json | None) -> ResponseDoneEvent:
    return ResponseDoneEvent.model_validate(
        {
            "type": "response.done",
            "event_id": f"event_{number}",
            "response": {
                "id": f"resp_{number}",
                "object": "realtime.response",
                "status": "completed",
                "output": [],
                "usage": usage,
            },
        }
    )


SPOKEN: Final = {
    "input_tokens": 900,
    "input_token_details": {
        "text_tokens": 200,
        "audio_tokens": 600,
        "image_tokens": 100,
        "cached_tokens": 500,
        "cached_tokens_details": {"text_tokens": 120, "audio_tokens": 320, "image_tokens": 60},
    },
    "output_tokens": 300,
    "output_token_details": {"text_tokens": 80, "audio_tokens": 220},
    "total_tokens": 1200,
}
WHAT_WAS_SPOKEN: Final = {
    "input_tokens": 900,
    "output_tokens": 300,
    "cache_read_input_tokens": 500,
    "audio_input_tokens": 600,
    "image_input_tokens": 100,
    "cache_read_audio_input_tokens": 320,
    "cache_read_image_input_tokens": 60,
    "audio_output_tokens": 220,
}

REALTIME: Final = [
    Case(
        "OpenAI realtime",
        "a turn",
        "openai",
        "realtime",
        turn(1, SPOKEN),
        {**WHAT_WAS_SPOKEN, "response_id": "resp_1"},
    ),
    Case(
        "OpenAI realtime",
        "two turns and one that was cancelled before it began",
        "openai",
        "realtime",
        [turn(1, SPOKEN), turn(2, SPOKEN), turn(3, None)],
        {**{name: 2 * n for name, n in WHAT_WAS_SPOKEN.items()}, "response_id": "resp_1"},
    ),
    Case(
        "OpenAI live",
        "the time so far",
        "openai",
        "live",
        [
            SessionUsageUpdatedEvent.model_validate(
                {
                    "type": "session.usage.updated",
                    "event_id": f"event_{seconds}",
                    "usage": {"seconds": seconds, "active_seconds": seconds, "paused_seconds": 0},
                }
            )
            for seconds in (12, 40)
        ],
        {"input_tokens": 0, "output_tokens": 0, "audio_input_ms": 40_000},
    ),
    Case(
        "OpenAI decisions",
        "whole",
        "openai",
        "decisions",
        Decision.model_validate(
            {
                "model": "gpt-5.2",
                "answers": [],
                "usage": {
                    "input_tokens": 500,
                    "input_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 300},
                    "output_tokens": 9,
                    "output_tokens_details": {"reasoning_tokens": 0},
                    "total_tokens": 509,
                },
            }
        ),
        {
            "input_tokens": 500,
            "output_tokens": 9,
            "cache_read_input_tokens": 100,
            "cache_write_input_tokens": 300,
            "model": "gpt-5.2",
        },
    ),
    Case(
        "OpenAI speech",
        "stream",
        "openai",
        "speech",
        [
            {"type": "speech.audio.delta", "audio": "AAAA"},
            {
                "type": "speech.audio.done",
                "usage": {"input_tokens": 14, "output_tokens": 101, "total_tokens": 115},
            },
        ],
        {"input_tokens": 14, "output_tokens": 101, "audio_output_tokens": 101},
        documented=True,
    ),
]


def batch_line(number: int, body: object) -> Json:
    """A line of an output file, which has no type of its own: the body has."""
    response = {"status_code": 200, "request_id": f"req_{number}", "body": body}
    line = {"id": f"batch_req_{number}", "custom_id": f"call-{number}"}
    return {**line, "response": response, "error": None}


BATCH: Final = [
    Case(
        "batch",
        "a line of chat",
        "openai",
        "batch",
        batch_line(1, chat(USED, service_tier="default")),
        {**WHAT_WAS_USED, **CHAT_IS, "service_tier": "default", "batch": True},
    ),
    Case(
        "batch",
        "lines of responses",
        "openai",
        "batch",
        [batch_line(n, Response.model_validate(response(RESPONDED))) for n in (1, 2)],
        {**{name: 2 * n for name, n in WHAT_IT_TOOK.items()}, **RESPONSE_IS, "batch": True},
    ),
    Case(
        "batch",
        "the batch itself, when it is done",
        "openai",
        "batch",
        Batch.model_validate(
            {
                "id": "batch_1",
                "object": "batch",
                "completion_window": "24h",
                "created_at": 1_795_000_000,
                "endpoint": "/v1/responses",
                "input_file_id": "file-1",
                "status": "completed",
                "model": "gpt-5.2",
                "usage": {
                    "input_tokens": 5000,
                    "input_tokens_details": {"cached_tokens": 3000},
                    "output_tokens": 800,
                    "output_tokens_details": {"reasoning_tokens": 640},
                    "total_tokens": 5800,
                },
            }
        ),
        {
            "input_tokens": 5000,
            "output_tokens": 800,
            "cache_read_input_tokens": 3000,
            "reasoning_output_tokens": 640,
            "model": "gpt-5.2",
            "response_id": "batch_1",
            "batch": True,
        },
    ),
]

FILTERED: Final = {"hate": {"filtered": False, "severity": "safe"}}
AZURE: Final = [
    Case(
        "Azure OpenAI",
        "chat, of a deployment",
        "azure.ai.openai",
        "chat",
        chat(
            USED,
            model="our-deployment",
            prompt_filter_results=[{"prompt_index": 0, "content_filter_results": FILTERED}],
        ),
        {**WHAT_WAS_USED, "model": "our-deployment", "response_id": "chatcmpl-1"},
        documented=True,
    ),
    Case(
        "Azure OpenAI",
        "stream, which begins with the prompt's filters",
        "azure.ai.openai",
        "chat",
        [
            chunk(
                None,
                id="",
                model="",
                prompt_filter_results=[{"prompt_index": 0, "content_filter_results": FILTERED}],
            ),
            chunk("hi", "stop"),
            chunk(None, usage=USED),
        ],
        {**WHAT_WAS_USED, **CHAT_IS},
        documented=True,
    ),
]

CASES: Final = [
    *CHAT,
    *RESPONSES,
    *EMBEDDINGS,
    *IMAGES,
    *TRANSCRIPTION,
    *REALTIME,
    *BATCH,
    *AZURE,
]

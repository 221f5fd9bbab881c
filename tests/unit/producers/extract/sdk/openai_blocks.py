"""OpenAI's usage types. Source: `openai.types`."""

from __future__ import annotations

import copy
from typing import Final

from openai.types import (
    BatchUsage,
    CompletionUsage,
    create_embedding_response,
    decision,
    image_edit_completed_event,
    image_gen_completed_event,
    images_response,
)
from openai.types.audio import (
    transcription,
    transcription_diarized,
    transcription_text_done_event,
    transcription_verbose,
)
from openai.types.beta import BetaResponseUsage, beta_response
from openai.types.live import SessionUsage
from openai.types.realtime import (
    RealtimeResponseUsage,
)
from openai.types.realtime import (
    conversation_item_input_audio_transcription_completed_event as asr,
)
from openai.types.responses import ResponseUsage
from openai.types.responses import response as openai_response
from openai.types.responses import response_output_item as output_item
from pydantic import BaseModel

from tests.unit.producers.extract.sdk.block import (
    CHECKED,
    PREDICTED,
    REST,
    Block,
    Wrap,
    holder,
    under,
    whole,
)

OPENAI_CHAT: Final = Block(
    CompletionUsage,
    "openai",
    whole,
    {
        "prompt_tokens": 1000,
        "completion_tokens": 1000,
        "total_tokens": 2000,
        "prompt_tokens_details": {
            "audio_tokens": 10,
            "cache_write_tokens": 20,
            "cached_tokens": 30,
            "image_tokens": 40,
            "text_tokens": 50,
        },
        "completion_tokens_details": {
            "accepted_prediction_tokens": 10,
            "audio_tokens": 20,
            "reasoning_tokens": 30,
            "rejected_prediction_tokens": 40,
            "text_tokens": 50,
        },
    },
    {
        "prompt_tokens": "input_tokens",
        "completion_tokens": "output_tokens",
        "total_tokens": CHECKED,
        "prompt_tokens_details.audio_tokens": "audio_input_tokens",
        "prompt_tokens_details.cache_write_tokens": "cache_write_input_tokens",
        "prompt_tokens_details.cached_tokens": "cache_read_input_tokens",
        "prompt_tokens_details.image_tokens": "image_input_tokens",
        "completion_tokens_details.audio_tokens": "audio_output_tokens",
        "completion_tokens_details.reasoning_tokens": "reasoning_output_tokens",
    },
    {
        "prompt_tokens_details.text_tokens": REST,
        "completion_tokens_details.text_tokens": REST,
        "completion_tokens_details.accepted_prediction_tokens": PREDICTED,
        "completion_tokens_details.rejected_prediction_tokens": PREDICTED,
    },
)

RESPONDED: Final = {
    "input_tokens": 1000,
    "input_tokens_details": {
        "cache_write_tokens": 100,
        "cached_tokens": 30,
        "cache_write_tokens_details": {"ttl_12h_tokens": 10, "ttl_30m_tokens": 20},
    },
    "output_tokens": 1000,
    "output_tokens_details": {"reasoning_tokens": 30},
    "total_tokens": 2000,
}
RESPONDED_INTO: Final = {
    "input_tokens": "input_tokens",
    "input_tokens_details.cache_write_tokens": "cache_write_input_tokens",
    "input_tokens_details.cached_tokens": "cache_read_input_tokens",
    **{
        f"input_tokens_details.cache_write_tokens_details.ttl_{kept}_tokens": (
            f"cache_write_{kept}_input_tokens"
        )
        for kept in ("12h", "30m")
    },
    "output_tokens": "output_tokens",
    "output_tokens_details.reasoning_tokens": "reasoning_output_tokens",
    "total_tokens": CHECKED,
}


def responded(model: type[BaseModel], provider: str = "openai", leaving: str = "") -> Block:
    """The type, or one that lacks some of its fields."""
    usage = copy.deepcopy(RESPONDED)
    into = dict(RESPONDED_INTO)
    for path in leaving.split():
        holder(usage, path).pop(path.rpartition(".")[2])
        into = {name: to for name, to in into.items() if not f"{name}.".startswith(f"{path}.")}
    return Block(model, provider, whole, usage, into)


DRAWN: Final = {
    "input_tokens": 1000,
    "input_tokens_details": {"image_tokens": 100, "text_tokens": 50},
    "output_tokens": 1000,
    "output_tokens_details": {"image_tokens": 100, "text_tokens": 50},
    "total_tokens": 2000,
}
DRAWN_INTO: Final = {
    "input_tokens": "input_tokens",
    "input_tokens_details.image_tokens": "image_input_tokens",
    "output_tokens": "output_tokens",
    "output_tokens_details.image_tokens": "image_output_tokens",
    "total_tokens": CHECKED,
}
DRAWN_LEAVING: Final = {
    "input_tokens_details.text_tokens": REST,
    "output_tokens_details.text_tokens": REST,
}


def in_a_stream(model: type[BaseModel], kind: str) -> Block:
    """Without output details: "the number of image tokens in the output image"."""
    return Block(
        model,
        "openai",
        lambda usage: [{"type": kind, "usage": usage}],
        {name: value for name, value in DRAWN.items() if name != "output_tokens_details"},
        {
            **{name: to for name, to in DRAWN_INTO.items() if "output" not in name},
            "output_tokens": "image_output_tokens",
        },
        {"input_tokens_details.text_tokens": REST},
    )


def by_svg(model: type[BaseModel], wrap: Wrap) -> Block:
    return Block(
        model,
        "openai",
        wrap,
        {
            "model": "gpt-5.2",
            "input_tokens": 1000,
            "output_tokens": 1000,
            "reasoning_tokens": 30,
            "total_tokens": 2000,
        },
        {
            "model": "other_models.0.model",
            "input_tokens": "other_models.0.input_tokens",
            "output_tokens": "other_models.0.output_tokens",
            "reasoning_tokens": "other_models.0.reasoning_output_tokens",
            "total_tokens": CHECKED,
        },
    )


def hosted_tools(model: type[BaseModel]) -> Block:
    return Block(
        model,
        "openai",
        under("tool_usage", usage=RESPONDED, tools=[{"type": "image_generation"}]),
        {
            "image_gen": {
                **DRAWN,
                "cached_tokens": 80,
                "cached_tokens_details": {"cached_image_tokens": 20, "cached_text_tokens": 10},
            },
            "web_search": {"num_requests": 3},
        },
        {
            **{
                f"image_gen.{name}": to if to == CHECKED else f"other_models.0.{to}"
                for name, to in DRAWN_INTO.items()
            },
            "image_gen.cached_tokens": "other_models.0.cache_read_input_tokens",
            "image_gen.cached_tokens_details.cached_image_tokens": (
                "other_models.0.cache_read_image_input_tokens"
            ),
            "web_search.num_requests": "web_searches",
        },
        {
            **{f"image_gen.{name}": why for name, why in DRAWN_LEAVING.items()},
            "image_gen.cached_tokens_details.cached_text_tokens": REST,
        },
    )


def heard(model: type[BaseModel], wrap: Wrap = whole) -> Block:
    return Block(
        model,
        "openai",
        wrap,
        {
            "type": "tokens",
            "input_tokens": 1000,
            "input_token_details": {"audio_tokens": 100, "text_tokens": 50},
            "output_tokens": 1000,
            "total_tokens": 2000,
        },
        {
            "input_tokens": "input_tokens",
            "input_token_details.audio_tokens": "audio_input_tokens",
            "output_tokens": "output_tokens",
            "total_tokens": CHECKED,
        },
        {"input_token_details.text_tokens": REST},
    )


def by_time(model: type[BaseModel], wrap: Wrap = whole) -> Block:
    usage = {"type": "duration", "seconds": 12.0}
    return Block(model, "openai", wrap, usage, {"seconds": "audio_input_ms"})


EMBEDDED: Final = {"prompt_tokens": 1000, "total_tokens": 1000}
EMBEDDED_INTO: Final = {
    "prompt_tokens": "input_tokens",
    "total_tokens": "output_tokens",  # what is no input
}

BLOCKS: Final = [
    OPENAI_CHAT,
    responded(ResponseUsage),
    responded(BetaResponseUsage),
    responded(decision.Usage, leaving="input_tokens_details.cache_write_tokens_details"),
    responded(
        BatchUsage,
        leaving="input_tokens_details.cache_write_tokens_details"
        " input_tokens_details.cache_write_tokens",
    ),
    Block(create_embedding_response.Usage, "openai", whole, EMBEDDED, EMBEDDED_INTO),
    Block(images_response.Usage, "openai", whole, DRAWN, DRAWN_INTO, DRAWN_LEAVING),
    in_a_stream(image_gen_completed_event.Usage, "image_generation.completed"),
    in_a_stream(image_edit_completed_event.Usage, "image_edit.completed"),
    by_svg(images_response.SvgUsage, under("svg_usage", usage=DRAWN, created=1, data=[{}])),
    by_svg(
        output_item.ImageGenerationCallSvgUsage,
        lambda usage: {
            "object": "response",
            "usage": RESPONDED,
            "output": [{"type": "image_generation_call", "svg_usage": usage}],
        },
    ),
    hosted_tools(openai_response.ToolUsage),
    hosted_tools(beta_response.ToolUsage),
    heard(transcription.UsageTokens),
    heard(transcription_diarized.UsageTokens),
    heard(
        transcription_text_done_event.Usage,
        lambda usage: [{"type": "transcript.text.done", "usage": usage}],
    ),
    heard(asr.UsageTranscriptTextUsageTokens),
    by_time(transcription.UsageDuration),
    by_time(transcription_diarized.UsageDuration),
    by_time(transcription_verbose.Usage),
    by_time(asr.UsageTranscriptTextUsageDuration),
    Block(
        SessionUsage,
        "openai",
        lambda usage: [{"type": "session.usage.updated", "usage": usage}],
        {"seconds": 40.0, "active_seconds": 30, "paused_seconds": 10},
        {"seconds": "audio_input_ms"},
        {"active_seconds": "a part of the seconds", "paused_seconds": "a part of the seconds"},
    ),
    Block(
        RealtimeResponseUsage,
        "openai",
        lambda usage: [{"type": "response.done", "response": {"usage": usage}}],
        {
            "input_tokens": 1000,
            "input_token_details": {
                "audio_tokens": 100,
                "image_tokens": 100,
                "text_tokens": 100,
                "cached_tokens": 90,
                "cached_tokens_details": {
                    "audio_tokens": 10,
                    "image_tokens": 20,
                    "text_tokens": 30,
                },
            },
            "output_tokens": 1000,
            "output_token_details": {"audio_tokens": 100, "text_tokens": 100},
            "total_tokens": 2000,
        },
        {
            "input_tokens": "input_tokens",
            "input_token_details.audio_tokens": "audio_input_tokens",
            "input_token_details.image_tokens": "image_input_tokens",
            "input_token_details.cached_tokens": "cache_read_input_tokens",
            "input_token_details.cached_tokens_details.audio_tokens": (
                "cache_read_audio_input_tokens"
            ),
            "input_token_details.cached_tokens_details.image_tokens": (
                "cache_read_image_input_tokens"
            ),
            "output_tokens": "output_tokens",
            "output_token_details.audio_tokens": "audio_output_tokens",
            "total_tokens": CHECKED,
        },
        {
            "input_token_details.text_tokens": REST,
            "input_token_details.cached_tokens_details.text_tokens": REST,
            "output_token_details.text_tokens": REST,
        },
    ),
]

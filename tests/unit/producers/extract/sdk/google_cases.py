"""Google's payloads by the types of its SDK. Source: `google.genai.types` and `.interactions`."""

from __future__ import annotations

from typing import Any, Final

from google.genai import interactions, types

from tests.unit.producers.extract.sdk.case import Case, Expected

Json = dict[str, Any]


def kinds(**tokens: int) -> list[Json]:
    return [{"modality": kind, "tokenCount": n} for kind, n in tokens.items()]


USED: Final = {
    "promptTokenCount": 1000,
    "promptTokensDetails": kinds(TEXT=400, IMAGE=100, AUDIO=200, VIDEO=250, DOCUMENT=50),
    "cachedContentTokenCount": 300,
    "cacheTokensDetails": kinds(TEXT=130, AUDIO=90, VIDEO=50, DOCUMENT=30),
    "candidatesTokenCount": 500,
    "candidatesTokensDetails": kinds(TEXT=80, IMAGE=300, AUDIO=120),
    "thoughtsTokenCount": 700,
    "toolUsePromptTokenCount": 60,
    "toolUsePromptTokensDetails": kinds(TEXT=35, IMAGE=25),
    "totalTokenCount": 2260,
    "trafficType": "ON_DEMAND_FLEX",
}
# documents are priced as images are
WHAT_WAS_USED: Final = {
    "input_tokens": 1060,
    "output_tokens": 1200,
    "cache_read_input_tokens": 300,
    "reasoning_output_tokens": 700,
    "tool_input_tokens": 60,
    "audio_input_tokens": 200,
    "image_input_tokens": 175,
    "video_input_tokens": 250,
    "cache_read_audio_input_tokens": 90,
    "cache_read_image_input_tokens": 30,
    "cache_read_video_input_tokens": 50,
    "audio_output_tokens": 120,
    "image_output_tokens": 300,
    "service_tier": "flex",
}
MODEL: Final = "gemini-3-pro"
IS: Final = {"model": MODEL, "response_id": "r-1"}


def generated(text: str, finish: str | None, usage: Json | None, **candidate: Any) -> object:
    return types.GenerateContentResponse.model_validate(
        {
            "responseId": "r-1",
            "modelVersion": MODEL,
            "candidates": [
                {
                    "index": 0,
                    "content": {"role": "model", "parts": [{"text": text}]},
                    "finishReason": finish,
                    **candidate,
                }
            ],
            "usageMetadata": usage,
        }
    )


def gemini(
    what: str, api: str, payload: object, expected: Expected, provider: str = "gcp.gemini"
) -> Case:
    return Case("Gemini", what, provider, api, payload, expected)


GENERATED: Final = [
    gemini(
        "whole",
        "generate_content",
        generated("hi", "STOP", USED),
        {**WHAT_WAS_USED, **IS},
        "gcp.vertex_ai",
    ),
    gemini(
        "grounded, with one query twice",
        "generate_content",
        generated(
            "hi",
            "STOP",
            {"promptTokenCount": 9, "candidatesTokenCount": 2, "totalTokenCount": 11},
            groundingMetadata={"webSearchQueries": ["a", "b", "a"]},
        ),
        {"input_tokens": 9, "output_tokens": 2, "web_searches": 2, **IS},
    ),
    gemini(
        "a prompt that was blocked",
        "generate_content",
        types.GenerateContentResponse.model_validate(
            {
                "responseId": "r-1",
                "modelVersion": MODEL,
                "promptFeedback": {"blockReason": "SAFETY"},
                "usageMetadata": {"promptTokenCount": 9, "totalTokenCount": 9},
            }
        ),
        {"input_tokens": 9, "output_tokens": 0, **IS},
    ),
    gemini(
        "stream, whose last chunk counts all of it",
        "generate_content",
        [
            generated("hel", None, {"promptTokenCount": 1000, "totalTokenCount": 1000}),
            generated(
                "lo",
                None,
                {"promptTokenCount": 1000, "candidatesTokenCount": 200, "totalTokenCount": 1200},
            ),
            generated("", "STOP", USED),
        ],
        {**WHAT_WAS_USED, **IS},
    ),
    gemini(
        "stream that was cut off",
        "generate_content",
        [
            generated("twelve", None, {"promptTokenCount": 1000, "totalTokenCount": 1000}),
            generated(" chars", None, None),
        ],
        {"input_tokens": 1000, "output_tokens": 3, "quality": "estimated", **IS},
    ),
]


def turn(**usage: Any) -> list[object]:
    """What is said comes before what it took."""
    said = {"modelTurn": {"parts": [{"inlineData": {"mimeType": "audio/pcm", "data": "AAAA"}}]}}
    return [
        types.LiveServerMessage.model_validate({"serverContent": said}),
        types.LiveServerMessage.model_validate(
            {"serverContent": {"turnComplete": True}, "usageMetadata": usage}
        ),
    ]


LIVE: Final = [
    gemini(
        "live, two turns",
        "live",
        [
            types.LiveServerMessage.model_validate({"setupComplete": {}}),
            *turn(
                promptTokenCount=100,
                promptTokensDetails=kinds(TEXT=20, AUDIO=80),
                responseTokenCount=40,
                responseTokensDetails=kinds(AUDIO=40),
                thoughtsTokenCount=5,
                totalTokenCount=145,
                serviceTier="PRIORITY",
            ),
            *turn(
                promptTokenCount=250,
                promptTokensDetails=kinds(TEXT=40, AUDIO=210),
                cachedContentTokenCount=90,
                cacheTokensDetails=kinds(AUDIO=90),
                toolUsePromptTokenCount=7,
                responseTokenCount=60,
                responseTokensDetails=kinds(AUDIO=60),
                totalTokenCount=317,
                serviceTier="PRIORITY",
            ),
        ],
        {
            "input_tokens": 357,
            "output_tokens": 105,
            "cache_read_input_tokens": 90,
            "cache_read_audio_input_tokens": 90,
            "reasoning_output_tokens": 5,
            "tool_input_tokens": 7,
            "audio_input_tokens": 290,
            "audio_output_tokens": 100,
            "service_tier": "priority",
        },
    ),
]


def by_kind(**tokens: int) -> list[Json]:
    return [{"modality": kind, "tokens": n} for kind, n in tokens.items()]


TAKEN: Final = {
    "total_input_tokens": 1000,
    "input_tokens_by_modality": by_kind(text=400, image=100, audio=200, video=250, document=50),
    "total_cached_tokens": 300,
    "cached_tokens_by_modality": by_kind(text=210, audio=90),
    "total_output_tokens": 500,
    "output_tokens_by_modality": by_kind(text=380, audio=120),
    "total_thought_tokens": 700,
    "total_tool_use_tokens": 60,
    "tool_use_tokens_by_modality": by_kind(text=60),
    "total_tokens": 2260,
    "grounding_tool_count": [
        {"type": "google_search", "count": 4},
        {"type": "google_maps", "count": 1},
    ],
}
WHAT_WAS_TAKEN: Final = {
    "input_tokens": 1060,
    "output_tokens": 1200,
    "cache_read_input_tokens": 300,
    "reasoning_output_tokens": 700,
    "tool_input_tokens": 60,
    "audio_input_tokens": 200,
    "image_input_tokens": 150,
    "video_input_tokens": 250,
    "cache_read_audio_input_tokens": 90,
    "audio_output_tokens": 120,
    "web_searches": 4,
}


def interaction(status: str, usage: Json | None) -> Json:
    return {
        "id": "i-1",
        "object": "interaction",
        "model": MODEL,
        "status": status,
        "service_tier": "flex",
        "created": "2026-11-24T10:00:00Z",
        "usage": usage,
    }


def step(text: str) -> object:
    return interactions.StepDelta.model_validate(
        {"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": text}}
    )


OPENED: Final = interactions.InteractionCreatedEvent.model_validate(
    {"event_type": "interaction.created", "interaction": interaction("in_progress", None)}
)
INTERACTION_IS: Final = {"model": MODEL, "response_id": "i-1", "service_tier": "flex"}

INTERACTIONS: Final = [
    gemini(
        "an interaction",
        "interactions",
        interactions.Interaction.model_validate(
            {name: n for name, n in interaction("completed", TAKEN).items() if name != "object"}
        ),
        {**WHAT_WAS_TAKEN, **INTERACTION_IS},
    ),
    gemini(
        "an interaction's stream",
        "interactions",
        [
            OPENED,
            step("hi"),
            interactions.InteractionCompletedEvent.model_validate(
                {
                    "event_type": "interaction.completed",
                    "interaction": interaction("completed", TAKEN),
                }
            ),
        ],
        {**WHAT_WAS_TAKEN, **INTERACTION_IS},
    ),
    gemini(
        "an interaction's stream that was cut off",
        "interactions",
        [OPENED, step("twelve"), step(" chars")],
        {"input_tokens": 0, "output_tokens": 3, "quality": "estimated", **INTERACTION_IS},
    ),
]

EMBEDDINGS: Final = [
    Case(
        "embeddings",
        "of Vertex, an input's tokens with each",
        "gcp.vertex_ai",
        "embeddings",
        types.EmbedContentResponse.model_validate(
            {
                "embeddings": [
                    {"values": [0.1], "statistics": {"truncated": False, "tokenCount": n}}
                    for n in (4.0, 7.0)
                ],
                "metadata": {"billableCharacterCount": 51},
            }
        ),
        {"input_tokens": 11, "output_tokens": 0},
    ),
    Case(
        "embeddings",
        "of Gemini, with their sum",
        "gcp.gemini",
        "embeddings",
        types.EmbedContentResponse.model_validate(
            {
                "embeddings": [{"values": [0.1]}],
                "usageMetadata": {
                    "promptTokenCount": 11,
                    "promptTokensDetails": kinds(TEXT=8, IMAGE=3),
                    "totalTokenCount": 11,
                },
            }
        ),
        {"input_tokens": 11, "output_tokens": 0, "image_input_tokens": 3},
    ),
]

CASES: Final = [*GENERATED, *LIVE, *INTERACTIONS, *EMBEDDINGS]

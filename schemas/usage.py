"""What a call used: inclusive totals with named subsets, as OpenTelemetry reports it.

Providers report it in a dozen other ways; that is settled before the event (`producers/extract`),
and pricing splits it into disjoint leaves. Every `…_input_tokens` is *inside* `input_tokens`, every
`…_output_tokens` *inside* `output_tokens`; what is counted in other units stands beside.

Source of the names: OpenTelemetry semantic conventions for generative AI, `gen_ai.usage.*`, and by
its pattern where it has none.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Annotated, Any, Final, Self

from annotated_types import MaxLen
from pydantic import Field, model_validator

from spendstream.schemas.fields import Count, Milliseconds, Model, Name, Text
from spendstream.schemas.reasons import InvalidEvent, Reason

MAX_OTHER_MODELS: Final = 16


class Tokens(Model):
    """Tokens of one model. Absent subsets are 0."""

    input_tokens: Count = Field(description="all input tokens, cached ones included")
    output_tokens: Count = Field(description="all output tokens, reasoning included")
    cache_read_input_tokens: Count = Field(0, description="⊂ input_tokens, read from a cache")
    cache_write_input_tokens: Count = Field(0, description="⊂ input_tokens, written to a cache")
    reasoning_output_tokens: Count = Field(0, description="⊂ output_tokens, not shown to the user")
    cache_write_5m_input_tokens: Count = Field(0, description="⊂ cache writes, kept 5 minutes")
    cache_write_30m_input_tokens: Count = Field(0, description="⊂ cache writes, kept 30 minutes")
    cache_write_1h_input_tokens: Count = Field(0, description="⊂ cache writes, kept an hour")
    cache_write_12h_input_tokens: Count = Field(0, description="⊂ cache writes, kept 12 hours")
    audio_input_tokens: Count = Field(0, description="⊂ input_tokens; the rest is text")
    image_input_tokens: Count = Field(0, description="⊂ input_tokens, documents among them")
    video_input_tokens: Count = Field(0, description="⊂ input_tokens")
    cache_read_audio_input_tokens: Count = Field(0, description="⊂ audio and ⊂ cache reads")
    cache_read_image_input_tokens: Count = Field(0, description="⊂ image and ⊂ cache reads")
    cache_read_video_input_tokens: Count = Field(0, description="⊂ video and ⊂ cache reads")
    tool_input_tokens: Count = Field(
        0, description="⊂ input_tokens, that the provider's own tools brought into the prompt"
    )
    audio_output_tokens: Count = Field(0, description="⊂ output_tokens")
    image_output_tokens: Count = Field(0, description="⊂ output_tokens")
    video_output_tokens: Count = Field(0, description="⊂ output_tokens")

    @model_validator(mode="after")
    def _subsets_fit(self) -> Self:
        check_subsets(self)
        return self


class OtherModel(Tokens):
    """What another model used inside one response: an advisor, a fallback. It has its own price."""

    model: Text = Field(description="as the provider names it")


class Usage(Tokens):
    """Of one call. Absent usage is `None` on the event (unknown), never a zero here."""

    citation_tokens: Count = Field(0, description="billed beside output_tokens (Perplexity)")
    audio_input_ms: Milliseconds = Field(0, description="milliseconds of audio, billed by time")
    audio_output_ms: Milliseconds = Field(0, description="milliseconds of audio, billed by time")
    input_characters: Count = Field(0, description="of text to speak, billed by character")
    images: Count = Field(0, description="generated, billed by image")
    image_size: Name | None = Field(None, description="`1024x1024`; of all `images`")
    image_quality: Name | None = Field(None, description="`high`, `hd`; of all `images`")
    pages: Count = Field(0, description="of documents, billed by page")
    web_searches: Count = Field(0, description="requests of the provider's web search")
    web_fetches: Count = Field(0, description="requests of the provider's web fetch")
    search_units: Count = Field(0, description="as Cohere bills reranking")
    other_models: Annotated[tuple[OtherModel, ...], MaxLen(MAX_OTHER_MODELS)] = Field(
        (), description="outside all counts above"
    )


SUBSETS: Final[tuple[tuple[tuple[str, ...], str], ...]] = (
    (("cache_read_input_tokens", "cache_write_input_tokens"), "input_tokens"),
    (
        (
            "cache_write_5m_input_tokens",
            "cache_write_30m_input_tokens",
            "cache_write_1h_input_tokens",
            "cache_write_12h_input_tokens",
        ),
        "cache_write_input_tokens",
    ),
    (("audio_input_tokens", "image_input_tokens", "video_input_tokens"), "input_tokens"),
    (("tool_input_tokens",), "input_tokens"),
    (("cache_read_audio_input_tokens",), "audio_input_tokens"),
    (("cache_read_image_input_tokens",), "image_input_tokens"),
    (("cache_read_video_input_tokens",), "video_input_tokens"),
    (
        (
            "cache_read_audio_input_tokens",
            "cache_read_image_input_tokens",
            "cache_read_video_input_tokens",
        ),
        "cache_read_input_tokens",
    ),
    (("reasoning_output_tokens",), "output_tokens"),
    (("audio_output_tokens", "image_output_tokens", "video_output_tokens"), "output_tokens"),
)
"""(disjoint subsets, what holds them); the holder of a group stands before its own subsets."""


def broken_sums(tokens: Any) -> list[str]:
    """Which named subsets together are larger than their total, in words. `tokens` has the fields
    of Tokens."""
    broken = []
    for parts, total in SUBSETS:
        counts = [(name, count) for name in parts if (count := getattr(tokens, name))]
        if counts and sum(count for _, count in counts) > getattr(tokens, total):
            said = " + ".join(f"{name} {count}" for name, count in counts)
            broken.append(f"{said} > {total} {getattr(tokens, total)}")
    return broken


_DETAILS: Final = attrgetter(
    *(
        name
        for name in Tokens.model_fields
        if name
        not in (
            "input_tokens",
            "output_tokens",
            "cache_read_input_tokens",
            "cache_write_input_tokens",
            "reasoning_output_tokens",
        )
    )
)


def check_subsets(tokens: Any) -> None:
    """Raise InvalidEvent where named subsets are larger than their total. Nothing is clamped.

    Most calls have none of the details, and are done with two comparisons.
    """
    if (
        tokens.cache_read_input_tokens + tokens.cache_write_input_tokens > tokens.input_tokens
        or tokens.reasoning_output_tokens > tokens.output_tokens
        or any(_DETAILS(tokens))
    ) and (broken := broken_sums(tokens)):
        raise InvalidEvent(Reason.SUBSET_EXCEEDS_TOTAL, f"usage: {broken[0]}")

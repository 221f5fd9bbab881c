"""What a call used: inclusive totals with named subsets, as OpenTelemetry reports it.

`cache_read_input_tokens` and `cache_write_input_tokens` are *inside* `input_tokens`,
`reasoning_output_tokens` is *inside* `output_tokens`. Providers report it in a dozen other ways;
that is settled before the event (see `producers`), and pricing splits it into disjoint leaves.

Source of the names: OpenTelemetry semantic conventions for generative AI, `gen_ai.usage.*`.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from spendstream.schemas.fields import Count, Model
from spendstream.schemas.reasons import InvalidEvent, Reason


class Usage(Model):
    """Units: tokens. Absent usage is `None` on the event (unknown), never a zero here."""

    input_tokens: Count = Field(description="all input tokens, cached ones included")
    output_tokens: Count = Field(description="all output tokens, reasoning included")
    cache_read_input_tokens: Count = Field(0, description="⊂ input_tokens, read from a cache")
    cache_write_input_tokens: Count = Field(0, description="⊂ input_tokens, written to a cache")
    reasoning_output_tokens: Count = Field(0, description="⊂ output_tokens, not shown to the user")

    @model_validator(mode="after")
    def _subsets_fit(self) -> Self:
        check_subsets(
            self.input_tokens,
            self.output_tokens,
            self.cache_read_input_tokens,
            self.cache_write_input_tokens,
            self.reasoning_output_tokens,
        )
        return self


def check_subsets(
    input_tokens: int, output_tokens: int, cache_read: int, cache_write: int, reasoning: int
) -> None:
    """Raise InvalidEvent where a named subset is larger than its total. Nothing is clamped."""
    if cache_read + cache_write > input_tokens:
        raise InvalidEvent(
            Reason.SUBSET_EXCEEDS_TOTAL,
            f"usage: cache_read_input_tokens {cache_read} + cache_write_input_tokens {cache_write}"
            f" > input_tokens {input_tokens}",
        )
    if reasoning > output_tokens:
        raise InvalidEvent(
            Reason.SUBSET_EXCEEDS_TOTAL,
            f"usage: reasoning_output_tokens {reasoning} > output_tokens {output_tokens}",
        )

"""What kind of a call it was, by what it was asked to do and what it used.

An event says its operation (OpenTelemetry's `gen_ai.operation.name`), and a service may say `chat`
of everything; what was used is the provider's own word. So a kind is known by either. Pictures that
a provider counts as text, as most do in a prompt, are not seen: such a call is chat.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class CallKind(NamedTuple):
    """A call is of a kind by one of its `operations`, or by any of the `used` fields of `Usage`."""

    operations: tuple[str, ...] = ()
    used: tuple[str, ...] = ()


CALL_KINDS: Final[Mapping[str, CallKind]] = {
    "embedding": CallKind(("embeddings",)),
    "rerank": CallKind(("rerank",), ("search_units",)),
    "image_generation": CallKind(
        ("image_generation", "image_edit"), ("images", "image_output_tokens")
    ),
    "video_generation": CallKind(("video_generation",), ("video_output_tokens",)),
    "audio": CallKind(
        ("speech", "transcription", "translation"),
        (
            "audio_input_tokens",
            "audio_output_tokens",
            "audio_input_ms",
            "audio_output_ms",
            "input_characters",
        ),
    ),
    "vision": CallKind((), ("image_input_tokens", "video_input_tokens")),
    "document": CallKind(("ocr",), ("pages",)),
}
"""The first that fits is the call's."""

OTHER_CALLS: Final = "chat"
"""What fits none."""

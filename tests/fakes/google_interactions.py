"""Gemini's Interactions: at once, as a stream, and in the background. Source:
ai.google.dev/api/interactions-api."""

from __future__ import annotations

import re
from typing import Final

from tests.fakes.answer import Answer, Json, Received
from tests.fakes.provider import Endpoint
from tests.fakes.reply import Reply, Streamed, data, whole

_PATH: Final = re.compile(r".*/interactions(?:/(?P<id>[^/]+))?")
CREATED: Final = "2026-11-27T10:00:00Z"


class Interactions:
    """Keeps what was answered, since an interaction can be asked for again by its id."""

    def __init__(self) -> None:
        self._kept: dict[str, Json] = {}

    def endpoint(self, request: Received) -> Endpoint | None:
        path = _PATH.fullmatch(request.path)
        if path is None:
            return None
        if path["id"] is None:
            return self._create if request.method == "POST" else None
        kept = self._kept.get(path["id"])
        return None if kept is None else lambda request, answer: whole(kept)

    def _create(self, request: Received, answer: Answer) -> Reply:
        request.needs("input")
        done = _completed(request, answer)
        self._kept[done["id"]] = done
        if request.body.get("background"):
            return whole({**_begun(done), "status": "in_progress"})
        if not request.body.get("stream"):
            return whole(done)
        events: list[Json] = [
            {"event_type": "interaction.created", "interaction": _begun(done)},
            *(
                {"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": piece}}
                for piece in answer.pieces
            ),
            {"event_type": "interaction.completed", "interaction": done},
        ]
        chunks = [f"event: {event['event_type']}\n".encode() + data(event) for event in events]
        return Streamed([*chunks, b"event: done\ndata: [DONE]\n\n"])


def _begun(done: Json) -> Json:
    return {**{name: n for name, n in done.items() if name != "usage"}, "status": "in_progress"}


def _completed(request: Received, answer: Answer) -> Json:
    done: Json = {
        "id": f"v1_{request.number}",
        "object": "interaction",
        "model": answer.model or request.body.get("model"),
        "agent": request.body.get("agent"),
        "status": "completed",
        "created": CREATED,
        "updated": CREATED,
        "steps": [
            {"type": "model_output", "content": [{"type": "text", "text": answer.text}]},
        ],
    }
    if (usage := answer.usage) is not None:
        inputs = usage.input_tokens - usage.tool_input_tokens
        done["usage"] = {
            "total_input_tokens": inputs,
            "total_cached_tokens": usage.cache_read_input_tokens,
            "total_tool_use_tokens": usage.tool_input_tokens,
            "total_output_tokens": usage.output_tokens - usage.reasoning_output_tokens,
            "total_thought_tokens": usage.reasoning_output_tokens,
            "total_tokens": usage.total_tokens,
        }
    return {name: value for name, value in done.items() if value is not None}

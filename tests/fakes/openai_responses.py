"""OpenAI's Responses: at once, as a stream, and in the background."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.fakes.answer import Answer, Json, Received, Usage
from tests.fakes.provider import Endpoint
from tests.fakes.reply import Reply, events, whole

CREATED: Final = 1_795_000_000


class Responses:
    """Keeps what was answered, since a response can be asked for again by its id."""

    def __init__(self) -> None:
        self._kept: dict[str, Json] = {}

    def create(self, request: Received, answer: Answer) -> Reply:
        request.needs("model", "input")
        done = _completed(request, answer)
        if request.body.get("store") is not False:
            self._kept[done["id"]] = done
        if request.body.get("background"):
            return whole(_unfinished(done, "queued"))
        if request.body.get("stream"):
            numbered = enumerate(_events(done, answer))
            return events({**event, "sequence_number": n} for n, event in numbered)
        return whole(done)

    def stored(self, name: str) -> Endpoint | None:
        """What `/responses/{id}` answers: the figures of when it was made."""
        kept = self._kept.get(name.removeprefix("/responses/"))
        return None if kept is None else lambda request, answer: whole(kept)


def _completed(request: Received, answer: Answer) -> Json:
    thought = {
        "id": f"rs_{request.number}",
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": answer.thinking}],
    }
    message = {
        "id": f"msg_{request.number}",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [_part(answer.text)],
    }
    return {
        "id": f"resp_{request.number}",
        "object": "response",
        "created_at": CREATED,
        "status": "completed",
        "background": bool(request.body.get("background")),
        "error": None,
        "incomplete_details": None,
        "instructions": request.body.get("instructions"),
        "max_output_tokens": None,
        "metadata": request.body.get("metadata") or {},
        "model": answer.model or request.body["model"],
        "output": [thought, message] if answer.thinking else [message],
        "parallel_tool_calls": True,
        "previous_response_id": request.body.get("previous_response_id"),
        "service_tier": answer.service_tier or "default",
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": _block(answer.usage) if answer.usage else None,
        "user": None,
    }


def _unfinished(done: Json, status: str) -> Json:
    return {**done, "status": status, "output": [], "usage": None}


def _events(done: Json, answer: Answer) -> Iterator[Json]:
    begun = _unfinished(done, "in_progress")
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(done["output"]):
        empty = {"summary": []} if item["type"] == "reasoning" else _EMPTY_MESSAGE
        at = {"output_index": index}
        yield {"type": "response.output_item.added", **at, "item": {**item, **empty}}
        if item["type"] == "message":
            yield from _message(item["id"], index, answer)
        yield {"type": "response.output_item.done", **at, "item": item}
    yield {"type": "response.completed", "response": done}


_EMPTY_MESSAGE: Final = {"status": "in_progress", "content": []}


def _message(item: str, index: int, answer: Answer) -> Iterator[Json]:
    at = {"item_id": item, "output_index": index, "content_index": 0}
    yield {"type": "response.content_part.added", **at, "part": _part("")}
    for piece in answer.pieces:
        yield {"type": "response.output_text.delta", **at, "delta": piece, "logprobs": []}
    yield {"type": "response.output_text.done", **at, "text": answer.text, "logprobs": []}
    yield {"type": "response.content_part.done", **at, "part": _part(answer.text)}


def _part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _block(usage: Usage) -> Json:
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_input_tokens,
            "cache_write_tokens": usage.cache_write_input_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_output_tokens},
        "total_tokens": usage.total_tokens,
    }

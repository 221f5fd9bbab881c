"""Anthropic's endpoints. Source: platform.claude.com/docs/en/api/messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.fakes.answer import Answer, Json, Received, Usage
from tests.fakes.provider import Endpoint
from tests.fakes.reply import Reply, event, events, whole

_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class Anthropic:
    name: Final = "anthropic"

    def endpoint(self, request: Received) -> Endpoint | None:
        posts: dict[str, Endpoint] = {
            "/v1/messages": messages,
            "/v1/messages/count_tokens": count_tokens,
        }
        return posts.get(request.path) if request.method == "POST" else None

    def error(self, status: int, message: str, missing: str | None = None) -> Json:
        if missing is not None:
            message = f"{missing}: Field required"
        kind = _TYPES.get(status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_0"}

    def error_chunk(self, request: Received, message: str, sent: int) -> bytes:
        error = {"type": "overloaded_error", "message": message}
        return event({"type": "error", "error": error})


def messages(request: Received, answer: Answer) -> Reply:
    request.needs("model", "messages", "max_tokens")
    message = {
        "id": f"msg_{request.number}",
        "type": "message",
        "role": "assistant",
        "model": answer.model or request.body["model"],
        "content": _content(answer),
        "stop_reason": "end_turn",
        "stop_sequence": None,
    }
    if answer.usage:
        message["usage"] = _block(answer.usage, answer.service_tier)
    return events(_events(message, answer)) if request.body.get("stream") else whole(message)


def count_tokens(request: Received, answer: Answer) -> Reply:
    request.needs("model", "messages")
    return whole({"input_tokens": (answer.usage or Usage()).input_tokens})


def _content(answer: Answer) -> list[Json]:
    text = {"type": "text", "text": answer.text}
    if not answer.thinking:
        return [text]
    return [{"type": "thinking", "thinking": answer.thinking, "signature": "c2lnbmVk"}, text]


def _events(message: Json, answer: Answer) -> Iterator[Json]:
    begun = {**message, "content": [], "stop_reason": None}
    if answer.usage:
        # one token is out when the first event is sent
        begun["usage"] = {**message["usage"], "output_tokens": min(1, answer.usage.output_tokens)}
        begun["usage"].pop("output_tokens_details", None)
    yield {"type": "message_start", "message": begun}
    for index, block in enumerate(message["content"]):
        if block["type"] == "thinking":
            empty: Json = {"type": "thinking", "thinking": "", "signature": ""}
            deltas: list[Json] = [
                {"type": "thinking_delta", "thinking": block["thinking"]},
                {"type": "signature_delta", "signature": block["signature"]},
            ]
        else:
            empty = {"type": "text", "text": ""}
            deltas = [{"type": "text_delta", "text": piece} for piece in answer.pieces]
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        if index == 0:
            yield {"type": "ping"}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    told = {"stop_reason": "end_turn", "stop_sequence": None}
    usage = {"usage": _at_the_end(message["usage"])} if answer.usage else {}
    yield {"type": "message_delta", "delta": told, **usage}
    yield {"type": "message_stop"}


def _at_the_end(usage: Json) -> Json:
    """What `message_delta` says: totals so far, but neither durations of caches nor tiers."""
    left_out = ("cache_creation", "service_tier")
    return {name: value for name, value in usage.items() if name not in left_out}


def _block(usage: Usage, service_tier: str | None) -> Json:
    """What was read from and written to the cache stands beside `input_tokens`."""
    read, written = usage.cache_read_input_tokens, usage.cache_write_input_tokens
    block: Json = {
        "input_tokens": usage.input_tokens - read - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": written - usage.cache_write_1h_input_tokens,
            "ephemeral_1h_input_tokens": usage.cache_write_1h_input_tokens,
        },
        "output_tokens": usage.output_tokens,
        "service_tier": service_tier or "standard",
    }
    if usage.reasoning_output_tokens:
        block["output_tokens_details"] = {"thinking_tokens": usage.reasoning_output_tokens}
    if usage.web_searches:
        searches = {"web_search_requests": usage.web_searches, "web_fetch_requests": 0}
        block["server_tool_use"] = searches
    return block

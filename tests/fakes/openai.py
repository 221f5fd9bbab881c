"""OpenAI's endpoints, on Azure's paths too. Source: platform.openai.com/docs/api-reference."""

from __future__ import annotations

import base64
import re
import struct
from typing import Any, Final

from tests.fakes.answer import Answer, Json, Received, Usage
from tests.fakes.openai_media import images, speech, transcriptions
from tests.fakes.openai_responses import Responses
from tests.fakes.provider import Endpoint
from tests.fakes.reply import Reply, Streamed, data, event, whole

CREATED: Final = 1_795_000_000
DONE: Final = b"data: [DONE]\n\n"
_PATH: Final = re.compile(
    r"(?:/v1|/openai(?:/v1|/deployments/(?P<deployment>[^/]+))?)(?P<name>/.*)"
)
_CATEGORIES: Final = (
    *("harassment", "harassment/threatening", "hate", "hate/threatening", "illicit"),
    *("illicit/violent", "self-harm", "self-harm/instructions", "self-harm/intent", "sexual"),
    *("sexual/minors", "violence", "violence/graphic"),
)
_TYPES: Final = {
    400: "invalid_request_error",
    401: "invalid_request_error",
    404: "invalid_request_error",
    429: "rate_limit_exceeded",
}


class OpenAI:
    name: Final = "openai"

    def __init__(self) -> None:
        self._responses = Responses()

    def endpoint(self, request: Received) -> Endpoint | None:
        path = _PATH.fullmatch(request.path)
        if path is None:
            return None
        if path["deployment"] is not None:
            request.body.setdefault("model", path["deployment"])
        name = path["name"]
        if request.method == "GET":
            return models if name == "/models" else self._responses.stored(name)
        posts: dict[str, Endpoint] = {
            "/chat/completions": chat,
            "/completions": completions,
            "/responses": self._responses.create,
            "/embeddings": embeddings,
            "/images/generations": images,
            "/audio/transcriptions": transcriptions,
            "/audio/speech": speech,
            "/moderations": moderations,
        }
        return posts.get(name) if request.method == "POST" else None

    def error(self, status: int, message: str, missing: str | None = None) -> Json:
        code = {401: "invalid_api_key", 429: "rate_limit_exceeded"}.get(status)
        if missing is not None:
            message, code = (
                f"Missing required parameter: '{missing}'.",
                "missing_required_parameter",
            )
        kind = _TYPES.get(status, "server_error")
        return {"error": {"message": message, "type": kind, "param": missing, "code": code}}

    def error_chunk(self, request: Received, message: str, sent: int) -> bytes:
        if request.path.endswith("/responses"):
            failed = {"type": "error", "code": "server_error", "message": message, "param": None}
            return event({**failed, "sequence_number": sent})
        return data(self.error(500, message))


def chat(request: Received, answer: Answer) -> Reply:
    request.needs("model", "messages")
    if request.body.get("stream"):
        first = {"role": "assistant", "content": "", "refusal": None}
        deltas = [first, *({"content": piece} for piece in answer.pieces)]
        return _stream(
            request,
            answer,
            _head(request, answer, "chatcmpl", "chat.completion.chunk"),
            [
                *(
                    {"index": 0, "delta": d, "logprobs": None, "finish_reason": None}
                    for d in deltas
                ),
                {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"},
            ],
        )
    message: Json = {
        "role": "assistant",
        "content": answer.text,
        "refusal": None,
        "annotations": [],
    }
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    head = _head(request, answer, "chatcmpl", "chat.completion")
    return whole({**head, "choices": [choice], **_usage(answer)})


def completions(request: Received, answer: Answer) -> Reply:
    request.needs("model", "prompt")
    head = _head(request, answer, "cmpl", "text_completion")
    if request.body.get("stream"):
        texts = [(piece, None) for piece in answer.pieces]
        choices = [
            {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}
            for text, finish in (*texts, ("", "stop"))
        ]
        return _stream(request, answer, head, choices)
    choice = {"index": 0, "text": answer.text, "logprobs": None, "finish_reason": "stop"}
    return whole({**head, "choices": [choice], **_usage(answer)})


def embeddings(request: Received, answer: Answer) -> Reply:
    request.needs("model", "input")
    inputs = request.body["input"]
    vector: Any = [0.5, -0.25, 0.125]
    if request.body.get("encoding_format") == "base64":
        vector = base64.b64encode(struct.pack("<3f", *vector)).decode()
    count = len(inputs) if isinstance(inputs, list) else 1
    found: Json = {
        "object": "list",
        "data": [{"object": "embedding", "index": i, "embedding": vector} for i in range(count)],
        "model": answer.model or request.body["model"],
    }
    if answer.usage:
        n = answer.usage.input_tokens
        found["usage"] = {"prompt_tokens": n, "total_tokens": n}
    return whole(found)


def moderations(request: Received, answer: Answer) -> Reply:
    request.needs("input")
    result = {
        "flagged": False,
        "categories": dict.fromkeys(_CATEGORIES, False),
        "category_scores": dict.fromkeys(_CATEGORIES, 0.001),
        "category_applied_input_types": {name: ["text"] for name in _CATEGORIES},
    }
    model = answer.model or request.body.get("model", "omni-moderation-latest")
    return whole({"id": f"modr-{request.number}", "model": model, "results": [result]})


def models(request: Received, answer: Answer) -> Reply:
    names = ("gpt-4o", "text-embedding-3-small")
    fields = {"object": "model", "created": CREATED, "owned_by": "openai"}
    return whole({"object": "list", "data": [{"id": name, **fields} for name in names]})


def _head(request: Received, answer: Answer, prefix: str, kind: str) -> Json:
    head: Json = {
        "id": f"{prefix}-{request.number}",
        "object": kind,
        "created": CREATED,
        "model": answer.model or request.body["model"],
        "system_fingerprint": "fp_fake",
    }
    if answer.service_tier and kind != "text_completion":
        head["service_tier"] = answer.service_tier
    return head


def _stream(request: Received, answer: Answer, head: Json, choices: list[Json]) -> Reply:
    """Usage only where it was asked for: then null in every chunk but one more, the last."""
    asked = (request.body.get("stream_options") or {}).get("include_usage")
    usage = _usage(answer) if asked else {}
    nulls = dict.fromkeys(usage)
    chunks = [data({**head, "choices": [choice], **nulls}) for choice in choices]
    if usage:
        chunks.append(data({**head, "choices": [], **usage}))
    return Streamed([*chunks, DONE])


def _usage(answer: Answer) -> Json:
    return {"usage": _block(answer.usage)} if answer.usage else {}


def _block(usage: Usage) -> Json:
    prompt = {
        "cached_tokens": usage.cache_read_input_tokens,
        "cache_write_tokens": usage.cache_write_input_tokens,
        "audio_tokens": usage.audio_input_tokens,
        "image_tokens": usage.image_input_tokens,
    }
    # older models have no such fields
    for name in ("cache_write_tokens", "image_tokens"):
        if not prompt[name]:
            del prompt[name]
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": prompt,
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_output_tokens,
            "audio_tokens": usage.audio_output_tokens,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }

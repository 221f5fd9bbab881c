"""Gemini's endpoints, on Vertex AI's paths too. Source: ai.google.dev/api."""

from __future__ import annotations

import re
from typing import Any, Final

from tests.fakes.answer import Answer, Json, Received, Usage
from tests.fakes.provider import Endpoint
from tests.fakes.reply import Reply, Streamed, data, whole

_PATH: Final = re.compile(r".*/models/(?P<model>[^/:]+):(?P<method>\w+)")
_STATUSES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}
_VALUES: Final = [0.5, -0.25, 0.125]


class Google:
    name: Final = "google"

    def endpoint(self, request: Received) -> Endpoint | None:
        path = _PATH.fullmatch(request.path)
        if path is None or request.method != "POST":
            return None
        methods: dict[str, Endpoint] = {
            "generateContent": generate,
            "streamGenerateContent": stream,
            "countTokens": count_tokens,
            "embedContent": embed,
            "batchEmbedContents": embed_batch,
            "predict": predict,
        }
        return methods.get(path["method"])

    def error(self, status: int, message: str, missing: str | None = None) -> Json:
        if missing is not None:
            message = f"* Request.{missing}: {missing} is not specified\n"
        name = _STATUSES.get(status, "INTERNAL")
        return {"error": {"code": status, "message": message, "status": name}}

    def error_chunk(self, request: Received, message: str, sent: int) -> bytes:
        return _chunk(self.error(503, message))


def generate(request: Received, answer: Answer) -> Reply:
    request.needs("contents")
    parts = [*_thoughts(answer), {"text": answer.text}]
    return whole(_response(request, answer, parts, "STOP", answer.usage))


def stream(request: Received, answer: Answer) -> Reply:
    """Every chunk has the usage so far: the last one all of it."""
    request.needs("contents")
    parts = [*_thoughts(answer), *({"text": piece} for piece in answer.pieces)]
    last = len(parts) - 1
    chunks = [
        _response(
            request,
            answer,
            [part],
            "STOP" if i == last else None,
            answer.usage,
            so_far=(i + 1) / len(parts),
        )
        for i, part in enumerate(parts)
    ]
    if request.query.get("alt") != "sse":
        return whole(chunks)
    return Streamed([_chunk(chunk) for chunk in chunks])


def count_tokens(request: Received, answer: Answer) -> Reply:
    request.needs("contents")
    return whole({"totalTokens": (answer.usage or Usage()).input_tokens})


def embed(request: Received, answer: Answer) -> Reply:
    request.needs("content")
    return whole({"embedding": {"values": _VALUES}, **_embedding_usage(answer)})


def embed_batch(request: Received, answer: Answer) -> Reply:
    request.needs("requests")
    vectors = [{"values": _VALUES} for _ in request.body["requests"]]
    return whole({"embeddings": vectors, **_embedding_usage(answer)})


def predict(request: Received, answer: Answer) -> Reply:
    """Vertex AI's embeddings: the first instance has all the tokens, the others none."""
    request.needs("instances")
    first = answer.usage.input_tokens if answer.usage else 0
    predictions = [
        {
            "embeddings": {
                "values": _VALUES,
                "statistics": {"truncated": False, "token_count": 0 if i else first},
            }
        }
        for i, _ in enumerate(request.body["instances"])
    ]
    return whole({"predictions": predictions, "metadata": {"billableCharacterCount": 9}})


def _chunk(value: Any) -> bytes:
    return data(value, end=b"\r\n\r\n")


def _thoughts(answer: Answer) -> list[Json]:
    return [{"text": answer.thinking, "thought": True}] if answer.thinking else []


def _response(
    request: Received,
    answer: Answer,
    parts: list[Json],
    finish: str | None,
    usage: Usage | None,
    so_far: float = 1,
) -> Json:
    path = _PATH.fullmatch(request.path)
    assert path is not None
    candidate: Json = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
        if usage and usage.web_searches:
            queries = [f"query {i}" for i in range(usage.web_searches)]
            candidate["groundingMetadata"] = {"webSearchQueries": queries}
    response: Json = {
        "candidates": [candidate],
        "modelVersion": answer.model or path["model"],
        "responseId": f"r-{request.number}",
    }
    if usage:
        response["usageMetadata"] = _block(usage, answer.service_tier, so_far)
    return response


def _block(usage: Usage, traffic: str | None, so_far: float) -> Json:
    """Thoughts stand beside the candidates, what a tool's prompt took beside the prompt."""
    prompt = usage.input_tokens - usage.tool_input_tokens
    thoughts = int(usage.reasoning_output_tokens * so_far)
    candidates = int((usage.output_tokens - usage.reasoning_output_tokens) * so_far)
    block: Json = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": candidates,
        "totalTokenCount": usage.input_tokens + thoughts + candidates,
        "promptTokensDetails": _kinds(
            TEXT=prompt - usage.audio_input_tokens - usage.image_input_tokens,
            AUDIO=usage.audio_input_tokens,
            IMAGE=usage.image_input_tokens,
        ),
    }
    counts = {
        "cachedContentTokenCount": usage.cache_read_input_tokens,
        "toolUsePromptTokenCount": usage.tool_input_tokens,
        "thoughtsTokenCount": thoughts,
    }
    block |= {name: n for name, n in counts.items() if n}
    if so_far == 1 and (usage.audio_output_tokens or usage.image_output_tokens):
        block["candidatesTokensDetails"] = _kinds(
            TEXT=candidates - usage.audio_output_tokens - usage.image_output_tokens,
            AUDIO=usage.audio_output_tokens,
            IMAGE=usage.image_output_tokens,
        )
    return block | ({"trafficType": traffic} if traffic else {})


def _kinds(**tokens: int) -> list[Json]:
    return [{"modality": kind, "tokenCount": n} for kind, n in tokens.items() if n]


def _embedding_usage(answer: Answer) -> Json:
    if not answer.usage:
        return {}
    n = answer.usage.input_tokens
    return {"usageMetadata": {"promptTokenCount": n, "totalTokenCount": n}}

"""OpenAI's SDK: `OpenAI`, `AsyncOpenAI`, their Azure twins, and whatever answers as OpenAI does."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, Final

from spendstream.producers.wrap.call import Called, Extractor, Kept
from spendstream.producers.wrap.stainless import Asked, Stainless
from spendstream.producers.wrap.switch import Watch
from spendstream.schemas.usage import Usage

_OPERATIONS: Final = {
    "/chat/completions": "chat",
    "/completions": "text_completion",
    "/responses": "chat",
    "/responses/compact": "chat",
    "/embeddings": "embeddings",
    "/images/generations": "image_generation",
    "/images/edits": "image_generation",
    "/images/variations": "image_generation",
    "/audio/transcriptions": "transcription",
    "/audio/translations": "transcription",
    "/audio/speech": "speech",
}
"""Of these paths; the first three and embeddings as OpenTelemetry names them, which has no names
for the others."""
_FETCHED: Final = re.compile(r"/responses/[^/]+$")

_PROVIDERS: Final = {
    "api.deepseek.com": "deepseek",
    "api.fireworks.ai": "fireworks",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral_ai",
    "api.moonshot.ai": "moonshot_ai",
    "api.moonshot.cn": "moonshot_ai",
    "api.perplexity.ai": "perplexity",
    "api.together.xyz": "together",
    "api.x.ai": "x_ai",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "openrouter.ai": "openrouter",
}
_OPENAI: Final = "api.openai.com"  # a region's is eu.api.openai.com
_AZURE: Final = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")


class OpenAI(Stainless):
    module = "openai"

    def asked(self, client: Any, options: Any, watch: Watch, *, stream: bool) -> Asked | None:
        path = "/" + options.url.partition("?")[0].strip("/")
        body = options.json_data if isinstance(options.json_data, Mapping) else {}
        extra = options.extra_json or {}  # `extra_body`, whose fields stand above the others
        body = {**body, **extra}
        provider = watch.provider or _provider(client)
        if options.method.lower() != "post":
            if not _FETCHED.fullmatch(path) or options.method.lower() != "get":
                return None
            kept = Kept(_end_ms_of_background, fetched=True)
            return Asked(Called(provider, "chat", None, kept=kept), options)
        operation = _OPERATIONS.get(path)
        if operation is None:
            return None
        called = Called(
            provider,
            operation,
            _text(body, "model"),
            otherwise=otherwise(operation, body),
            kept=Kept(_end_ms, whole_later=True) if body.get("background") is True else None,
        )
        if (
            stream
            and path in ("/chat/completions", "/completions")
            and _may_ask(client, watch)
            and not _asks_for_usage(body)
        ):
            stream_options = {**(body.get("stream_options") or {}), "include_usage": True}
            where = "extra_json" if "stream_options" in extra else "json_data"
            asking = {**getattr(options, where), "stream_options": stream_options}
            return Asked(called, options.model_copy(update={where: asking}), hide_usage=True)
        return Asked(called, options)


def _provider(client: Any) -> str:
    """By the address; another that is not known is most often a gateway to OpenAI itself."""
    host = client.base_url.host
    if type(client).__name__.endswith("AzureOpenAI") or host.endswith(_AZURE):
        return "azure.ai.openai"
    return _PROVIDERS.get(host, "openai")


def _may_ask(client: Any, watch: Watch) -> bool:
    """Others may refuse a request that has `stream_options`, and most send usage unasked."""
    if watch.include_usage is not None:
        return watch.include_usage
    host = client.base_url.host
    return bool(host == _OPENAI or host.endswith(f".{_OPENAI}"))


def _asks_for_usage(body: Mapping[str, Any]) -> bool:
    options = body.get("stream_options")
    return isinstance(options, Mapping) and options.get("include_usage") is True


def _end_ms(response: Mapping[str, Any]) -> int | None:
    if response.get("status") in ("queued", "in_progress"):
        return None
    seconds = response.get("completed_at") or response.get("created_at")
    return int((seconds if isinstance(seconds, int | float) else time.time()) * 1000)


def _end_ms_of_background(response: Mapping[str, Any]) -> int | None:
    """Any other answer was counted when it was made."""
    return _end_ms(response) if response.get("background") is True else None


def otherwise(operation: str, body: Mapping[str, Any]) -> Extractor | None:
    """What is billed by what was asked for: images by their number, speech by its characters."""
    if operation == "image_generation":
        return lambda payload: _images(payload, body)
    if operation == "speech" and str(body.get("model")).startswith("tts-"):
        return lambda _: _spoken(body)
    return None


def _images(payload: Any, body: Mapping[str, Any]) -> Usage | None:
    drawn = payload.get("data") if isinstance(payload, Mapping) else None
    if not isinstance(drawn, list):
        return None
    return Usage(
        input_tokens=0,
        output_tokens=0,
        images=len(drawn),
        image_size=_text(body, "size"),
        image_quality=_text(body, "quality"),
    )


def _spoken(body: Mapping[str, Any]) -> Usage:
    return Usage(input_tokens=0, output_tokens=0, input_characters=len(_text(body, "input") or ""))


def _text(body: Mapping[str, Any], name: str) -> str | None:
    value = body.get(name)
    return value if isinstance(value, str) and value else None

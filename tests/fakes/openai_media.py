"""OpenAI's images, speech and transcriptions."""

from __future__ import annotations

from typing import Final

from tests.fakes.answer import Answer, Json, Received, Usage
from tests.fakes.reply import Reply, Streamed, Whole, data, events, whole

CREATED: Final = 1_795_000_000
_NOTHING: Final = "AAAA"
_DRAWN: Final = {
    "background": "opaque",
    "output_format": "png",
    "quality": "high",
    "size": "1024x1024",
}


def images(request: Received, answer: Answer) -> Reply:
    request.needs("prompt")
    usage = {"usage": _of_images(answer.usage)} if answer.usage else {}
    if request.body.get("stream"):
        if answer.usage:
            # a stream does not say what the output was of
            del usage["usage"]["output_tokens_details"]
        drawn = {**_DRAWN, "b64_json": _NOTHING, "created_at": CREATED}
        partial = {"type": "image_generation.partial_image", **drawn}
        partials = [{**partial, "partial_image_index": i} for i in range(answer.chunks)]
        return events([*partials, {"type": "image_generation.completed", **drawn, **usage}])
    count = request.body.get("n") or 1
    if str(request.body.get("model", "dall-e-2")).startswith("dall-e"):
        # billed by image: no tokens are told
        picture = {"url": "https://images.invalid/1.png", "revised_prompt": "a picture"}
        return whole({"created": CREATED, "data": [picture] * count})
    picture = {"b64_json": _NOTHING}
    return whole({"created": CREATED, **_DRAWN, "data": [picture] * count, **usage})


def transcriptions(request: Received, answer: Answer) -> Reply:
    request.needs("file", "model")
    usage = {"usage": _of_speech(answer.usage)} if answer.usage else {}
    kind = request.body.get("response_format", "json")
    if request.body.get("stream") == "true":
        deltas = [{"type": "transcript.text.delta", "delta": piece} for piece in answer.pieces]
        done = {"type": "transcript.text.done", "text": answer.text, **usage}
        return Streamed([data(value) for value in (*deltas, done)])
    if kind not in ("json", "verbose_json"):
        return Whole(answer.text.encode() + b"\n", content_type="text/plain; charset=utf-8")
    if answer.usage and request.body["model"] == "whisper-1":
        # billed by time
        usage = {"usage": {"type": "duration", "seconds": answer.usage.audio_input_ms / 1000}}
    heard: Json = {"text": answer.text, **usage}
    if kind == "verbose_json":
        heard |= {"task": "transcribe", "language": "english", "duration": 1.5, "segments": []}
    return whole(heard)


def speech(request: Received, answer: Answer) -> Reply:
    request.needs("model", "input", "voice")
    if request.body.get("stream_format") == "sse":
        deltas = [{"type": "speech.audio.delta", "audio": _NOTHING}] * answer.chunks
        usage = {"usage": _counted(answer.usage)} if answer.usage else {}
        done = {"type": "speech.audio.done", **usage}
        return Streamed([data(value) for value in (*deltas, done)])
    return Streamed([b"\0" * 256] * answer.chunks, content_type="audio/mpeg")


def _counted(usage: Usage) -> Json:
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
    }


def _of_images(usage: Usage) -> Json:
    return {
        **_counted(usage),
        "input_tokens_details": {
            "image_tokens": usage.image_input_tokens,
            "text_tokens": usage.input_tokens - usage.image_input_tokens,
        },
        "output_tokens_details": {
            "image_tokens": usage.image_output_tokens,
            "text_tokens": usage.output_tokens - usage.image_output_tokens,
        },
    }


def _of_speech(usage: Usage) -> Json:
    return {
        "type": "tokens",
        **_counted(usage),
        "input_token_details": {
            "audio_tokens": usage.audio_input_tokens,
            "text_tokens": usage.input_tokens - usage.audio_input_tokens,
        },
    }

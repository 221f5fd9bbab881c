"""OpenAI's shapes, which most of the field speaks: chat, completions, responses, embeddings,
images, speech and transcription, realtime, lines of a batch.

One rule holds in all of them: `total = input + output`; everything in a `…_details` is a part of
one of the two. Sources: the SDK's types `completion_usage`, `responses.response_usage`,
`images_response`, `audio.transcription`, `realtime.realtime_response_usage`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from spendstream.producers.extract.counts import (
    block,
    count,
    inner,
    milliseconds,
    named,
    number,
    objects,
    text,
)
from spendstream.producers.extract.found import Found, added
from spendstream.producers.extract.plain import Object

_INPUT_DETAILS: Final = (
    "prompt_tokens_details",
    "input_tokens_details",
    "input_token_details",
    "prompt_token_details",
)
_TURN: Final = "response.done"
"""Ends a turn of a session; `response.completed` ends a stream of only one."""
_HEARD: Final = "conversation.item.input_audio_transcription.completed"
_DRAWN: Final = frozenset({"image_generation.completed", "image_edit.completed"})
_WITH_TOOLS: Final = frozenset({"tool_usage", "tools", "output"})
_OUTPUT_DETAILS: Final = (
    "completion_tokens_details",
    "output_tokens_details",
    "output_token_details",
)


def read(parts: Sequence[Object], api: str | None = None) -> Found | None:
    """`api` changes nothing: every shape says what it is."""
    lines = [part for part in parts if "custom_id" in part]
    if lines:
        return added(_batch_line(line) for line in lines)
    if any(text(part, "type") in (_TURN, _HEARD) for part in parts):
        return _session(parts)
    found = None
    for part in parts:
        # the last usage stands: some endpoints send it with every chunk, cumulative
        within = response(part, block(part, "response")) if "response" in part else None
        found = within or response(part, part) or found
    if found is not None:
        found.model = found.model or named(parts, "model")
        found.response_id = found.response_id or named(parts, "id")
        found.service_tier = found.service_tier or named(parts, "service_tier")
    return found


def _session(parts: Sequence[Object]) -> Found | None:
    """Realtime: every turn is a response of its own. What was heard is transcribed by a model of
    its own, by tokens or by time, which no turn's usage holds."""
    turns = [part for part in parts if text(part, "type") == _TURN]
    found = added(response(turn, block(turn, "response")) for turn in turns)
    heard = [part for part in parts if text(part, "type") == _HEARD]
    transcribed = added(tokens(block(part, "usage")) for part in heard)
    if found is None or transcribed is None:
        return found or transcribed
    found.conflicts += transcribed.conflicts
    found.counts["audio_input_ms"] = transcribed.counts.pop("audio_input_ms", 0)
    if any(transcribed.counts.values()):
        found.other_models.append((_transcriber(parts) or "unknown", transcribed.counts))
    return found


def _transcriber(parts: Sequence[Object]) -> str | None:
    """The model that the session names, as it was last said."""
    for part in reversed(parts):
        session = inner(part, "session")
        heard = inner(inner(inner(session, "audio"), "input"), "transcription")
        if model := text(heard, "model") or text(
            inner(session, "input_audio_transcription"), "model"
        ):
            return model
    return None


def response(event: Object, body: Object) -> Found | None:
    """The usage of a whole response, or of the chunk or event that carries it."""
    usage = block(body, "usage")
    found = tokens(usage)
    if found is None:
        return None
    kind = event.get("type")
    if isinstance(kind, str) and kind.startswith("speech.audio"):
        found.counts["audio_output_tokens"] = found.counts["output_tokens"]
    found.model = text(body, "model")
    found.response_id = text(body, "id")
    found.service_tier = text(body, "service_tier")
    found.batch = body.get("object") == "batch"  # the sum over its lines
    _images(body, found)
    if not _WITH_TOOLS.isdisjoint(body):
        _tools(body, found)
    return found


def tokens(usage: Object) -> Found | None:
    """A usage block, whichever of the two pairs of names it has; None: there is no count in it."""
    inputs = count(usage, "prompt_tokens", "input_tokens")
    outputs = count(usage, "completion_tokens", "output_tokens")
    total = count(usage, "total_tokens")
    seconds = milliseconds(usage, "seconds")
    if inputs is None and outputs is None and total is None:
        if not seconds:
            return None
        # a transcription that is billed by time
        return Found({"input_tokens": 0, "output_tokens": 0, "audio_input_ms": seconds}, usage)
    if inputs is None:  # embeddings may say the total alone
        inputs = max((total or 0) - (outputs or 0), 0)
    if outputs is None:
        outputs = max((total or inputs) - inputs, 0)
    found = Found({"input_tokens": inputs, "output_tokens": outputs}, usage)
    if total is not None and total != inputs + outputs:
        found.conflicts.append(f"total_tokens {total} is not {inputs} input + {outputs} output")
    _input_details(usage, found)
    _output_details(usage, found)
    return found


def _input_details(usage: Object, found: Found) -> None:
    details = _first_block(usage, _INPUT_DETAILS)
    cached = block(details, "cached_tokens_details")
    written = block(details, "cache_write_tokens_details")
    in_details = count(details, "cached_tokens")
    found.counts |= {
        # several compatible endpoints have it beside the totals
        "cache_read_input_tokens": number(usage, "cached_tokens")
        if in_details is None
        else in_details,
        "cache_write_input_tokens": number(details, "cache_write_tokens"),
        "cache_write_30m_input_tokens": number(written, "ttl_30m_tokens"),
        "cache_write_12h_input_tokens": number(written, "ttl_12h_tokens"),
        "audio_input_tokens": number(details, "audio_tokens"),
        "image_input_tokens": number(details, "image_tokens"),
        "video_input_tokens": number(details, "video_tokens"),
        "cache_read_audio_input_tokens": number(cached, "audio_tokens"),
        "cache_read_image_input_tokens": number(cached, "image_tokens")
        # an image tool's, beside the totals
        or number(block(usage, "cached_tokens_details"), "cached_image_tokens"),
    }


def _output_details(usage: Object, found: Found) -> None:
    details = _first_block(usage, _OUTPUT_DETAILS)
    in_details = count(details, "reasoning_tokens")
    found.counts |= {
        # inside the completion, as are accepted and rejected predictions, which cost the same
        "reasoning_output_tokens": number(usage, "reasoning_tokens")
        if in_details is None
        else in_details,
        "audio_output_tokens": number(details, "audio_tokens"),
        "image_output_tokens": number(details, "image_tokens"),
        "video_output_tokens": number(details, "video_tokens"),
    }


def _images(body: Object, found: Found) -> None:
    """The Images API, whole or the last event of its stream: tokens, and how many images."""
    if text(body, "type") in _DRAWN:
        images = 1
    elif isinstance(body.get("data"), list) and "created" in body and "choices" not in body:
        images = len(body["data"])
    else:
        return
    found.counts["images"] = images
    if not _first_block(found.block, _OUTPUT_DETAILS):
        # "the number of image tokens in the output image"
        found.counts["image_output_tokens"] = found.counts["output_tokens"]
    found.image_size, found.image_quality = text(body, "size"), text(body, "quality")
    _by_another(block(body, "svg_usage"), None, found)


def _tools(body: Object, found: Found) -> None:
    """What the response's own tools used: searches by call, other models by their tokens."""
    used = block(body, "tool_usage")
    found.counts["web_searches"] = number(block(used, "web_search"), "num_requests")
    tools = [tool for tool in objects(body, "tools") if tool.get("type") == "image_generation"]
    # without a name it is the tool's documented default
    model = text(tools[0], "model") if tools else None
    _by_another(block(used, "image_gen"), model or "gpt-image-1", found)
    # elsewhere `output` may be text or an object
    for item in objects(body, "output") if isinstance(body.get("output"), list) else ():
        _by_another(block(item, "svg_usage"), None, found)


def _by_another(usage: Object, model: str | None, found: Found) -> None:
    """A block of another model's usage; it names the model itself, or `model` does."""
    other = tokens(usage)
    if other is not None and any(other.counts.values()):
        found.other_models.append((text(usage, "model") or model or "unknown", other.counts))
        found.conflicts += other.conflicts


def _batch_line(line: Object) -> Found | None:
    """A line of a batch's output; that it is of a batch, the response itself does not say."""
    body = block(line, "response", "body")
    found = response(body, body)
    if found is not None:
        found.batch = True
    return found


def _first_block(usage: Object, names: Sequence[str]) -> Object:
    for name in names:
        if found := block(usage, name):
            return found
    return {}

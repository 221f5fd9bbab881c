"""What the fakes send is valid by the SDKs' own types, which the SDKs themselves do not check, and
has no field that those do not know."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.types import Message, MessageTokensCount, RawMessageStreamEvent
from google.genai.types import GenerateContentResponse
from openai.types import (
    Completion,
    CreateEmbeddingResponse,
    ImageGenStreamEvent,
    ImagesResponse,
    Model,
    ModerationCreateResponse,
)
from openai.types.audio import Transcription, TranscriptionStreamEvent, TranscriptionVerbose
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from tests.fakes import Answer, FakeProviders, Usage
from tests.integration.fakes.wire import Json, events, told
from tests.unit.producers.extract.sdk.case import unknown_names

FULL = Answer(
    thinking="Hm.",
    service_tier="priority",
    usage=Usage(
        input_tokens=1000,
        output_tokens=400,
        cache_read_input_tokens=600,
        cache_write_input_tokens=100,
        cache_write_1h_input_tokens=40,
        reasoning_output_tokens=250,
        tool_input_tokens=30,
        audio_input_tokens=50,
        audio_output_tokens=20,
        image_input_tokens=30,
        image_output_tokens=10,
        web_searches=2,
    ),
)
BARE = Answer(usage=None)
GEMINI = Answer(usage=FULL.usage, thinking="Hm.", service_tier="ON_DEMAND_FLEX")
ASKED: Json = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
TO_CLAUDE: Json = {**ASKED, "max_tokens": 9}
TO_GEMINI: Json = {"contents": [{"parts": [{"text": "hi"}]}]}
STREAM: Json = {"stream": True}
WITH_USAGE: Json = {**STREAM, "stream_options": {"include_usage": True}}


def check(model: Any, value: Any) -> None:
    made: Any = TypeAdapter(model).validate_python(value)
    assert list(unknown_names(made)) == []


@pytest.mark.parametrize(
    ("path", "body", "model"),
    [
        ("/v1/chat/completions", ASKED, ChatCompletion),
        ("/openai/deployments/d/chat/completions", ASKED, ChatCompletion),
        ("/v1/completions", {"model": "m", "prompt": "hi"}, Completion),
        ("/v1/responses", {"model": "m", "input": "hi"}, Response),
        ("/v1/responses", {"model": "m", "input": "hi", "background": True}, Response),
        ("/v1/embeddings", {"model": "m", "input": "hi"}, CreateEmbeddingResponse),
        ("/v1/images/generations", {"model": "gpt-image-1", "prompt": "hi"}, ImagesResponse),
        ("/v1/images/generations", {"model": "dall-e-3", "prompt": "hi", "n": 2}, ImagesResponse),
        ("/v1/moderations", {"input": "hi"}, ModerationCreateResponse),
        ("/v1/messages", TO_CLAUDE, Message),
        ("/v1/messages/count_tokens", ASKED, MessageTokensCount),
    ],
)
def test_an_answer_is_valid(fake: FakeProviders, path: str, body: Json, model: Any) -> None:
    fake.next(FULL)
    status, answer = told(fake, path, body)
    assert status == 200
    check(model, json.loads(answer))


def test_the_list_of_models_is_valid(fake: FakeProviders) -> None:
    _, answer = told(fake, "/v1/models", None)
    check(list[Model], json.loads(answer)["data"])


@pytest.mark.parametrize("chosen", [GEMINI, BARE])
@pytest.mark.parametrize(
    "prefix",
    ["/v1beta", "/v1beta1/projects/p/locations/l/publishers/google", "/v1/publishers/google"],
)
def test_an_answer_of_gemini_is_valid(fake: FakeProviders, prefix: str, chosen: Answer) -> None:
    fake.next(chosen, chosen)
    _, answer = told(fake, f"{prefix}/models/m:generateContent", TO_GEMINI)
    check(GenerateContentResponse, json.loads(answer))
    _, stream = told(fake, f"{prefix}/models/m:streamGenerateContent?alt=sse", TO_GEMINI)
    for name, chunk in events(stream):
        assert name is None
        check(GenerateContentResponse, chunk)


def test_a_stream_of_gemini_that_is_not_asked_for_as_events_is_a_list(fake: FakeProviders) -> None:
    _, stream = told(fake, "/v1beta/models/m:streamGenerateContent", TO_GEMINI)
    _, same = told(fake, "/v1beta/models/m:streamGenerateContent?alt=sse", TO_GEMINI)
    chunks = [{**chunk, "responseId": ""} for chunk in json.loads(stream)]
    assert chunks == [{**chunk, "responseId": ""} for _, chunk in events(same)]


@pytest.mark.parametrize("chosen", [FULL, BARE])
@pytest.mark.parametrize(
    ("path", "body", "model"),
    [
        ("/v1/chat/completions", {**ASKED, **STREAM}, ChatCompletionChunk),
        ("/v1/chat/completions", {**ASKED, **WITH_USAGE}, ChatCompletionChunk),
        ("/v1/completions", {"model": "m", "prompt": "hi", **WITH_USAGE}, Completion),
    ],
)
def test_a_stream_without_names_is_valid_and_ends_with_done(
    fake: FakeProviders, path: str, body: Json, model: Any, chosen: Answer
) -> None:
    fake.next(chosen)
    _, stream = told(fake, path, body)
    *chunks, last = events(stream)
    assert last == (None, "[DONE]")
    for name, chunk in chunks:
        assert name is None
        if model is Completion:
            # null before the last, which the SDK's type does not say
            chunk["choices"] = [{**c, "finish_reason": "stop"} for c in chunk["choices"]]
        check(model, chunk)


@pytest.mark.parametrize(
    ("path", "body", "model"),
    [
        ("/v1/responses", {"model": "m", "input": "hi", **STREAM}, ResponseStreamEvent),
        (
            "/v1/images/generations",
            {"model": "gpt-image-1", "prompt": "hi", **STREAM},
            ImageGenStreamEvent,
        ),
        ("/v1/messages", {**TO_CLAUDE, **STREAM}, RawMessageStreamEvent),
    ],
)
def test_a_stream_of_named_events_is_valid(
    fake: FakeProviders, path: str, body: Json, model: Any
) -> None:
    fake.next(FULL)
    _, stream = told(fake, path, body)
    for name, event in events(stream):
        assert name == event["type"]
        if name != "ping":
            check(model, event)


@pytest.mark.parametrize(
    ("fields", "model"),
    [
        ({"model": "gpt-4o-transcribe"}, Transcription),
        ({"model": "whisper-1"}, Transcription),
        ({"model": "whisper-1", "response_format": "verbose_json"}, TranscriptionVerbose),
        ({"model": "gpt-4o-transcribe", "stream": "true"}, TranscriptionStreamEvent),
    ],
)
def test_a_transcription_is_valid(fake: FakeProviders, fields: Json, model: Any) -> None:
    # the SDKs send a form; JSON of the same fields is read alike
    _, answer = told(fake, "/v1/audio/transcriptions", {"file": "a.wav", **fields})
    if "stream" in fields:
        for name, event in events(answer):
            assert name is None
            check(model, event)
    else:
        heard = json.loads(answer)
        # told, though no type of the SDK has it
        heard.pop("task", None)
        check(model, heard)


def test_claude_s_events_come_in_their_order(fake: FakeProviders) -> None:
    fake.next(Answer(text="ab", chunks=2, thinking="Hm."))
    _, stream = told(fake, "/v1/messages", {**TO_CLAUDE, **STREAM})
    assert [name for name, _ in events(stream)] == [
        "message_start",
        *("content_block_start", "ping"),
        *["content_block_delta"] * 2,
        *("content_block_stop", "content_block_start"),
        *["content_block_delta"] * 2,
        "content_block_stop",
        *("message_delta", "message_stop"),
    ]


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("/v1/chat/completions", {"model": "m"}, "messages"),
        ("/v1/chat/completions", {"messages": []}, "model"),
        ("/v1/responses", {"model": "m"}, "input"),
        ("/v1/messages", ASKED, "max_tokens"),
        ("/v1beta/models/m:generateContent", {}, "contents"),
    ],
)
def test_what_a_request_lacks_is_named(
    fake: FakeProviders, path: str, body: Json, named: str
) -> None:
    status, answer = told(fake, path, body)
    assert status == 400
    assert named in json.loads(answer)["error"]["message"]


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/v1/nothing", {"type": "invalid_request_error"}),
        ("/v1/messages/nothing", {"type": "not_found_error"}),
        ("/v1beta/models/m:nothing", {"code": 404, "status": "NOT_FOUND"}),
    ],
)
def test_an_unknown_path_is_recorded(fake: FakeProviders, path: str, error: Json) -> None:
    fake.next(Answer(text="kept"))
    status, answer = told(fake, path, {"a": 1})
    assert status == 404
    assert error.items() <= json.loads(answer)["error"].items()
    (request,) = fake.requests
    assert (request.path, request.body, request.status) == (path, {"a": 1}, 404)

    _, answer = told(fake, "/v1/chat/completions", ASKED)
    assert json.loads(answer)["choices"][0]["message"]["content"] == "kept"

"""Other things than text from OpenAI, the helpers of Anthropic, the functions of Google."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from spendstream.producers import instrument
from tests.fakes import Answer, FakeProviders, Usage
from tests.integration.wrap.beside import beside
from tests.integration.wrap.kinds import ANSWER, BY_NAME, SAYS, USED, Kind, awaited, each, items
from tests.support.recording import Json, Workspace, figures

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]

Ask = Callable[[Any], Any]
DRAWN = {"input_tokens": 120, "output_tokens": 41, "image_output_tokens": 41}
FILE = ("speech.mp3", b"\0" * 99, "audio/mpeg")


def embed(client: Any) -> Any:
    return client.embeddings.create(model="text-embedding-3-small", input=["a", "b"])


def draw(client: Any) -> Any:
    return client.images.generate(model="gpt-image-1", prompt="a cat", n=2)


def draw_by_number(client: Any) -> Any:
    return client.images.generate(model="dall-e-3", prompt="a cat", size="1024x1024", quality="hd")


def draw_streamed(client: Any) -> Any:
    return client.images.generate(model="gpt-image-1", prompt="a cat", stream=True)


def hear(client: Any) -> Any:
    return client.audio.transcriptions.create(model="gpt-4o-transcribe", file=FILE)


def hear_by_time(client: Any) -> Any:
    return client.audio.transcriptions.create(model="whisper-1", file=FILE)


def hear_streamed(client: Any) -> Any:
    return client.audio.transcriptions.create(model="gpt-4o-transcribe", file=FILE, stream=True)


def hear_as_text(client: Any) -> Any:
    return client.audio.transcriptions.create(
        model="gpt-4o-transcribe", file=FILE, response_format="text"
    )


def speak(client: Any) -> Any:
    return client.audio.speech.create(model="gpt-4o-mini-tts", input="hello", voice="alloy")


def speak_by_characters(client: Any) -> Any:
    return client.audio.speech.create(model="tts-1", input="hello", voice="alloy")


def complete(client: Any) -> Any:
    return client.completions.create(model="gpt-3.5-turbo-instruct", prompt="hi")


@each("openai-chat", "openai-async-chat")
@pytest.mark.parametrize(
    ("ask", "operation", "used"),
    [
        (embed, "embeddings", {"input_tokens": 120}),
        (draw, "image_generation", {**DRAWN, "images": 2}),
        (draw_by_number, "image_generation", {"images": 1}),
        (draw_streamed, "image_generation", {**DRAWN, "images": 1}),
        (hear, "transcription", {"input_tokens": 120, "output_tokens": 41}),
        (hear_by_time, "transcription", {"audio_input_ms": 1500}),
        (hear_streamed, "transcription", {"input_tokens": 120, "output_tokens": 41}),
        (hear_as_text, "transcription", None),
        (speak, "speech", None),
        (speak_by_characters, "speech", {"input_characters": 5}),
        (complete, "text_completion", {"input_tokens": 120, "output_tokens": 41}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_billed(
    kind: Kind, ask: Ask, operation: str, used: Json | None, workspace: Workspace
) -> None:
    async def use(client: Any, _: FakeProviders) -> object:
        answer = await awaited(ask(client))
        if hasattr(answer, "__next__") or hasattr(answer, "__anext__"):
            return [item async for item in items(answer)]
        return answer.content if hasattr(answer, "iter_bytes") else answer

    answer = Answer(usage=Usage(input_tokens=120, output_tokens=41, image_output_tokens=41))
    asyncio.run(beside(workspace, kind, use, answer))
    event = workspace.event()
    assert event["operation"] == operation
    assert event.get("status", "ok") == "ok"
    if used is None:
        assert "usage" not in event
    else:
        assert {name: n for name, n in figures(event).items() if n} == used


def test_speech_that_is_written_as_it_comes(workspace: Workspace, fake: FakeProviders) -> None:
    with BY_NAME["openai-chat"].make(fake) as client:
        instrument()
        create = client.audio.speech.with_streaming_response.create
        with (
            workspace.track(),
            create(model="tts-1", input="hello", voice="alloy") as response,
        ):
            assert sum(map(len, response.iter_bytes())) == 768
    event = workspace.event()
    assert figures(event)["input_characters"] == 5
    assert event.get("status", "ok") == "ok"


def _moderate(client: Any) -> Any:
    return client.moderations.create(input="hi")


def _models(client: Any) -> Any:
    return client.models.list()


def _count_tokens(client: Any) -> Any:
    return client.messages.count_tokens(model="claude-sonnet-5", messages=SAYS)


def _count_tokens_of_google(client: Any) -> Any:
    return client.models.count_tokens(model="gemini-2.5-flash", contents="hi")


@pytest.mark.parametrize(
    ("name", "ask"),
    [
        ("openai-chat", _moderate),
        ("openai-async-chat", _moderate),
        ("openai-chat", _models),
        ("anthropic", _count_tokens),
        ("anthropic-async", _count_tokens),
        ("gemini", _count_tokens_of_google),
    ],
)
def test_what_costs_nothing_is_no_event(name: str, ask: Ask, workspace: Workspace) -> None:
    async def use(client: Any, _: FakeProviders) -> object:
        return await awaited(ask(client))

    asyncio.run(beside(workspace, BY_NAME[name], use))
    assert workspace.events() == []


async def _events(stream: Any) -> object:
    return [item async for item in items(stream)]


async def _text_stream(stream: Any) -> object:
    return [item async for item in items(stream.text_stream)]


async def _final_message(stream: Any) -> object:
    return await awaited(stream.get_final_message())


async def _final_text(stream: Any) -> object:
    return await awaited(stream.get_final_text())


async def _until_done(stream: Any) -> object:
    return await awaited(stream.until_done())


@each("anthropic")
@pytest.mark.parametrize("beta", [False, True])
@pytest.mark.parametrize("read", [_events, _text_stream, _final_message, _final_text, _until_done])
def test_the_helper_of_anthropic(kind: Kind, beta: bool, read: Any, workspace: Workspace) -> None:
    async def use(client: Any, _: FakeProviders) -> object:
        messages = client.beta.messages if beta else client.messages
        manager = messages.stream(**kind.arguments)
        if kind.is_async:
            async with manager as stream:
                return [await read(stream), type(stream)]
        with manager as stream:
            return [await read(stream), type(stream)]

    asyncio.run(beside(workspace, kind, use, ANSWER))
    event = workspace.event()
    assert (event.get("status", "ok"), figures(event)) == ("ok", USED)


@each("gemini")
def test_embeddings_of_google(kind: Kind, workspace: Workspace) -> None:
    async def use(client: Any, _: FakeProviders) -> object:
        models = client.aio.models if kind.is_async else client.models
        return await awaited(models.embed_content(model="gemini-embedding-001", contents=["a"]))

    asyncio.run(beside(workspace, kind, use, ANSWER))
    event = workspace.event()
    assert (event["operation"], event["request_model"]) == ("embeddings", "gemini-embedding-001")
    assert figures(event)["input_tokens"] == 120


def weather(city: str) -> str:
    """The weather there."""
    return f"sunny in {city}"


@each("gemini")
@pytest.mark.parametrize("streamed", [False, True])
def test_each_round_of_automatic_functions_is_a_call(
    kind: Kind, streamed: bool, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As each is billed."""
    import tests.fakes.google as google

    plain = google._response

    def response(request: Any, answer: Answer, parts: list[Json], *args: Any, **more: Any) -> Json:
        if answer.text == "call":
            parts = [{"functionCall": {"name": "weather", "args": {"city": "Rome"}}}]
        return plain(request, answer, parts, *args, **more)

    monkeypatch.setattr(google, "_response", response)

    async def use(client: Any, _: FakeProviders) -> object:
        more: Json = {"config": {"tools": [weather]}}
        if streamed:
            return [item async for item in items(await kind.stream(client, **more))]
        return await kind.whole(client, **more)

    rounds = [
        Answer(text="call", chunks=1, usage=Usage(input_tokens=10, output_tokens=1)),
        Answer(usage=Usage(input_tokens=30, output_tokens=3)),
    ]
    outcome = asyncio.run(beside(workspace, kind, use, *rounds))
    assert "sunny in Rome" in json.dumps(json.loads(outcome.sent[1][2]))
    assert [figures(event) for event in workspace.events()] == [
        {"input_tokens": 10, "output_tokens": 1},
        {"input_tokens": 30, "output_tokens": 3},
    ]

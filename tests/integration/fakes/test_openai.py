"""OpenAI's own SDK finds in the fake what a test chose."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from typing import Any

import openai
import pytest

from spendstream.producers.extract import usage_from
from tests.fakes import Answer, FakeProviders, Usage

USED = Usage(
    input_tokens=1000,
    output_tokens=400,
    cache_read_input_tokens=600,
    reasoning_output_tokens=250,
)
TEXT = {
    "input_tokens": 1000,
    "output_tokens": 400,
    "cache_read_input_tokens": 600,
    "reasoning_output_tokens": 250,
}
TOTALS = {"input_tokens": 1000, "output_tokens": 400}
WITH_USAGE: Any = {"stream": True, "stream_options": {"include_usage": True}}
ASKED: Any = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
WAV = ("a.wav", io.BytesIO(b"RIFF").getvalue())
Call = Callable[[Any], Any]

CALLS: list[tuple[str, Call, dict[str, int]]] = [
    ("chat", lambda c: c.chat.completions.create(**ASKED), TEXT),
    ("chat, streamed", lambda c: c.chat.completions.create(**ASKED, **WITH_USAGE), TEXT),
    ("completions", lambda c: c.completions.create(model="m", prompt="hi"), TEXT),
    (
        "completions, streamed",
        lambda c: c.completions.create(model="m", prompt="hi", **WITH_USAGE),
        TEXT,
    ),
    ("responses", lambda c: c.responses.create(model="m", input="hi"), TEXT),
    (
        "responses, streamed",
        lambda c: c.responses.create(model="m", input="hi", stream=True),
        TEXT,
    ),
    (
        "embeddings",
        lambda c: c.embeddings.create(model="m", input=["hi", "ho"]),
        {"input_tokens": 1000},
    ),
    (
        "embeddings, floats",
        lambda c: c.embeddings.create(model="m", input="hi", encoding_format="float"),
        {"input_tokens": 1000},
    ),
    ("images", lambda c: c.images.generate(model="gpt-image-1", prompt="hi"), TOTALS),
    (
        "images, streamed",
        lambda c: c.images.generate(model="gpt-image-1", prompt="hi", stream=True),
        TOTALS,
    ),
    (
        "transcription",
        lambda c: c.audio.transcriptions.create(model="gpt-4o-transcribe", file=WAV),
        TOTALS,
    ),
    (
        "transcription, streamed",
        lambda c: c.audio.transcriptions.create(model="gpt-4o-transcribe", file=WAV, stream=True),
        TOTALS,
    ),
    (
        "transcription by time",
        lambda c: c.audio.transcriptions.create(model="whisper-1", file=WAV),
        {"audio_input_ms": 1500},
    ),
]
by_call = pytest.mark.parametrize(
    ("call", "expected"), [pytest.param(call, used, id=what) for what, call, used in CALLS]
)


def found(payload: object, expected: dict[str, int]) -> dict[str, int]:
    """The figures that were expected, as they were read, and others that are not 0."""
    usage = usage_from(payload, provider="openai")
    assert usage is not None
    assert usage.quality == "measured"
    counts = usage.model_dump(exclude_defaults=True)
    return {name: n for name, n in counts.items() if isinstance(n, int) and (n or name in expected)}


@by_call
def test_sync(fake: FakeProviders, call: Call, expected: dict[str, int]) -> None:
    fake.next(Answer(usage=USED))
    with openai.OpenAI(base_url=fake.openai_url, api_key="k") as client:
        answer = call(client)
        payload = list(answer) if isinstance(answer, openai.Stream) else answer
    assert expected.items() <= found(payload, expected).items()


@by_call
def test_async(fake: FakeProviders, call: Call, expected: dict[str, int]) -> None:
    async def run() -> object:
        async with openai.AsyncOpenAI(base_url=fake.openai_url, api_key="k") as client:
            answer = await call(client)
            if isinstance(answer, openai.AsyncStream):
                return [chunk async for chunk in answer]
            return answer

    fake.next(Answer(usage=USED))
    payload = asyncio.run(run())
    assert expected.items() <= found(payload, expected).items()


def test_a_stream_has_usage_only_where_it_is_asked_for(fake: FakeProviders) -> None:
    with openai.OpenAI(base_url=fake.openai_url, api_key="k") as client:
        without = list(client.chat.completions.create(**ASKED, stream=True))
        asked = list(client.chat.completions.create(**ASKED, **WITH_USAGE))
    assert not any("usage" in chunk.model_fields_set for chunk in without)
    assert [(len(chunk.choices), chunk.usage is None) for chunk in asked[-2:]] == [
        (1, True),
        (0, False),
    ]
    assert all("usage" in chunk.model_fields_set for chunk in asked)


def test_a_text_comes_in_as_many_deltas_as_were_chosen(fake: FakeProviders) -> None:
    fake.next(Answer(text="one two three", chunks=5))
    with openai.OpenAI(base_url=fake.openai_url, api_key="k") as client:
        chunks = list(client.chat.completions.create(**ASKED, stream=True))
    texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices[0].delta.content]
    assert (len(texts), "".join(texts)) == (5, "one two three")


def test_a_response_in_the_background_is_queued_then_completed(fake: FakeProviders) -> None:
    fake.next(Answer(text="done", usage=USED))
    with openai.OpenAI(base_url=fake.openai_url, api_key="k") as client:
        queued = client.responses.create(model="m", input="hi", background=True)
        assert (queued.status, queued.usage) == ("queued", None)
        done = client.responses.retrieve(queued.id)
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve("resp_none")
    assert (done.status, done.output_text) == ("completed", "done")
    assert found(done, TEXT) == TEXT


def test_vectors_are_the_same_in_both_encodings(fake: FakeProviders) -> None:
    with openai.OpenAI(base_url=fake.openai_url, api_key="k") as client:
        # the SDK asks for base64 where nothing was asked for, and decodes it
        short = client.embeddings.create(model="m", input=["hi", "ho"])
        plain = client.embeddings.create(model="m", input=["hi", "ho"], encoding_format="float")
    assert fake.requests[0].body["encoding_format"] == "base64"
    assert short.data == plain.data
    assert [vector.embedding for vector in plain.data] == [[0.5, -0.25, 0.125]] * 2


def test_speech_as_events_has_usage(fake: FakeProviders) -> None:
    fake.next(Answer(usage=USED))
    client = openai.OpenAI(base_url=fake.openai_url, api_key="k")
    with (
        client,
        client.audio.speech.with_streaming_response.create(
            model="gpt-4o-mini-tts", input="hi", voice="alloy", stream_format="sse"
        ) as spoken,
    ):
        used = found("".join(spoken.iter_text()), TOTALS)
    # all that is said is audio
    assert used == {**TOTALS, "audio_output_tokens": 400}


def test_what_has_no_usage(fake: FakeProviders) -> None:
    with openai.OpenAI(base_url=fake.openai_url, api_key="k") as client:
        assert client.moderations.create(input="hi").results[0].flagged is False
        assert next(iter(client.models.list())).id == "gpt-4o"
        spoken = client.audio.speech.create(model="tts-1", input="hi", voice="alloy")
        assert len(spoken.read()) == 3 * 256
        said = client.audio.transcriptions.create(
            model="whisper-1", file=WAV, response_format="text"
        )
        assert said == "The fake says hello.\n"
    form = fake.requests[-1]
    assert form.body == {"model": "whisper-1", "file": "a.wav", "response_format": "text"}


def test_azure(fake: FakeProviders) -> None:
    fake.next(Answer(usage=USED))
    client = openai.AzureOpenAI(
        azure_endpoint=fake.azure_url,
        azure_deployment="mine",
        api_key="k",
        api_version="2024-10-21",
    )
    with client:
        answer = client.chat.completions.create(**ASKED)
    assert found(answer, TEXT) == TEXT
    (request,) = fake.requests
    assert request.path == "/openai/deployments/mine/chat/completions"
    assert request.query == {"api-version": "2024-10-21"}

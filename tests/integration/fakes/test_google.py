"""Google's own SDK finds in the fake what a test chose."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from google import genai
from google.oauth2.credentials import Credentials

from spendstream.producers.extract import usage_from
from tests.fakes import Answer, FakeProviders, Usage

MODEL = "gemini-3-pro"
ANSWER = Answer(
    thinking="Hm.",
    usage=Usage(
        input_tokens=1060,
        output_tokens=1200,
        cache_read_input_tokens=300,
        reasoning_output_tokens=700,
        tool_input_tokens=60,
        audio_input_tokens=200,
        image_input_tokens=100,
        audio_output_tokens=120,
        image_output_tokens=300,
        web_searches=2,
    ),
)
READ = {
    "input_tokens": 1060,
    "output_tokens": 1200,
    "cache_read_input_tokens": 300,
    "reasoning_output_tokens": 700,
    "tool_input_tokens": 60,
    "audio_input_tokens": 200,
    "image_input_tokens": 100,
    "audio_output_tokens": 120,
    "image_output_tokens": 300,
    "web_searches": 2,
}


def gemini(fake: FakeProviders) -> genai.Client:
    return genai.Client(api_key="k", http_options={"base_url": fake.google_url})


def vertex(fake: FakeProviders) -> genai.Client:
    return genai.Client(
        vertexai=True,
        project="p",
        location="europe-west4",
        credentials=Credentials("token"),  # type: ignore[no-untyped-call]
        http_options={"base_url": fake.google_url},
    )


both = pytest.mark.parametrize("client_of", [gemini, vertex])
ClientOf = Callable[[FakeProviders], genai.Client]


def found(payload: object) -> dict[str, Any]:
    usage = usage_from(payload, provider="gcp.gemini")
    assert usage is not None
    named = usage.model_dump(exclude_defaults=True)
    return {name: value for name, value in named.items() if name in READ}


@both
def test_sync(fake: FakeProviders, client_of: ClientOf) -> None:
    fake.default = ANSWER
    with client_of(fake) as client:
        models = client.models
        whole = models.generate_content(model=MODEL, contents="hi")
        chunks = list(models.generate_content_stream(model=MODEL, contents="hi"))
        counted = models.count_tokens(model=MODEL, contents="hi").total_tokens
    assert whole.text == "".join(chunk.text or "" for chunk in chunks) == ANSWER.text
    assert found(whole) == found(chunks) == READ
    assert counted == 1060


@both
def test_async(fake: FakeProviders, client_of: ClientOf) -> None:
    async def run() -> list[object]:
        async with client_of(fake).aio as client:
            models = client.models
            whole = await models.generate_content(model=MODEL, contents="hi")
            stream = await models.generate_content_stream(model=MODEL, contents="hi")
            return [whole, [chunk async for chunk in stream]]

    fake.default = ANSWER
    assert [found(payload) for payload in asyncio.run(run())] == [READ] * 2


@both
def test_embeddings(fake: FakeProviders, client_of: ClientOf) -> None:
    with client_of(fake) as client:
        answer = client.models.embed_content(model="gemini-embedding-001", contents=["hi", "ho"])
    assert [vector.values for vector in answer.embeddings or []] == [[0.5, -0.25, 0.125]] * 2
    assert found(answer)["input_tokens"] == 12


def test_every_chunk_has_the_usage_so_far(fake: FakeProviders) -> None:
    fake.next(Answer(chunks=4, usage=Usage(input_tokens=10, output_tokens=8)))
    with gemini(fake) as client:
        chunks = list(client.models.generate_content_stream(model=MODEL, contents="hi"))
    used = [chunk.usage_metadata for chunk in chunks]
    assert [(u.prompt_token_count, u.candidates_token_count) for u in used if u] == [
        (10, 2),
        (10, 4),
        (10, 6),
        (10, 8),
    ]

"""Google's Interactions: answers that are kept, and fetched again."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from google import genai

from spendstream.producers import instrument, uninstrument
from tests.fakes import Answer, Fails, FakeProviders, Usage
from tests.fakes.google_interactions import CREATED
from tests.support.recording import Workspace

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]

MODEL = "gemini-3-flash"
USAGE = Usage(
    input_tokens=120, output_tokens=70, cache_read_input_tokens=30, reasoning_output_tokens=25
)
FIGURES = {
    "input_tokens": 120,
    "output_tokens": 70,
    "cache_read_input_tokens": 30,
    "reasoning_output_tokens": 25,
}


def client_of(fake: FakeProviders) -> Any:
    fake.default = Answer(text="It is seven.", usage=USAGE)
    return instrument(genai.Client(api_key="k", http_options={"base_url": fake.google_url}))


def whole(client: Any) -> Any:
    return client.interactions.create(model=MODEL, input="?")


def streamed(client: Any) -> None:
    assert len(list(client.interactions.create(model=MODEL, input="?", stream=True))) == 5


def raw(client: Any) -> None:
    assert client.interactions.with_raw_response.create(model=MODEL, input="?").parse().steps


def whole_async(client: Any) -> None:
    async def call() -> None:
        await client.aio.interactions.create(model=MODEL, input="?")

    asyncio.run(call())


def streamed_async(client: Any) -> None:
    async def call() -> None:
        stream = await client.aio.interactions.create(model=MODEL, input="?", stream=True)
        assert len([event async for event in stream]) == 5

    asyncio.run(call())


@pytest.mark.parametrize("call", [whole, streamed, raw, whole_async, streamed_async])
def test_one_event_by_the_answers_own_id_and_time(
    call: Callable[[Any], object], fake: FakeProviders, workspace: Workspace
) -> None:
    client = client_of(fake)
    with workspace.track():
        call(client)
    event = workspace.event()
    assert event["usage"].items() >= FIGURES.items()
    assert (event["provider"], event["operation"]) == ("gcp.gemini", "generate_content")
    assert (event["request_model"], event["response_model"]) == (MODEL, MODEL)
    assert event.get("status", "ok") == "ok"
    assert event["id"] == event["response_id"] == "v1_1"
    assert datetime.fromisoformat(event["time"]) == datetime.fromisoformat(CREATED)


def test_one_that_is_fetched_again_is_the_same_event(
    fake: FakeProviders, workspace: Workspace
) -> None:
    client = client_of(fake)
    with workspace.track():
        begun = client.interactions.create(model=MODEL, input="?", background=True)
        assert not workspace.events(), "it is still to come"
        for _ in range(2):
            client.interactions.get(begun.id)
    first, second = workspace.events()
    assert first == second
    assert first["id"] == begun.id
    assert first["usage"].items() >= FIGURES.items()


def test_a_stream_that_is_dropped(fake: FakeProviders, workspace: Workspace) -> None:
    client = client_of(fake)
    with workspace.track():
        stream = client.interactions.create(model=MODEL, input="?", stream=True)
        next(iter(stream))
        stream.close()
        del stream
        gc.collect()
    event = workspace.event()
    assert (event["status"], event["usage_quality"]) == ("cancelled", "estimated")


def test_an_error_is_one_event_and_raised(fake: FakeProviders, workspace: Workspace) -> None:
    client = client_of(fake)
    fake.next(Fails(400))
    with workspace.track(), pytest.raises(Exception, match="the fake fails"):
        whole(client)
    event = workspace.event()
    assert event["status"] == "error"
    assert "usage" not in event


def test_what_only_fetches_and_fails_is_no_call(fake: FakeProviders, workspace: Workspace) -> None:
    client = client_of(fake)
    with workspace.track(), pytest.raises(Exception, match=r"\S"):
        client.interactions.get("v1_unknown")
    assert not workspace.events()


def test_off_again(fake: FakeProviders, workspace: Workspace) -> None:
    client = client_of(fake)
    interactions = client.interactions
    uninstrument()
    assert "do_request" not in vars(type(interactions))
    with workspace.track():
        whole(client)
    assert not workspace.events()

"""What only OpenAI's SDK has: usage that has to be asked for, and answers in the background."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx2
import openai
import pytest

from spendstream.producers import instrument, uninstrument
from tests.fakes import Answer, FakeProviders, Usage
from tests.integration.wrap.beside import beside, seen
from tests.integration.wrap.kinds import ANSWER, BY_NAME, SAYS, USED, Kind, awaited, each, items
from tests.support.recording import Json, Workspace, figures

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]

CHAT = BY_NAME["openai-chat"]


async def _chunks(kind: Kind, client: Any, **more: Any) -> object:
    stream = await kind.stream(client, **more)
    assert isinstance(stream, openai.AsyncStream if kind.is_async else openai.Stream)
    return [item async for item in items(stream)]


async def _in_a_context(kind: Kind, client: Any, **more: Any) -> object:
    stream = await kind.stream(client, **more)
    if kind.is_async:
        async with stream:
            return [item async for item in stream]
    with stream:
        return list(stream)


async def _raw(kind: Kind, client: Any, **more: Any) -> object:
    create = client.chat.completions.with_raw_response.create
    raw = await awaited(create(**kind.arguments, stream=True, **more))
    return [item async for item in items(raw.parse())]


async def _bytes(kind: Kind, client: Any, **more: Any) -> object:
    create = client.chat.completions.with_streaming_response.create
    if kind.is_async:
        async with create(**kind.arguments, stream=True, **more) as raw:
            return b"".join([data async for data in raw.iter_bytes()])
    with create(**kind.arguments, stream=True, **more) as raw:
        return b"".join(raw.iter_bytes())


async def _small_bytes(kind: Kind, client: Any, **more: Any) -> object:
    create = client.chat.completions.with_streaming_response.create
    if kind.is_async:
        async with create(**kind.arguments, stream=True, **more) as raw:
            return b"".join([data async for data in raw.iter_bytes(5)])
    with create(**kind.arguments, stream=True, **more) as raw:
        return b"".join(raw.iter_bytes(5))


async def _lines(kind: Kind, client: Any, **more: Any) -> object:
    create = client.chat.completions.with_streaming_response.create
    if kind.is_async:
        async with create(**kind.arguments, stream=True, **more) as raw:
            return [line async for line in raw.iter_lines()]
    with create(**kind.arguments, stream=True, **more) as raw:
        return list(raw.iter_lines())


async def _undecoded(kind: Kind, client: Any, **more: Any) -> object:
    create = client.chat.completions.with_streaming_response.create
    if kind.is_async:
        async with create(**kind.arguments, stream=True, **more) as raw:
            return b"".join([data async for data in raw.http_response.aiter_raw()])
    with create(**kind.arguments, stream=True, **more) as raw:
        return b"".join(raw.http_response.iter_raw())


async def _helper(kind: Kind, client: Any, **more: Any) -> object:
    manager = client.chat.completions.stream(**kind.arguments, **more)
    if kind.is_async:
        async with manager as stream:
            events = [event async for event in stream]
            return [*events, await stream.get_final_completion()]
    with manager as stream:
        return [*stream, stream.get_final_completion()]


READS = (_chunks, _in_a_context, _raw, _bytes, _small_bytes, _undecoded, _lines, _helper)


@each("openai-chat", "openai-async-chat", "azure-chat")
@pytest.mark.parametrize("read", READS, ids=lambda read: read.__name__)
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"stream_options": {"include_usage": False}},
        {"stream_options": {"include_obfuscation": False}},
        {"stream_options": {"include_usage": True}},
        {"extra_body": {"stream_options": {"include_usage": True}}},
        {"extra_body": {"stream_options": {"include_obfuscation": True}}},
    ],
    ids=str,
)
def test_usage_that_is_asked_for_is_seen_only_by_who_asked(
    kind: Kind, read: Any, more: Json, workspace: Workspace
) -> None:
    """Byte for byte, field for field."""

    async def once(**how: Any) -> tuple[object, list[Json]]:
        with FakeProviders() as fake:
            fake.default = ANSWER
            client = kind.make(fake)
            if how:
                instrument(client, **how)
            with workspace.track():
                told = seen(await read(kind, client, **more))
            await awaited(client.close())
            uninstrument()
            return told, [request.body for request in fake.requests]

    async def both() -> None:
        bare, (sent,) = await once()
        watched, (asked,) = await once(include_usage=True)
        assert watched == bare
        options = {**sent.get("stream_options", {}), "include_usage": True}
        assert asked == {**sent, "stream_options": options}

    asyncio.run(both())
    assert figures(workspace.event()) == USED


class _To(httpx2.BaseTransport):
    """What is sent to OpenAI goes to the fake."""

    def __init__(self, fake: FakeProviders) -> None:
        self._fake = fake
        self._inner = httpx2.HTTPTransport(verify=False)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        request.url = request.url.copy_with(
            scheme="http", host="127.0.0.1", port=int(self._fake.url.rpartition(":")[2])
        )
        return self._inner.handle_request(request)

    def close(self) -> None:
        self._inner.close()


@pytest.mark.parametrize(
    ("url", "provider", "asks"),
    [
        ("https://api.openai.com/v1", "openai", True),
        ("https://openrouter.ai/v1", "openrouter", False),
        ("https://api.deepseek.com/v1", "deepseek", False),
        ("https://vllm.internal/v1", "openai", False),
        ("https://us.openai.azure.com/openai/v1", "azure.ai.openai", False),
    ],
)
@pytest.mark.parametrize("said", [None, True, False])
def test_only_a_server_that_is_known_to_take_it_is_asked(
    url: str,
    provider: str,
    asks: bool,
    said: bool | None,
    workspace: Workspace,
    fake: FakeProviders,
) -> None:
    fake.default = ANSWER
    http = openai.DefaultHttpxClient(transport=_To(fake))
    with openai.OpenAI(base_url=url, api_key="k", http_client=http) as client:
        instrument(client, include_usage=said)
        with workspace.track():
            chunks: list[Any] = list(
                client.chat.completions.create(model="gpt-4o", messages=SAYS, stream=True)
            )
    assert len(chunks) == 5
    assert {"usage" in chunk.to_dict() for chunk in chunks} == {False}
    expected = asks if said is None else said
    sent = fake.requests[0].body
    assert sent.get("stream_options") == ({"include_usage": True} if expected else None)
    event = workspace.event()
    assert event["provider"] == provider
    assert figures(event) == (USED if expected else {})


class _Gzipping(httpx2.BaseTransport):
    """The fake's answers, compressed in pieces as they come."""

    def __init__(self) -> None:
        self._inner = httpx2.HTTPTransport(verify=False)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        response = self._inner.handle_request(request)
        body = gzip.compress(response.read())
        headers = {**response.headers, "content-encoding": "gzip"}
        headers.pop("content-length", None)
        headers.pop("transfer-encoding", None)

        def pieces() -> Iterator[bytes]:
            for start in range(0, len(body), 50):
                yield body[start : start + 50]

        return httpx2.Response(response.status_code, headers=headers, content=pieces())

    def close(self) -> None:
        self._inner.close()


@pytest.mark.parametrize("name", ["openai-chat", "openai-responses", "anthropic"])
@pytest.mark.parametrize("streamed", [False, True])
def test_compressed_answers(name: str, streamed: bool, workspace: Workspace) -> None:
    kind = BY_NAME[name]
    usage = {"stream_options": {"include_usage": True}} if name == "openai-chat" else {}

    async def use(client: Any, _: FakeProviders) -> object:
        if streamed:
            return [item async for item in items(await kind.stream(client, **usage))]
        return await kind.whole(client)

    def make(fake: FakeProviders) -> Any:
        return kind.make(fake, http_client=httpx2.Client(transport=_Gzipping()))

    asyncio.run(beside(workspace, replace(kind, make=make), use, ANSWER))
    assert figures(workspace.event()) == USED


@each("openai-responses", "openai-async-responses")
def test_a_long_answer_that_ends_in_many_reads(kind: Kind, workspace: Workspace) -> None:
    """The name of the last event comes long before its data, in which the usage is."""

    async def use(client: Any, _: FakeProviders) -> object:
        return [item async for item in items(await kind.stream(client))]

    asyncio.run(beside(workspace, kind, use, Answer(text="word " * 100_000, usage=ANSWER.usage)))
    event = workspace.event()
    assert (event.get("status", "ok"), figures(event)) == ("ok", USED)


@each("openai-responses", "openai-async-responses")
def test_the_helper_of_responses(kind: Kind, workspace: Workspace) -> None:
    async def use(client: Any, _: FakeProviders) -> object:
        manager = client.responses.stream(**kind.arguments)
        if kind.is_async:
            async with manager as stream:
                return [*[event async for event in stream], await stream.get_final_response()]
        with manager as stream:
            return [*stream, stream.get_final_response()]

    asyncio.run(beside(workspace, kind, use, ANSWER))
    assert figures(workspace.event()) == USED


def test_a_helper_that_is_left_early(workspace: Workspace, fake: FakeProviders) -> None:
    client = CHAT.make(fake)
    instrument(client, include_usage=True)
    with workspace.track(), client, client.chat.completions.stream(**CHAT.arguments) as stream:
        next(iter(stream))
    assert workspace.event()["status"] == "cancelled"


def test_an_answer_in_the_background_counts_once_however_often_it_is_fetched(
    workspace: Workspace, fake: FakeProviders
) -> None:
    fake.default = Answer(usage=Usage(input_tokens=50, output_tokens=9))
    with BY_NAME["openai-responses"].make(fake) as client:
        instrument()
        with workspace.track():
            made = client.responses.create(model="gpt-4o", input="hi", background=True)
            assert workspace.events() == []
            client.responses.retrieve(made.id)
            client.responses.with_raw_response.retrieve(made.id).parse()
            plain = client.responses.create(model="gpt-4o", input="hi")
            client.responses.retrieve(plain.id)
    events = workspace.events()
    assert len(events) == 3
    # the same id: what comes after the first is dropped downstream
    assert [event["response_id"] for event in events] == [made.id, made.id, plain.id]
    assert len({event["id"] for event in events}) == 2
    assert {json.dumps(figures(event)) for event in events} == {
        json.dumps({"input_tokens": 50, "output_tokens": 9})
    }


def test_a_background_answer_that_is_not_found_is_no_call(
    workspace: Workspace, fake: FakeProviders
) -> None:
    with BY_NAME["openai-responses"].make(fake) as client:
        instrument()
        with workspace.track(), pytest.raises(openai.NotFoundError):
            client.responses.retrieve("resp_none")
    assert workspace.events() == []

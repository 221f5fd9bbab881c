"""Every SDK, every way to call it: one event with the exact figures, and nothing that the caller or
the server could tell from the bare SDK."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.fakes import Answer, Fails, FakeProviders
from tests.integration.wrap.beside import beside
from tests.integration.wrap.kinds import ANSWER, USED, Kind, awaited, each, items
from tests.support.recording import Json, Workspace, figures

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]


def expect(event: Json, kind: Kind, used: Json | None = USED) -> None:
    """All that a whole answer says."""
    assert event["provider"] == kind.provider
    assert event.get("operation", "chat") == kind.operation
    assert event["request_model"] == kind.model
    assert event.get("status", "ok") == "ok"
    if used is None:
        assert "usage" not in event
        return
    assert figures(event) == used
    assert event["response_model"] == kind.model
    assert event.get("usage_quality", "measured") == "measured"
    assert event["response_id"]


@each()
def test_whole(kind: Kind, workspace: Workspace) -> None:
    async def use(client: Any, _: FakeProviders) -> object:
        return await kind.whole(client)

    asyncio.run(beside(workspace, kind, use, ANSWER))
    event = workspace.event()
    expect(event, kind)
    assert event["started_at_ms"] > 0
    assert event["duration_ms"] >= 0
    assert "time_to_first_token_ms" not in event


@each()
def test_streamed(kind: Kind, workspace: Workspace) -> None:
    """Where a server that is not OpenAI's own was not asked for the usage it is unknown."""

    async def use(client: Any, _: FakeProviders) -> object:
        stream = await kind.stream(client)
        return [type(stream), *[item async for item in items(stream)]]

    asyncio.run(beside(workspace, kind, use, ANSWER))
    event = workspace.event()
    expect(event, kind, USED if kind.measured else None)
    assert 0 <= event["time_to_first_token_ms"] <= event["duration_ms"]


@each("openai", "azure", measured=False)
def test_streamed_with_the_usage_that_the_caller_asks_for(kind: Kind, workspace: Workspace) -> None:
    async def use(client: Any, _: FakeProviders) -> object:
        stream = await kind.stream(client, stream_options={"include_usage": True})
        return [item async for item in items(stream)]

    asyncio.run(beside(workspace, kind, use, ANSWER))
    expect(workspace.event(), kind)


@each("openai", "azure", "anthropic")
def test_streamed_in_a_context(kind: Kind, workspace: Workspace) -> None:
    async def use(client: Any, _: FakeProviders) -> object:
        stream = await kind.stream(client)
        if kind.is_async:
            async with stream as entered:
                assert entered is stream
                return [item async for item in entered]
        with stream as entered:
            assert entered is stream
            return list(entered)

    asyncio.run(beside(workspace, kind, use, ANSWER))
    expect(workspace.event(), kind, USED if kind.measured else None)


@each()
@pytest.mark.parametrize("streamed", [False, True])
def test_what_the_sdk_repeats_is_one_call(kind: Kind, streamed: bool, workspace: Workspace) -> None:
    async def use(client: Any, _: FakeProviders) -> object:
        if streamed:
            return [item async for item in items(await kind.stream(client))]
        return await kind.whole(client)

    outcome = asyncio.run(beside(workspace, kind, use, Fails(429), Fails(503), ANSWER))
    assert len(outcome.sent) == 3
    expect(workspace.event(), kind, USED if kind.measured or not streamed else None)


@each("openai", "azure", "anthropic")
@pytest.mark.parametrize("streamed", [False, True])
def test_raw(kind: Kind, streamed: bool, workspace: Workspace) -> None:
    async def use(client: Any, _: FakeProviders) -> object:
        create = _owner(kind, client).with_raw_response.create
        more = {"stream": True} if streamed else {}
        raw = await awaited(create(**kind.arguments, **more))
        parsed = await awaited(raw.parse())
        if not streamed:
            return [type(raw), raw.status_code, dict(raw.headers), raw.content, parsed]
        chunks = [item async for item in items(parsed)]
        return [type(raw), raw.status_code, dict(raw.headers), type(parsed), *chunks]

    asyncio.run(beside(workspace, kind, use, ANSWER))
    expect(workspace.event(), kind, USED if kind.measured or not streamed else None)


async def _read(raw: Any) -> Any:
    return await awaited(raw.read())


async def _parse(raw: Any) -> Any:
    return await awaited(raw.parse())


async def _json(raw: Any) -> Any:
    return await awaited(raw.json())


async def _bytes(raw: Any) -> Any:
    return b"".join([item async for item in items(raw.iter_bytes())])


async def _small_bytes(raw: Any) -> Any:
    return [item async for item in items(raw.iter_bytes(7))]


async def _undecoded(raw: Any) -> Any:
    response = raw.http_response
    data = response.iter_raw() if hasattr(response.stream, "__iter__") else response.aiter_raw()
    return b"".join([item async for item in items(data)])


async def _lines(raw: Any) -> Any:
    return [item async for item in items(raw.iter_lines())]


async def _text(raw: Any) -> Any:
    return "".join([item async for item in items(raw.iter_text())])


async def _twice(raw: Any) -> Any:
    return [await awaited(raw.read()), await awaited(raw.parse()), await awaited(raw.text())]


@each("openai", "anthropic")
@pytest.mark.parametrize(
    "read", [_read, _parse, _json, _bytes, _small_bytes, _undecoded, _lines, _text, _twice]
)
def test_a_response_that_is_read_by_hand(kind: Kind, read: Any, workspace: Workspace) -> None:
    async def use(client: Any, _: FakeProviders) -> object:
        create = _owner(kind, client).with_streaming_response.create
        if kind.is_async:
            async with create(**kind.arguments) as raw:
                return [type(raw), await read(raw)]
        with create(**kind.arguments) as raw:
            return [type(raw), await read(raw)]

    asyncio.run(beside(workspace, kind, use, ANSWER))
    expect(workspace.event(), kind)


@each("openai", "anthropic")
@pytest.mark.parametrize("read", [_bytes, _small_bytes, _undecoded, _lines, _parse])
def test_a_stream_that_is_read_by_hand(kind: Kind, read: Any, workspace: Workspace) -> None:
    async def use(client: Any, _: FakeProviders) -> object:
        create = _owner(kind, client).with_streaming_response.create
        if kind.is_async:
            async with create(**kind.arguments, stream=True) as raw:
                told = await read(raw)
                return [item async for item in told] if read is _parse else told
        with create(**kind.arguments, stream=True) as raw:
            told = await read(raw)
            return list(told) if read is _parse else told

    asyncio.run(beside(workspace, kind, use, ANSWER))
    expect(workspace.event(), kind, USED if kind.measured else None)


def _owner(kind: Kind, client: Any) -> Any:
    create: Any = kind.create(client)
    return create.__self__


@each()
def test_an_answer_without_usage_is_unknown_and_not_zero(kind: Kind, workspace: Workspace) -> None:
    async def use(client: Any, _: FakeProviders) -> object:
        return await kind.whole(client)

    asyncio.run(beside(workspace, kind, use, Answer(usage=None)))
    expect(workspace.event(), kind, None)

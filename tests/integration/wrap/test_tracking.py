"""Who a call is for: what `track` says where it is called."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from spendstream.producers import UsageEmitter, carried, instrument, track, use
from spendstream.producers.tracking import tracked
from spendstream.schemas.event import MAX_TAGS
from tests.fakes import Answer, FakeProviders, Usage
from tests.integration.wrap.kinds import ANSWER, BY_NAME, MOST, USED, Kind, close, each, items
from tests.support.recording import Recording, Workspace, figures

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]


@each()
def test_a_stream_that_is_read_elsewhere(
    kind: Kind, workspace: Workspace, fake: FakeProviders
) -> None:
    fake.default = ANSWER

    async def run() -> None:
        client = kind.make(fake)
        with workspace.track(user_id="caller", tags={"a": "1"}):
            stream = await kind.stream(client)
        with track(workspace_id="another", user_id="reader"):
            async for _ in items(stream):
                assert tracked()["user_id"] == "reader"
        await close(client)

    instrument()
    asyncio.run(run())
    event = workspace.event()
    assert (event["user_id"], event["tags"]) == ("caller", {"a": "1"})


@pytest.mark.parametrize("name", ["gemini", "gemini-async"])
def test_a_chat_s_stream_that_is_read_elsewhere(
    name: str, workspace: Workspace, fake: FakeProviders
) -> None:
    kind = BY_NAME[name]
    fake.default = ANSWER

    async def run() -> None:
        client = kind.make(fake)
        chats = client.aio.chats if kind.is_async else client.chats
        chat = chats.create(model=kind.model)
        with workspace.track():
            stream = chat.send_message_stream("hi")
            stream = await stream if kind.is_async else stream
        assert [item.text async for item in items(stream)] == ["The fa", "ke says", " hello."]
        await close(client)

    instrument()
    asyncio.run(run())
    assert figures(workspace.event()) == USED


@each(*MOST, is_async=False)
def test_threads(kind: Kind, workspace: Workspace, fake: FakeProviders) -> None:
    """Each with its own user, and with what was said around all of them."""
    client = kind.make(fake)
    fake.default = ANSWER

    def work(number: int) -> None:
        with track(user_id=f"u-{number}"):
            kind.create(client)(**kind.arguments)

    instrument()
    with workspace.track(request_type="parallel"), ThreadPoolExecutor(8) as pool:
        list(pool.map(carried(work), range(24)))
    asyncio.run(close(client))
    events = workspace.events()
    assert {event["user_id"] for event in events} == {f"u-{n}" for n in range(24)}
    assert len(events) == 24
    assert {event["request_type"] for event in events} == {"parallel"}


@each(*MOST, is_async=True)
def test_coroutines(kind: Kind, workspace: Workspace, fake: FakeProviders) -> None:
    """Whole and streamed at once, each with figures of its own."""

    async def work(client: Any, number: int) -> None:
        with track(user_id=f"u-{number}"):
            await kind.whole(client)
            async for _ in items(await kind.stream(client)):
                await asyncio.sleep(0)

    async def run() -> None:
        client = kind.make(fake)
        with workspace.track():
            await asyncio.gather(*(work(client, number) for number in range(12)))
        await close(client)

    fake.next(*(Answer(usage=Usage(input_tokens=100 + n)) for n in range(24)))
    instrument()
    asyncio.run(run())
    events = workspace.events()
    assert sorted(event["user_id"] for event in events) == sorted(
        f"u-{n}" for n in range(12) for _ in range(2)
    )
    read = [figures(event)["input_tokens"] for event in events if "usage" in event]
    assert len(set(read)) == len(read) == (24 if kind.measured else 12)


@pytest.mark.parametrize("name", ["openai-chat", "anthropic", "gemini"])
def test_a_call_that_nobody_is_charged_for_is_counted(
    name: str,
    recording: Recording,
    workspace: Workspace,
    fake: FakeProviders,
    caplog: pytest.LogCaptureFixture,
) -> None:
    kind = BY_NAME[name]
    client = kind.make(fake)
    before = recording.dropped()
    instrument()
    with track(user_id="u"):
        kind.create(client)(**kind.arguments)
    asyncio.run(close(client))
    assert recording.dropped() - before == {"untracked": 1}


def test_tags_that_are_too_many_together_cost_no_event(
    workspace: Workspace, fake: FakeProviders, caplog: pytest.LogCaptureFixture
) -> None:
    """Each `track` is right on its own; what is charged does not depend on tags."""
    kind = BY_NAME["openai-chat"]
    client = kind.make(fake)
    fake.default = ANSWER
    instrument()
    with (
        caplog.at_level(logging.WARNING, "spendstream"),
        workspace.track(tags={f"a{n}": "x" for n in range(MAX_TAGS)}, user_id="u"),
        track(tags={f"b{n}": "x" for n in range(MAX_TAGS)}),
    ):
        kind.create(client)(**kind.arguments)
    asyncio.run(close(client))
    event = workspace.event()
    assert (figures(event), event["user_id"]) == (USED, "u")
    assert "tags" not in event
    assert "tags" in caplog.text


def test_without_an_emitter_nothing_is_instrumented() -> None:
    with pytest.raises(RuntimeError, match="use"):
        instrument()


def test_an_emitter_of_its_own(
    recording: Recording, workspace: Workspace, fake: FakeProviders
) -> None:
    kind = BY_NAME["anthropic"]
    client = kind.make(fake)
    use(None)
    instrument(client, emitter=recording.emitter)
    with workspace.track():
        kind.create(client)(**kind.arguments)
    asyncio.run(close(client))
    assert workspace.event()["provider"] == "anthropic"


def test_an_emitter_that_is_off_is_not_told(
    recording: Recording, workspace: Workspace, fake: FakeProviders
) -> None:
    kind = BY_NAME["anthropic"]
    client = kind.make(fake)
    off = UsageEmitter(recording.bootstrap_servers, enabled=False)
    instrument(client, emitter=off)
    kind.create(client)(**kind.arguments)
    asyncio.run(close(client))
    assert off.stats.dropped == {}
    assert workspace.events() == []

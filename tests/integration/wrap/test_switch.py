"""Switched on and off: of all clients, of one, in any order; and nothing remains."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import anthropic
import openai
import pytest

from spendstream.producers import instrument, uninstrument
from tests.fakes import FakeProviders
from tests.integration.wrap.kinds import ANSWER, BY_NAME, MOST, Kind, close, each
from tests.integration.wrap.patched import patched
from tests.support.recording import Workspace

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]

FIRST = ["openai-chat", "openai-async-chat", "azure-chat", "anthropic", "anthropic-async"]
ONE_EACH = [*FIRST, "gemini", "gemini-async"]
one_each = pytest.mark.parametrize("kind", [BY_NAME[name] for name in ONE_EACH], ids=str)


def calls(kind: Kind, workspace: Workspace, *clients: Any) -> list[int]:
    """How many events a call of each of the clients leaves."""

    async def run() -> list[int]:
        counts = []
        for client in clients:
            before = len(workspace.events())
            with workspace.track():
                await kind.whole(client)
            counts.append(len(workspace.events()) - before)
        for client in clients:
            await close(client)
        return counts

    return asyncio.run(run())


@one_each
def test_all_that_there_are_and_will_be(
    kind: Kind, workspace: Workspace, fake: FakeProviders
) -> None:
    before = kind.make(fake)
    instrument()
    assert calls(kind, workspace, before, kind.make(fake)) == [1, 1]


@one_each
def test_all_off(kind: Kind, workspace: Workspace, fake: FakeProviders) -> None:
    attributes = patched()
    before = kind.make(fake)
    instrument()
    assert patched() != attributes
    while_on = kind.make(fake)
    uninstrument()
    assert patched() == attributes
    assert calls(kind, workspace, before, while_on, kind.make(fake)) == [0, 0, 0]


@one_each
def test_one_client(kind: Kind, workspace: Workspace, fake: FakeProviders) -> None:
    client, other = kind.make(fake), kind.make(fake)
    fields = dict(vars(client))
    assert instrument(client) is client
    assert vars(client) == fields
    assert calls(kind, workspace, client, other) == [1, 0]


@one_each
def test_one_client_off(kind: Kind, workspace: Workspace, fake: FakeProviders) -> None:
    attributes = patched()
    client = kind.make(fake)
    fields = dict(vars(client))
    instrument(client)
    uninstrument(client)
    assert (vars(client), patched()) == (fields, attributes)
    assert calls(kind, workspace, client) == [0]


@one_each
def test_one_client_off_where_all_are_on(
    kind: Kind, workspace: Workspace, fake: FakeProviders
) -> None:
    client, other = kind.make(fake), kind.make(fake)
    instrument()
    uninstrument(client)
    assert calls(kind, workspace, client, other) == [0, 1]
    # all on again is all
    client = kind.make(fake)
    uninstrument(client)
    instrument()
    assert calls(kind, workspace, client) == [1]


@one_each
def test_twice_is_once(kind: Kind, workspace: Workspace, fake: FakeProviders) -> None:
    client = kind.make(fake)
    instrument()
    instrument()
    instrument(client)
    instrument(client)
    assert calls(kind, workspace, client) == [1]


def test_a_client_that_is_gone_is_forgotten(workspace: Workspace, fake: FakeProviders) -> None:
    import gc
    import weakref

    client = BY_NAME["openai-chat"].make(fake)
    instrument(client)
    client.close()
    gone = weakref.ref(client)
    del client
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("name", FIRST)
@pytest.mark.parametrize("copying", ["copy", "with_options"])
def test_a_copy_is_watched_as_its_client_is(
    name: str, copying: str, workspace: Workspace, fake: FakeProviders
) -> None:
    kind = BY_NAME[name]

    def copied(client: Any) -> Any:
        return getattr(client, copying)(max_retries=1)

    watched, plain, left = (kind.make(fake) for _ in range(3))
    instrument(watched)
    assert calls(kind, workspace, copied(copied(watched)), copied(plain)) == [1, 0]
    instrument()
    uninstrument(left)
    assert calls(kind, workspace, copied(left), copied(kind.make(fake))) == [0, 1]


def _on_top(owner: type[Any], name: str, seen: list[str]) -> Any:
    """As another tool wraps, and takes away its wrapper."""
    inner = vars(owner)[name]

    @functools.wraps(inner)
    def outer(*args: Any, **kwargs: Any) -> Any:
        seen.append(name)
        return inner(*args, **kwargs)

    setattr(owner, name, outer)
    return inner


@pytest.mark.parametrize("name", ["openai-chat", "anthropic"])
def test_another_tool_on_top(name: str, workspace: Workspace, fake: FakeProviders) -> None:
    kind = BY_NAME[name]
    owner = {"openai": openai, "anthropic": anthropic}[name.partition("-")[0]]._base_client
    base = owner.SyncAPIClient
    bare = vars(base)["request"]
    seen: list[str] = []
    instrument()
    ours = _on_top(base, "request", seen)
    assert calls(kind, workspace, kind.make(fake)) == [1]
    uninstrument()
    assert calls(kind, workspace, kind.make(fake)) == [0]
    instrument()
    assert calls(kind, workspace, kind.make(fake)) == [1]
    # copies too, whose own wrappers nobody was on top of
    client = kind.make(fake)
    uninstrument()
    instrument(client)
    assert calls(kind, workspace, client.with_options(max_retries=1)) == [1]
    assert len(seen) == 4
    base.request = ours
    uninstrument()
    assert vars(base)["request"] is bare


def test_another_tool_that_takes_ours_away(workspace: Workspace, fake: FakeProviders) -> None:
    """As a test's mock does that began before: what it puts back is the SDK's."""
    kind = BY_NAME["openai-chat"]
    base = openai._base_client.SyncAPIClient
    bare = vars(base)["request"]
    instrument()
    base.request = bare  # type: ignore[method-assign]
    instrument()
    assert calls(kind, workspace, kind.make(fake)) == [1]
    uninstrument()
    assert vars(base)["request"] is bare


@each(*MOST)
def test_what_began_before_is_still_recorded(
    kind: Kind, workspace: Workspace, fake: FakeProviders
) -> None:
    fake.default = ANSWER

    async def run() -> None:
        client = kind.make(fake)
        instrument()
        with workspace.track():
            stream = await kind.stream(client)
            if kind.is_async:
                await anext(aiter(stream))
                uninstrument()
                async for _ in stream:
                    pass
            else:
                next(iter(stream))
                uninstrument()
                list(stream)
        await close(client)

    asyncio.run(run())
    assert workspace.event().get("status", "ok") == "ok"


@pytest.mark.parametrize("target", [object(), "openai", openai, openai.OpenAI])
def test_what_is_no_client_is_refused(target: object, workspace: Workspace) -> None:
    with pytest.raises(ValueError, match="no client"):
        instrument(target)
    uninstrument(target)

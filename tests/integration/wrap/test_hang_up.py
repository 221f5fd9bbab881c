"""The caller goes away: before an answer, within a stream, or without having read any of it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from spendstream.producers import instrument
from tests.fakes import FakeProviders, Hangs
from tests.integration.wrap.kinds import (
    ANSWER,
    BY_NAME,
    MOST,
    Kind,
    awaited,
    close,
    each,
    items,
    part,
)
from tests.support.recording import Json, Workspace, figures

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]


@pytest.fixture(scope="module", autouse=True)
def _quick_garbage() -> Iterator[None]:
    """Only what the tests here make is looked at: the SDKs' modules alone are a million objects."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


Leave = Callable[[Kind, Any], Awaitable[None]]


async def _begun(kind: Kind, client: Any) -> Any:
    """A stream, read as far as its server has sent it."""
    stream = await kind.stream(client)
    reading = items(stream)
    for _ in range(part(kind).told):
        await anext(reading)
    # what reads it is left, not closed: the stream is the caller's
    return stream, reading


async def _forgotten(kind: Kind, client: Any) -> None:
    begun = await _begun(kind, client)
    del begun


async def _closed(kind: Kind, client: Any) -> None:
    stream, reading = await _begun(kind, client)
    if kind.sdk == "google":  # a generator that runs in another is closed by that
        await reading.aclose()
        del reading
    await close(stream)
    await close(stream)


async def _broken_out(kind: Kind, client: Any) -> None:
    count = 0
    async for _ in items(await kind.stream(client)):
        count += 1
        if count == part(kind).told:
            break


async def _left_by_an_error(kind: Kind, client: Any) -> None:
    if kind.sdk == "google":
        await _broken_out(kind, client)
        return
    stream = await kind.stream(client)
    with contextlib.suppress(ZeroDivisionError):
        async with contextlib.AsyncExitStack() as stack:
            if kind.is_async:
                await stack.enter_async_context(stream)
            else:
                stack.enter_context(stream)
            reading = items(stream)
            for _ in range(part(kind).told):
                await anext(reading)
            raise ZeroDivisionError


@each(*MOST)
@pytest.mark.parametrize("leave", [_forgotten, _closed, _broken_out, _left_by_an_error])
def test_a_stream_that_is_half_read(
    kind: Kind, leave: Leave, workspace: Workspace, fake: FakeProviders
) -> None:
    came = part(kind)
    fake.default = replace(ANSWER, fault=Hangs(after=came.sent))

    async def run() -> None:
        client = kind.make(fake)
        with workspace.track():
            await leave(kind, client)
        await _until_told(workspace)
        fake.release()
        await close(client)

    instrument()
    asyncio.run(run())
    _expect_cancelled(workspace.event(), came.used)


@each("openai", "azure", "anthropic")
@pytest.mark.parametrize("closes", [True, False])
def test_a_stream_that_is_never_read(
    kind: Kind, closes: bool, workspace: Workspace, fake: FakeProviders
) -> None:
    fake.default = ANSWER

    async def run() -> None:
        client = kind.make(fake)
        with workspace.track():
            stream = await kind.stream(client)
        if closes:
            await close(stream)
        del stream
        await _until_told(workspace)
        await close(client)

    instrument()
    asyncio.run(run())
    event = workspace.event()
    assert event["status"] == "cancelled"
    assert "usage" not in event


@each("gemini", "vertex")
def test_a_stream_of_google_that_is_never_read_is_never_asked_for(
    kind: Kind, workspace: Workspace, fake: FakeProviders
) -> None:
    async def run() -> None:
        client = kind.make(fake)
        with workspace.track():
            stream = await kind.stream(client)
        del stream
        gc.collect()
        await asyncio.sleep(0)
        await close(client)

    instrument()
    asyncio.run(run())
    assert (fake.requests, workspace.events()) == ([], [])


@each(*MOST, is_async=True)
@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize("timeout", [False, True])
def test_a_task_that_is_cancelled(
    kind: Kind, within: bool, timeout: bool, workspace: Workspace, fake: FakeProviders
) -> None:
    came = part(kind)
    fake.default = replace(ANSWER, fault=Hangs(after=came.sent if within else None))

    async def call(client: Any) -> None:
        if within:
            async for _ in items(await kind.stream(client)):
                pass
        else:
            await kind.whole(client)

    async def run() -> None:
        client = kind.make(fake)
        with workspace.track():
            if timeout:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(call(client), 0.3)
            else:
                task = asyncio.create_task(call(client))
                await asyncio.to_thread(fake.wait_for, 1)
                await asyncio.sleep(0.1)  # until it waits for what is held back
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
        fake.release()
        await close(client)

    instrument()
    asyncio.run(run())
    _expect_cancelled(workspace.event(), came.used if within else {})


class _OutOfTime(BaseException):
    """As workers of Celery and RQ raise in what takes too long."""


@each(*MOST, is_async=False)
@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt, "cancelled"), (_OutOfTime, "error")]
)
def test_an_interrupt_of_a_thread_that_waits(
    kind: Kind,
    error: type[BaseException],
    status: str,
    workspace: Workspace,
    fake: FakeProviders,
) -> None:
    fake.default = replace(ANSWER, fault=Hangs())
    client = kind.make(fake)

    def interrupt() -> None:
        fake.wait_for(1)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    def handle(*_: object) -> None:
        raise error

    before = signal.signal(signal.SIGUSR1, handle)
    instrument()
    try:
        threading.Thread(target=interrupt).start()
        with workspace.track(), pytest.raises(error):
            kind.create(client)(**kind.arguments)
    finally:
        signal.signal(signal.SIGUSR1, before)
        fake.release()
    asyncio.run(close(client))
    event = workspace.event()
    assert event["status"] == status
    assert "usage" not in event


async def _until_told(workspace: Workspace) -> None:
    """What nobody holds any more is found by the garbage collector, and closed by the loop."""
    deadline = time.monotonic() + 5
    while not workspace.events() and time.monotonic() < deadline:
        gc.collect()
        await asyncio.sleep(0.002)


def _expect_cancelled(event: Json, used: Json) -> None:
    assert event["status"] == "cancelled"
    assert figures(event) == used
    if used:
        assert event["usage_quality"] == "estimated"


def test_no_event_is_doubled_by_closing_it_again(workspace: Workspace, fake: FakeProviders) -> None:
    kind = BY_NAME["anthropic"]
    fake.default = ANSWER

    async def run() -> None:
        client = kind.make(fake)
        with workspace.track():
            stream = await kind.stream(client)
        assert len([item async for item in items(stream)]) == 8
        for _ in range(2):
            await awaited(stream.close())
        del stream
        gc.collect()
        await close(client)

    instrument()
    asyncio.run(run())
    assert workspace.event().get("status", "ok") == "ok"

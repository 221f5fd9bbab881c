"""What goes wrong on the provider's side: one event, with its status and what is known of usage,
and the error that the bare SDK raises."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tests.fakes import Cuts, Empty, Fails, FakeProviders, Hangs, Malformed
from tests.fakes.faults import Fault
from tests.integration.wrap.beside import beside
from tests.integration.wrap.kinds import ANSWER, MOST, Kind, each, items, part
from tests.support.recording import Json, Workspace, figures

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]


async def _read(kind: Kind, client: Any) -> object:
    """All that comes, and what ends it."""
    told: list[object] = []
    try:
        async for item in items(await kind.stream(client)):
            told.append(item)
    except Exception as error:
        told.append(error)
    return told


def _expect_error(event: Json, kind: Kind) -> None:
    assert event["status"] == "error"
    assert event["provider"] == kind.provider
    assert event["request_model"] == kind.model


@each(*MOST)
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    "fault",
    [Fails(400), Fails(401), Fails(404), Fails(429), Fails(500), Cuts(), Hangs()],
    ids=lambda fault: f"{type(fault).__name__}{getattr(fault, 'status', '')}",
)
def test_no_answer(kind: Kind, fault: Fault, streamed: bool, workspace: Workspace) -> None:
    """However often the SDK has tried."""

    async def use(client: Any, _: FakeProviders) -> object:
        return await (_read(kind, client) if streamed else kind.whole(client))

    hangs = isinstance(fault, Hangs)
    again = isinstance(fault, Fails) and fault.status in (429, 500)
    options: Json = {"max_retries": int(again), "timeout": 0.1 if hangs else 10}
    outcome = asyncio.run(beside(workspace, kind, use, default=fault, **options))
    assert len(outcome.sent) == 1 + again
    event = workspace.event()
    _expect_error(event, kind)
    assert "usage" not in event


@each(*MOST)
@pytest.mark.parametrize("fault", [Malformed(), Cuts(after=0)], ids=["malformed", "cut"])
def test_half_an_answer(kind: Kind, fault: Fault, workspace: Workspace) -> None:
    async def use(client: Any, _: FakeProviders) -> object:
        return await kind.whole(client)

    asyncio.run(beside(workspace, kind, use, default=fault, max_retries=0))
    event = workspace.event()
    _expect_error(event, kind)
    assert "usage" not in event


@each(*MOST)
@pytest.mark.parametrize("streamed", [False, True])
def test_an_empty_answer(kind: Kind, streamed: bool, workspace: Workspace) -> None:
    """Which is no error to every SDK, but never usage of zero."""

    async def use(client: Any, _: FakeProviders) -> object:
        return await (_read(kind, client) if streamed else kind.whole(client))

    outcome = asyncio.run(beside(workspace, kind, use, Empty(), max_retries=0))
    event = workspace.event()
    raises = "Error" in str(outcome.told)
    assert event.get("status", "ok") == ("error" if raises else "ok")
    assert "usage" not in event


@each(*MOST)
@pytest.mark.parametrize("fault", [Fails(), Cuts(), Malformed()], ids=lambda f: type(f).__name__)
def test_a_stream_that_breaks(kind: Kind, fault: Fault, workspace: Workspace) -> None:
    """What came of it was used, at least."""
    came = part(kind)
    assert isinstance(fault, Fails | Cuts | Malformed)
    answer = replace(ANSWER, fault=replace(fault, after=came.sent))

    async def use(client: Any, _: FakeProviders) -> object:
        return await _read(kind, client)

    asyncio.run(beside(workspace, kind, use, answer, max_retries=0))
    event = workspace.event()
    _expect_error(event, kind)
    if isinstance(fault, Fails) and kind.sdk == "openai":
        assert "usage" not in event  # what fails there is unknown, if it is billed at all
    else:
        assert figures(event) == came.used
        assert event["usage_quality"] == "estimated"

"""Who a call is for, said around it: nesting, decorators, tasks, threads, generators."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import ValidationError

from spendstream.producers import carried, track, tracked
from spendstream.schemas import Trackable


def test_inner_adds_to_outer_and_stands_above_it() -> None:
    with track(workspace_id="ws", user_id="u", tags={"team": "a", "env": "x"}, metadata={"k": 1}):
        with track(user_id="v", tags={"env": "y"}, trackable=("doc", "7"), metadata={"l": [2]}):
            assert tracked() == {
                "workspace_id": "ws",
                "user_id": "v",
                "tags": {"team": "a", "env": "y"},
                "trackable": Trackable(type="doc", id="7"),
                "metadata": {"k": 1, "l": [2]},
            }
        assert tracked()["tags"] == {"team": "a", "env": "x"}
        assert "trackable" not in tracked()
    assert tracked() == {}


def test_an_error_ends_it() -> None:
    with pytest.raises(ZeroDivisionError), track(workspace_id="ws"):
        raise ZeroDivisionError
    assert tracked() == {}


def test_one_object_within_itself() -> None:
    again = track(workspace_id="ws")
    with again, again:
        assert tracked() == {"workspace_id": "ws"}
    assert tracked() == {}


@pytest.mark.parametrize(
    "wrong",
    [{"workspace_id": ""}, {"user_id": "a\nb"}, {"tags": {"a": 1}}, {"metadata": {"a": object()}}],
)
def test_what_no_event_could_have_is_refused_where_it_is_said(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        track(**wrong)  # type: ignore[arg-type]


@track(request_type="grading")
def graded(number: int) -> tuple[int, dict[str, object]]:
    return number, dict(tracked())


def test_a_decorated_function() -> None:
    with track(workspace_id="ws"):
        assert graded(3) == (3, {"workspace_id": "ws", "request_type": "grading"})
    assert graded.__name__ == "graded"


@track(request_type="summary")
async def summarised(workspace: str) -> dict[str, object]:
    with track(workspace_id=workspace):
        await asyncio.sleep(0.001)
        return dict(tracked())


def test_tasks_do_not_see_each_other() -> None:
    async def main() -> list[dict[str, object]]:
        with track(user_id="u"):
            return await asyncio.gather(*(summarised(f"ws-{n}") for n in range(20)))

    assert asyncio.run(main()) == [
        {"user_id": "u", "request_type": "summary", "workspace_id": f"ws-{n}"} for n in range(20)
    ]


def test_to_thread_and_carried_take_it_along() -> None:
    async def main() -> dict[str, object]:
        with track(workspace_id="ws"):
            return await asyncio.to_thread(lambda: dict(tracked()))

    assert asyncio.run(main()) == {"workspace_id": "ws"}
    with ThreadPoolExecutor(1) as pool:
        with track(workspace_id="ws"):
            work = carried(lambda: dict(tracked()))
        assert pool.submit(work).result() == {"workspace_id": "ws"}
        assert pool.submit(lambda: dict(tracked())).result() == {}


@track(request_type="stream")
def streamed() -> Generator[object, str, str]:
    try:
        got = yield dict(tracked())
    except KeyError:
        got = "thrown"
    yield got, dict(tracked())
    return "end"


def test_a_generator_holds_it_only_while_it_runs() -> None:
    stream = streamed()
    assert next(stream) == {"request_type": "stream"}
    assert tracked() == {}
    assert stream.send("sent") == ("sent", {"request_type": "stream"})
    with pytest.raises(StopIteration) as end:
        next(stream)
    assert end.value.value == "end"
    thrown = streamed()
    next(thrown)
    assert thrown.throw(KeyError()) == ("thrown", {"request_type": "stream"})


def test_a_generator_that_nobody_finishes_closes_inside() -> None:
    seen: list[object] = []

    @track(request_type="stream")
    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            seen.append(dict(tracked()))

    stream = endless()
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert seen == [{"request_type": "stream"}]
    assert tracked() == {}


def test_an_async_generator_holds_it_only_while_it_runs() -> None:
    @track(request_type="stream")
    async def numbers() -> AsyncIterator[object]:
        for _ in range(3):
            await asyncio.sleep(0)
            yield dict(tracked())

    async def main() -> list[object]:
        found: list[object] = []
        async for one in numbers():
            found.append((one, dict(tracked())))
        return found

    assert asyncio.run(main()) == [({"request_type": "stream"}, {})] * 3


def test_generators_that_end_in_another_order_than_they_began_leave_nothing() -> None:
    def within(workspace: str) -> Iterator[int]:
        with track(workspace_id=workspace, tags={workspace: "1"}):
            yield 1

    first, second = within("a"), within("b")
    with track(user_id="u"):
        next(first)
        next(second)
        assert next(first, None) is None
        assert tracked() == {"user_id": "u", "workspace_id": "b", "tags": {"b": "1"}}
        assert next(second, None) is None
        assert tracked() == {"user_id": "u"}
    assert tracked() == {}

"""Any method of any object: one event a call, whatever kind of method it is."""

from __future__ import annotations

import asyncio
import gc
import inspect
from collections.abc import AsyncIterator, Iterator
from types import AsyncGeneratorType, GeneratorType
from typing import Any

import pytest

from spendstream.producers import instrument, uninstrument
from spendstream.schemas import Usage
from tests.support.recording import Workspace, figures

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]

WORDS = ["one", "two", "three"]


class Items:
    """An iterator that is no generator, as SDKs have them, with things of its own."""

    def __init__(self) -> None:
        self._left = list(WORDS)
        self.response = "the response"
        self.closed = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if not self._left:
            raise StopIteration
        return self._left.pop(0)

    def __enter__(self) -> Items:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self.closed = True


class Model:
    name = "base"

    def whole(self, prompt: str, *, model: str = "m") -> list[str]:
        """Says it."""
        return [prompt, *WORDS]

    async def whole_async(self, prompt: str, *, model: str = "m") -> list[str]:
        await asyncio.sleep(0)
        return [prompt, *WORDS]

    def stream(self, prompt: str, *, model: str = "m") -> Iterator[str]:
        yield from WORDS

    async def stream_async(self, prompt: str, *, model: str = "m") -> AsyncIterator[str]:
        for word in WORDS:
            yield word

    async def stream_awaited(self, prompt: str, *, model: str = "m") -> AsyncIterator[str]:
        return self.stream_async(prompt)

    def items(self, prompt: str, *, model: str = "m") -> Items:
        return Items()

    def fails(self, prompt: str, *, model: str = "m") -> None:
        raise ZeroDivisionError

    async def fails_async(self, prompt: str, *, model: str = "m") -> None:
        raise ZeroDivisionError

    def stream_fails(self, prompt: str, *, model: str = "m") -> Iterator[str]:
        yield "one"
        raise ZeroDivisionError

    def echo(self, prompt: str, *, model: str = "m") -> Iterator[str]:
        said = yield prompt
        while said:
            said = yield said

    @classmethod
    def of_class(cls, prompt: str, *, model: str = "m") -> str:
        return cls.name

    @staticmethod
    def static(prompt: str, *, model: str = "m") -> str:
        return prompt


class Special(Model):
    name = "special"


def count(payload: Any) -> Usage:
    """A token a word."""
    return Usage(input_tokens=1, output_tokens=len(payload))


async def _all_of(answer: Any) -> Any:
    if inspect.isawaitable(answer):
        answer = await answer
    if hasattr(answer, "__anext__"):
        return [item async for item in answer]
    return list(answer) if hasattr(answer, "__next__") else answer


@pytest.mark.parametrize("of_class", [False, True])
@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("whole", 4),
        ("whole_async", 4),
        ("stream", 3),
        ("stream_async", 3),
        ("stream_awaited", 3),
        ("items", 3),
        ("of_class", 4),
        ("static", 2),
    ],
)
def test_every_kind(method: str, words: int, of_class: bool, workspace: Workspace) -> None:
    bare = asyncio.run(_all_of(getattr(Model(), method)("hi")))
    attributes = dict(vars(Model))
    model = Model()
    target: Any = Model if of_class else model
    assert instrument(target, method, count, provider="vllm", operation="chat") is target
    with workspace.track():
        told = asyncio.run(_all_of(getattr(model, method)("hi", model="m-1")))
    assert told == bare
    event = workspace.event()
    assert figures(event) == {"input_tokens": 1, "output_tokens": words}
    assert (event["provider"], event["request_model"]) == ("vllm", "m-1")
    uninstrument(target, method)
    asyncio.run(_all_of(getattr(model, method)("hi")))
    assert (vars(model), dict(vars(Model))) == ({}, attributes)
    workspace.event()


def test_what_it_looks_like(workspace: Workspace) -> None:
    model = Model()
    for method in ("whole", "stream", "stream_async", "items", "whole_async"):
        instrument(model, method, count, provider="vllm")
    assert model.whole.__doc__ == "Says it."
    assert inspect.signature(model.whole) == inspect.signature(Model().whole)
    assert inspect.iscoroutinefunction(model.whole_async)
    assert isinstance(model.stream(""), GeneratorType)
    assert isinstance(model.stream_async(""), AsyncGeneratorType)
    items = model.items("")
    assert isinstance(items, Items)
    assert items.response == "the response"
    with items as entered:
        assert list(entered) == WORDS
    assert items.closed
    uninstrument()
    assert vars(model) == {}


@pytest.mark.parametrize("method", ["fails", "fails_async", "stream_fails"])
def test_what_it_raises(method: str, workspace: Workspace) -> None:
    model = Model()
    instrument(model, method, count, provider="vllm")
    with workspace.track(), pytest.raises(ZeroDivisionError):
        asyncio.run(_all_of(getattr(model, method)("hi")))
    event = workspace.event()
    assert event["status"] == "error"
    assert figures(event) == (
        {"input_tokens": 1, "output_tokens": 1} if method == "stream_fails" else {}
    )


@pytest.mark.parametrize("method", ["stream", "stream_async", "items"])
@pytest.mark.parametrize("closes", [False, True])
def test_half_read(method: str, closes: bool, workspace: Workspace) -> None:
    model = Model()
    instrument(model, method, count, provider="vllm")

    async def run() -> None:
        with workspace.track():
            stream = getattr(model, method)("hi")
        if method == "stream_async":
            await anext(stream)
            if closes:
                await stream.aclose()
        else:
            next(stream)
            if closes:
                stream.close()
        del stream
        gc.collect()

    asyncio.run(run())
    event = workspace.event()
    assert event["status"] == "cancelled"
    assert figures(event) == {"input_tokens": 1, "output_tokens": 1}


def test_a_generator_that_is_sent_to(workspace: Workspace) -> None:
    model = Model()
    instrument(model, "echo", count, provider="vllm")
    with workspace.track():
        talk: Any = model.echo("a")
        assert [next(talk), talk.send("b"), talk.send("c")] == ["a", "b", "c"]
        with pytest.raises(StopIteration):
            talk.send("")
    event = workspace.event()
    assert event.get("status", "ok") == "ok"
    assert figures(event) == {"input_tokens": 1, "output_tokens": 3}


def test_a_class_method_has_the_class_that_it_is_called_of(workspace: Workspace) -> None:
    instrument(Model, "of_class", count, provider="vllm")
    with workspace.track():
        assert (Model.of_class(""), Special.of_class(""), Special().of_class("")) == (
            "base",
            "special",
            "special",
        )
    assert len(workspace.events()) == 3


def test_an_inherited_method_of_one_class_only(workspace: Workspace) -> None:
    instrument(Special, "whole", count, provider="vllm")
    with workspace.track():
        Special().whole("hi")
        Model().whole("hi")
    workspace.event()
    uninstrument(Special)
    assert "whole" not in vars(Special)


def test_twice_is_once_with_the_last_extractor(workspace: Workspace) -> None:
    model = Model()
    instrument(model, "whole", None, provider="vllm")
    instrument(model, "whole", count, provider="vllm")
    with workspace.track():
        model.whole("hi")
    assert figures(workspace.event()) == {"input_tokens": 1, "output_tokens": 4}


@pytest.mark.parametrize(
    "extractor", [lambda _: None, lambda _: 1 / 0, lambda _: "four"], ids=["none", "raises", "text"]
)
def test_an_extractor_that_finds_nothing_costs_no_event(
    extractor: Any, workspace: Workspace
) -> None:
    model = Model()
    instrument(model, "whole", extractor, provider="vllm")
    with workspace.track():
        assert model.whole("hi") == ["hi", *WORDS]
    assert "usage" not in workspace.event()


def test_by_default_it_is_read_as_its_provider_answers(workspace: Workspace) -> None:
    class Gateway:
        def ask(self) -> dict[str, Any]:
            return {"model": "m", "usage": {"prompt_tokens": 5, "completion_tokens": 2}}

    gateway = Gateway()
    instrument(gateway, "ask", provider="openai")
    with workspace.track():
        gateway.ask()
    assert figures(workspace.event()) == {"input_tokens": 5, "output_tokens": 2}


@pytest.mark.parametrize("method", ["absent", "name"])
def test_what_is_no_method_is_refused(method: str, workspace: Workspace) -> None:
    with pytest.raises(ValueError, match="no method"):
        instrument(Model(), method, count, provider="vllm")
    with pytest.raises(ValueError, match="replaced"):
        instrument([], "append", count, provider="vllm")

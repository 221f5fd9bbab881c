"""Answers, clients and callers as they seldom are: the usage is still right, and the caller is told
what the bare SDK tells it. The real SDKs, with a transport in memory."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from spendstream.producers import Drop, instrument, track, uninstrument
from spendstream.producers.extract import estimate, usage_from
from spendstream.producers.wrap.seen import Hiding, Seen
from tests.support.collecting import Collected

Json = dict[str, Any]

BODY: Json = {
    "id": "c1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
}
CHUNK: Json = {
    "id": "c1",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "gpt-4o",
    "choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}],
    "usage": None,
}
USAGE: Json = {**CHUNK, "choices": [], "usage": BODY["usage"]}
SAYS: Any = [{"role": "user", "content": "hi"}]
CHAT: Json = {"model": "gpt-4o", "messages": SAYS}


def sse(*events: Json) -> bytes:
    named = [
        f"event: {one['type']}\ndata: {json.dumps(one)}\n\n"
        if "type" in one
        else f"data: {json.dumps(one)}\n\n"
        for one in events
    ]
    return "".join(named).encode()


STREAM = sse(CHUNK, USAGE) + b"data: [DONE]\n\n"


def pieces(body: bytes) -> Iterator[bytes]:
    yield from (body[at : at + 4000] for at in range(0, len(body), 4000))


def http(body: Any, **options: Any) -> httpx2.Client:
    """Which is told `body`: JSON, or as it is; a function is asked each time."""

    def told(_: httpx2.Request) -> httpx2.Response:
        said = body() if callable(body) else body
        kind = "application/json" if isinstance(said, dict) else "text/event-stream"
        content = json.dumps(said).encode() if isinstance(said, dict) else said
        return httpx2.Response(200, headers={"content-type": kind}, content=content)

    return httpx2.Client(transport=httpx2.MockTransport(told), **options)


def client(body: Any, kind: type[openai.OpenAI] = openai.OpenAI, **options: Any) -> openai.OpenAI:
    return kind(api_key="k", http_client=http(body, **options))


@pytest.fixture
def collected() -> Iterator[Collected]:
    yield Collected()
    uninstrument()


def figures(collected: Collected) -> tuple[int, int]:
    usage = collected.one().usage
    assert usage is not None
    return usage.input_tokens, usage.output_tokens


@pytest.mark.parametrize("path", ["/chat/completions", "chat/completions"])
def test_an_answer_that_is_a_plain_object(path: str, collected: Collected) -> None:
    one = instrument(client(BODY), emitter=collected.emitter)
    with track(workspace_id="ws"):
        assert one.post(path, cast_to=object, body=CHAT) == BODY
    assert figures(collected) == (10, 5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: client(STREAM),
        lambda: client(
            lambda: pieces(STREAM), event_hooks={"response": [lambda response: response.read()]}
        ),
    ],
    ids=["transport", "hook"],
)
def test_a_stream_that_somebody_has_read_before(
    make: Callable[[], openai.OpenAI], collected: Collected
) -> None:
    one = instrument(make(), emitter=collected.emitter)
    with track(workspace_id="ws"):
        chunks = list(one.chat.completions.create(**CHAT, stream=True))
    assert ["usage" in chunk.to_dict() for chunk in chunks] == [False]
    assert figures(collected) == (10, 5)


@pytest.mark.parametrize("host", ["api.openai.com", "eu.api.openai.com"])
def test_a_region_of_openai_takes_what_openai_takes(host: str, collected: Collected) -> None:
    one = client(STREAM)
    one.base_url = f"https://{host}/v1"
    instrument(one, emitter=collected.emitter)
    with track(workspace_id="ws"):
        chunks = list(one.chat.completions.create(**CHAT, stream=True))
    assert ["usage" in chunk.to_dict() for chunk in chunks] == [False]


def test_a_client_that_has_no_hash(collected: Collected) -> None:
    class Equal(openai.OpenAI):
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            return True

    instrument(emitter=collected.emitter)
    with track(workspace_id="ws"):
        client(BODY, Equal).with_options(timeout=5).chat.completions.create(**CHAT)
    assert figures(collected) == (10, 5)


DEEP = b'{"a":' * 100_000 + b"1" + b"}" * 100_000


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({**BODY, "status": {}}, id="a status that is none"),
        pytest.param(b"data: " + DEEP + b"\n\n" + STREAM, id="too deep for JSON"),
    ],
)
def test_what_cannot_be_read_along_is_the_caller_s_to_read(body: Any, collected: Collected) -> None:
    content = json.dumps(body).encode() if isinstance(body, dict) else body

    def told(_: httpx2.Request) -> httpx2.Response:
        kind = "application/json" if isinstance(body, dict) else "text/event-stream"
        return httpx2.Response(200, headers={"content-type": kind}, content=pieces(content))

    one = openai.OpenAI(
        api_key="k", http_client=httpx2.Client(transport=httpx2.MockTransport(told))
    )
    instrument(one, include_usage=False, emitter=collected.emitter)
    create = one.chat.completions.with_streaming_response.create
    with track(workspace_id="ws"), create(**CHAT, stream=True) as raw:
        assert b"".join(raw.iter_bytes()) == content
    assert figures(collected) == (10, 5)


def test_a_fault_of_reading_along_is_not_the_caller_s(
    collected: Collected, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_: object) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr(estimate, "has_text", fails)
    one = instrument(client(lambda: pieces(STREAM)), emitter=collected.emitter)
    with track(workspace_id="ws"):
        assert len(list(one.chat.completions.create(**CHAT, stream=True))) == 1
    assert collected.one().status == "ok"
    assert "could not be read along" in caplog.text


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_background_answer_without_usage_counts_once(status: str, collected: Collected) -> None:
    body = {"id": "resp_1", "object": "response", "created_at": 1_700_000_000, "usage": None}
    one = client({**body, "status": status, "background": True, "model": "gpt-4o", "output": []})
    instrument(one, emitter=collected.emitter)
    with track(workspace_id="ws"):
        for _ in range(2):
            one.responses.retrieve("resp_1")
    assert collected.ids == ["resp_1", "resp_1"]
    assert [event.usage for event in collected.events] == [None, None]


HANDOVER: Json = {
    "type": "fallback",
    "from": {"model": "claude-a"},
    "to": {"model": "claude-b"},
    "trigger": {"type": "refusal", "category": "cyber"},
}
PASSES: Json = {
    "input_tokens": 50,
    "output_tokens": 5,
    "iterations": [
        {"type": "message", "model": "claude-a", "input_tokens": 40, "output_tokens": 0},
        {"type": "fallback_message", "model": "claude-b", "input_tokens": 50, "output_tokens": 5},
    ],
}
MESSAGE: Json = {
    "id": "m1",
    "type": "message",
    "role": "assistant",
    "model": "claude-a",
    "stop_reason": "end_turn",
    "content": [HANDOVER, {"type": "text", "text": "hi"}],
    "usage": PASSES,
}
START: Json = {**MESSAGE, "content": [], "stop_reason": None, "usage": {"input_tokens": 40}}
EVENTS: list[Json] = [
    {"type": "message_start", "message": START},
    {"type": "content_block_start", "index": 0, "content_block": HANDOVER},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": PASSES},
    {"type": "message_stop"},
]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_model_that_declined_is_charged_as_the_handover_says(
    streamed: bool, collected: Collected
) -> None:
    """The wrappers look at a part of an answer only; this is in its content."""
    direct = usage_from(EVENTS if streamed else MESSAGE, provider="anthropic")
    one = anthropic.Anthropic(api_key="k", http_client=http(sse(*EVENTS) if streamed else MESSAGE))
    instrument(one, emitter=collected.emitter)
    with track(workspace_id="ws"):
        answer: Any = one.messages.create(
            model="claude-a", max_tokens=9, messages=SAYS, stream=streamed
        )
        if streamed:
            list(answer)
    assert direct is not None
    assert direct.other_models == ()
    assert collected.one().usage == direct
    assert collected.one().response_model == "claude-b"


def test_a_stream_that_is_open_at_a_fork_is_the_parent_s(collected: Collected) -> None:
    one = instrument(client(lambda: pieces(STREAM)), emitter=collected.emitter)
    with track(workspace_id="ws"):
        stream: Any = one.chat.completions.create(**CHAT, stream=True)
    child = os.fork()
    if not child:
        stream.close()
        gc.collect()
        os._exit(len(collected.events))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    list(stream)
    assert figures(collected) == (10, 5)


class Begins:
    """A method that begins what is awaited later."""

    async def _work(self) -> Json:
        await asyncio.sleep(0)
        return BODY

    def begin(self) -> asyncio.Task[Json]:
        return asyncio.get_running_loop().create_task(self._work())


@pytest.mark.parametrize("cancels", [False, True])
def test_a_method_that_returns_a_task(cancels: bool, collected: Collected) -> None:
    begins = Begins()
    instrument(begins, "begin", provider="openai", emitter=collected.emitter)

    async def call() -> None:
        with track(workspace_id="ws"):
            task = begins.begin()
        assert isinstance(task, asyncio.Task)
        if cancels:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            assert await task == BODY

    asyncio.run(call())
    assert collected.one().status == ("cancelled" if cancels else "ok")
    assert (collected.one().usage is None) == cancels


def test_a_method_that_nobody_answers_is_refused(collected: Collected) -> None:
    with pytest.raises(ValueError, match="provider: say who answers"):
        instrument(Begins(), "begin", provider="", emitter=collected.emitter)


def test_that_nothing_is_imported_is_said(
    collected: Collected, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("openai", "anthropic", "google.genai", "litellm"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    instrument(emitter=collected.emitter)
    assert "no supported SDK is imported yet" in caplog.text


def test_neither_prompt_nor_key_is_in_an_event_or_a_log(
    collected: Collected, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="spendstream")
    said: Any = [{"role": "user", "content": "a secret prompt"}]
    answer = {**BODY, "choices": [{"index": 0, "message": {"content": "a secret answer"}}]}
    for usage in (
        BODY["usage"],
        {"prompt_tokens": "many"},
        {"prompt_tokens": 1, "total_tokens": 9},
    ):
        one = openai.OpenAI(api_key="sk-secret", http_client=http({**answer, "usage": usage}))
        instrument(one, emitter=collected.emitter)
        with track(workspace_id="ws"):
            one.chat.completions.create(model="gpt-4o", messages=said)
    assert len(collected.events) == 3
    told = caplog.text + "".join(event.model_dump_json() for event in collected.events)
    assert "no count" in told
    assert "secret" not in told


@pytest.mark.parametrize("size", [1, 2, 3, 7, 65_536])
@pytest.mark.parametrize("kind", [Seen, Hiding])
def test_a_long_event_takes_no_longer_for_coming_in_pieces(kind: type[Seen], size: int) -> None:
    """Looked at anew with each piece, one of 4 MB held its reader up for seconds."""
    text = "a" * (4 << 20) if size > 7 else "a" * 20
    body = sse({**CHUNK, "usage": 1, "b64_json": text}, USAGE).replace(b"\n", b"\r\n")
    seen = kind()
    begun = time.process_time()
    shown = [seen.feed(body[at : at + size]) for at in range(0, len(body), size)]
    shown.append(seen.flush())
    assert time.process_time() - begun < 0.5
    assert len(seen.all()) == 2
    assert b"".join(shown) == (body if kind is Seen else body[: body.index(b"\r\n\r\n") + 4])


def test_an_event_has_the_standard_name_of_its_provider(collected: Collected) -> None:
    one = instrument(client(BODY), provider="Mistral", emitter=collected.emitter)
    with track(workspace_id="ws"):
        one.chat.completions.create(**CHAT)
    assert collected.one().provider == "mistral_ai"


def test_a_call_that_cannot_be_understood_goes_on_and_is_counted(
    collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = instrument(client(BODY), emitter=collected.emitter)

    def odd(*_: object, **__: object) -> None:
        raise AttributeError("options have no url")

    monkeypatch.setattr("spendstream.producers.wrap.openai.OpenAI.asked", odd)
    with track(workspace_id="ws"):
        assert one.chat.completions.create(**CHAT).id == "c1"
    assert collected.dropped == [Drop.INVALID]
    assert not collected.events


def test_what_is_left_out_of_an_event_is_named_and_not_told(
    collected: Collected, caplog: pytest.LogCaptureFixture
) -> None:
    one = instrument(client(BODY), emitter=collected.emitter)
    with (
        track(workspace_id="ws", tags={f"a{n}": "secret" for n in range(20)}),
        track(tags={f"b{n}": "secret" for n in range(20)}),
    ):
        one.chat.completions.create(**CHAT)
    assert collected.one().tags == {}
    assert "an event goes without tags" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("event", "tells"),
    [
        ({"usage": None, "x_groq": {"usage": {"total_tokens": 15}}}, True),
        ({"x_groq": {"usage": {"total_tokens": 15}}, "usage": None}, True),
        ({"usageMetadata": {"totalTokenCount": 15}}, True),
        ({"usage": None, "choices": []}, False),
    ],
)
def test_one_null_hides_no_other_usage(event: Json, tells: bool) -> None:
    seen = Seen()
    seen.feed(b"data: " + json.dumps(event).encode() + b"\n\n")
    assert len(seen.telling()) == tells

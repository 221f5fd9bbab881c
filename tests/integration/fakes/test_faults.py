"""What goes wrong on the fake's side is what the SDKs find."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors

from tests.fakes import (
    Answer,
    Cuts,
    Delays,
    Empty,
    Fails,
    FakeProviders,
    Hangs,
    Malformed,
    Received,
    Usage,
)

MESSAGES: Any = [{"role": "user", "content": "hi"}]
Whole = Callable[[FakeProviders], object]
Stream = Callable[[FakeProviders], Iterable[object]]


def ask_openai(fake: FakeProviders, **options: Any) -> Any:
    with openai.OpenAI(base_url=fake.openai_url, api_key="k", timeout=5) as client:
        return client.chat.completions.create(model="gpt-4o", messages=MESSAGES, **options)


def ask_anthropic(fake: FakeProviders, **options: Any) -> Any:
    with anthropic.Anthropic(base_url=fake.anthropic_url, api_key="k", timeout=5) as client:
        return client.messages.create(model="claude", max_tokens=9, messages=MESSAGES, **options)


def gemini(fake: FakeProviders) -> genai.Client:
    retries = genai.types.HttpRetryOptions(attempts=3, initial_delay=0.01, max_delay=0.02)
    options = genai.types.HttpOptions(base_url=fake.google_url, retry_options=retries)
    return genai.Client(api_key="k", http_options=options)


def ask_google(fake: FakeProviders) -> Any:
    with gemini(fake) as client:
        return client.models.generate_content(model="gemini", contents="hi")


def stream_openai(fake: FakeProviders) -> Iterable[object]:
    with openai.OpenAI(base_url=fake.openai_url, api_key="k", timeout=5) as client:
        yield from client.chat.completions.create(model="m", messages=MESSAGES, stream=True)


def stream_responses(fake: FakeProviders) -> Iterable[object]:
    with openai.OpenAI(base_url=fake.openai_url, api_key="k", timeout=5) as client:
        yield from client.responses.create(model="m", input="hi", stream=True)


def stream_anthropic(fake: FakeProviders) -> Iterable[object]:
    with anthropic.Anthropic(base_url=fake.anthropic_url, api_key="k", timeout=5) as client:
        yield from client.messages.create(
            model="claude", max_tokens=9, messages=MESSAGES, stream=True
        )


def stream_google(fake: FakeProviders) -> Iterable[object]:
    with gemini(fake) as client:
        yield from client.models.generate_content_stream(model="gemini", contents="hi")


each = pytest.mark.parametrize("ask", [ask_openai, ask_anthropic, ask_google])
each_stream = pytest.mark.parametrize(
    "stream", [stream_openai, stream_responses, stream_anthropic, stream_google]
)


def read_until_it_fails(stream: Iterable[object]) -> tuple[int, Exception | None]:
    """How many chunks came, and what ended them."""
    count = 0
    try:
        for _ in stream:
            count += 1
    except Exception as error:
        return count, error
    return count, None


def ended(fake: FakeProviders, count: int = 1) -> Received:
    request = fake.wait_for(count)[-1]
    assert request.ended.wait(5)
    return request


@each
def test_fails_then_answers(fake: FakeProviders, ask: Whole) -> None:
    fake.next(Fails(429), Fails(503), Answer())
    ask(fake)
    assert [request.status for request in fake.requests] == [429, 503, 200]


def test_it_is_asked_again_at_once(fake: FakeProviders) -> None:
    """An SDK that is not told how long to wait would take 2.6 s and more."""
    fake.next(*[Fails(429)] * 3)
    with openai.OpenAI(base_url=fake.openai_url, api_key="k", max_retries=3) as client:
        begun = time.monotonic()
        client.chat.completions.create(model="m", messages=MESSAGES)
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize(
    ("ask", "status", "error", "said"),
    [
        (ask_openai, 400, openai.BadRequestError, "invalid_request_error"),
        (ask_openai, 401, openai.AuthenticationError, "invalid_api_key"),
        (ask_openai, 429, openai.RateLimitError, "rate_limit_exceeded"),
        (ask_openai, 500, openai.InternalServerError, "server_error"),
        (ask_anthropic, 400, anthropic.BadRequestError, "invalid_request_error"),
        (ask_anthropic, 401, anthropic.AuthenticationError, "authentication_error"),
        (ask_anthropic, 529, anthropic.InternalServerError, "overloaded_error"),
        (ask_google, 400, errors.ClientError, "INVALID_ARGUMENT"),
        (ask_google, 503, errors.ServerError, "UNAVAILABLE"),
    ],
)
def test_an_error_is_the_provider_s(
    fake: FakeProviders, ask: Whole, status: int, error: type[Exception], said: str
) -> None:
    fake.default = Answer(fault=Fails(status, message="no luck"))
    with pytest.raises(error, match="no luck") as raised:
        ask(fake)
    # the SDKs of OpenAI and Anthropic have it apart from the message
    assert said in str(vars(raised.value).get("body", raised.value))


def test_it_hangs_until_it_is_released(fake: FakeProviders) -> None:
    fake.next(Hangs())
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(ask_openai, fake)
        (request,) = fake.wait_for(1)
        assert not request.ended.wait(0.1)
        fake.release()
        assert asked.result(5).usage.total_tokens == 19
    assert (request.status, request.client_gone) == (200, False)


def test_it_hangs_until_the_client_has_no_more_patience(fake: FakeProviders) -> None:
    fake.default = Answer(fault=Hangs())
    with (
        openai.OpenAI(base_url=fake.openai_url, api_key="k", timeout=0.1, max_retries=1) as client,
        pytest.raises(openai.APITimeoutError),
    ):
        client.chat.completions.create(model="m", messages=MESSAGES)
    assert ended(fake, 2).client_gone
    assert [request.status for request in fake.requests] == [None, None]


def test_it_hangs_until_the_task_is_cancelled(fake: FakeProviders) -> None:
    async def run() -> None:
        async with openai.AsyncOpenAI(base_url=fake.openai_url, api_key="k") as client:
            call = asyncio.create_task(client.chat.completions.create(model="m", messages=MESSAGES))
            await asyncio.to_thread(fake.wait_for, 1)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

    fake.next(Hangs())
    asyncio.run(run())
    assert ended(fake).client_gone


@each
def test_a_delay(fake: FakeProviders, ask: Whole) -> None:
    fake.next(Delays(0.2))
    begun = time.monotonic()
    ask(fake)
    assert time.monotonic() - begun >= 0.2


def test_a_stream_hangs_within_and_the_client_hangs_up(fake: FakeProviders) -> None:
    fake.next(Hangs(after=2))
    with openai.OpenAI(base_url=fake.openai_url, api_key="k") as client:
        stream = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
        assert [next(stream).choices[0].delta.content for _ in range(2)] == ["", "The fa"]
        stream.close()
        assert ended(fake).client_gone


@pytest.mark.parametrize(
    ("stream", "chunks"),
    # a ping is among Anthropic's four
    [(stream_openai, 4), (stream_responses, 4), (stream_anthropic, 3), (stream_google, 3)],
)
def test_a_stream_is_cut(fake: FakeProviders, stream: Stream, chunks: int) -> None:
    fake.next(Cuts(after=4))
    count, error = read_until_it_fails(stream(fake))
    # of Google's three chunks all came, and then no end
    assert (count, error is None) == (chunks, False)


@each
@pytest.mark.parametrize("after", [None, 0])
def test_an_answer_is_cut(fake: FakeProviders, ask: Whole, after: int | None) -> None:
    fake.default = Answer(fault=Cuts(after=after))
    with pytest.raises(Exception, match=r"(?i)connect|body"):
        ask(fake)


@pytest.mark.parametrize(
    ("stream", "error"),
    [
        (stream_openai, openai.APIError),
        (stream_anthropic, anthropic.APIStatusError),
        (stream_google, errors.ServerError),
    ],
)
def test_an_error_within_a_stream(
    fake: FakeProviders, stream: Stream, error: type[Exception]
) -> None:
    fake.next(Fails(after=2, message="no luck"))
    count, raised = read_until_it_fails(stream(fake))
    assert count == 2
    assert isinstance(raised, error)
    assert "no luck" in str(raised)


def test_an_error_within_a_stream_of_responses_is_an_event_of_its_own(fake: FakeProviders) -> None:
    fake.next(Fails(after=2, message="no luck"))
    *_, last = stream_responses(fake)
    assert isinstance(last, openai.types.responses.ResponseErrorEvent)
    assert (last.message, last.sequence_number) == ("no luck", 2)


@pytest.mark.parametrize(
    ("stream", "chunks"),
    # a ping is among Anthropic's three; Google has no fourth chunk: the last is broken
    [(stream_openai, 3), (stream_responses, 3), (stream_anthropic, 2), (stream_google, 2)],
)
def test_a_line_of_a_stream_is_malformed(fake: FakeProviders, stream: Stream, chunks: int) -> None:
    fake.next(Malformed(after=3))
    count, error = read_until_it_fails(stream(fake))
    assert count == chunks
    assert isinstance(error, ValueError)


@each
def test_an_answer_is_malformed(fake: FakeProviders, ask: Whole) -> None:
    fake.next(Malformed())
    with pytest.raises(json.JSONDecodeError):
        ask(fake)


@pytest.mark.parametrize("ask", [ask_openai, ask_anthropic])
def test_an_answer_is_empty(fake: FakeProviders, ask: Whole) -> None:
    fake.next(Empty())
    with pytest.raises(json.JSONDecodeError):
        ask(fake)


def test_an_empty_answer_of_google_is_one_without_usage(fake: FakeProviders) -> None:
    fake.next(Empty())
    assert ask_google(fake).usage_metadata is None


@each_stream
def test_a_stream_is_empty(fake: FakeProviders, stream: Stream) -> None:
    fake.next(Empty())
    assert read_until_it_fails(stream(fake))[0] == 0


def test_a_call_in_parallel_has_the_script_that_its_header_names(fake: FakeProviders) -> None:
    names = [f"call {i}" for i in range(8)]
    for i, name in enumerate(names):
        fake.next(Fails(429), Answer(usage=Usage(input_tokens=100 + i)), script=name)

    def ask(name: str) -> int:
        answer = ask_openai(fake, extra_headers={"x-fake": name})
        return int(answer.usage.prompt_tokens)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, names)) == [100 + i for i in range(8)]
    assert len(fake.requests) == 16


def test_it_closes_though_a_client_waits() -> None:
    with FakeProviders() as fake, ThreadPoolExecutor() as pool:
        fake.default = Answer(fault=Hangs())
        asked = pool.submit(ask_openai, fake)
        fake.wait_for(1)
        begun = time.monotonic()
        fake.close()
        assert time.monotonic() - begun < 2
        assert asked.exception(5) is None or isinstance(asked.exception(), openai.APIError)


def test_a_mistake_of_the_fake_s_own_is_told_at_its_end() -> None:
    broken = FakeProviders()
    broken.default = Answer(chunks=0)
    with pytest.raises(openai.APIConnectionError):
        list(stream_openai(broken))
    with pytest.raises(ExceptionGroup) as raised:
        broken.close()
    assert {type(error) for error in raised.value.exceptions} == {ZeroDivisionError}

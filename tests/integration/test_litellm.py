"""The real LiteLLM against providers that answer as told: one event a call, with its figures."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it fetches prices as it is imported

import litellm
import litellm.router
import openai
from litellm.caching.caching import Cache

from spendstream.producers import Drop, instrument, track, uninstrument
from spendstream.producers.record import use
from spendstream.producers.wrap import litellm as callback
from spendstream.producers.wrap.litellm_switch import listening
from tests.fakes import Answer, Cuts, Fails, FakeProviders, Hangs, Usage
from tests.support.collecting import Collected, counts
from tests.support.waiting import until

MESSAGES = [{"role": "user", "content": "hi"}]
USAGE = Usage(
    input_tokens=1000,
    output_tokens=50,
    cache_read_input_tokens=600,
    cache_write_input_tokens=100,
    cache_write_1h_input_tokens=40,
    reasoning_output_tokens=20,
)
ALL = {
    "input_tokens": 1000,
    "output_tokens": 50,
    "cache_read_input_tokens": 600,
    "cache_write_input_tokens": 100,
    "reasoning_output_tokens": 20,
}
KEPT = {"cache_write_5m_input_tokens": 60, "cache_write_1h_input_tokens": 40}
OF_GEMINI = {name: n for name, n in ALL.items() if name != "cache_write_input_tokens"}
EXPECTED = {
    "openai": ("openai", "gpt-4o", ALL),
    "anthropic": ("anthropic", "claude-sonnet-4-5", ALL | KEPT),
    "gemini": ("gcp.gemini", "gemini-2.5-flash", OF_GEMINI),
}
LISTS = ("callbacks", "input_callback", "success_callback", "failure_callback")
ASYNC_LISTS = ("_async_success_callback", "_async_failure_callback")


@pytest.fixture
def fake() -> Iterator[FakeProviders]:
    with FakeProviders() as fake:
        yield fake


@pytest.fixture
def collected() -> Iterator[Collected]:
    """With LiteLLM's callback registered as a service registers it."""
    collected = Collected()
    litellm.callbacks = [callback.SpendstreamLogger(collected.emitter)]
    yield collected
    uninstrument()
    for name in (*LISTS, *ASYNC_LISTS):
        getattr(litellm, name).clear()


def at(fake: FakeProviders, provider: str, **kwargs: Any) -> dict[str, Any]:
    urls = {
        "openai": fake.openai_url,
        "anthropic": fake.anthropic_url,
        "gemini": f"{fake.google_url}/v1beta/models/gemini-2.5-flash",
    }
    model = f"{provider}/{EXPECTED[provider][1]}"
    given = {"model": model, "api_base": urls[provider], "api_key": "k", "messages": MESSAGES}
    return {**given, **kwargs}


def run(work: Callable[[], Awaitable[object]]) -> None:
    """With time for what LiteLLM does in the background of the loop."""

    async def main() -> None:
        try:
            await work()
        finally:
            await asyncio.sleep(0.3)

    asyncio.run(main())


def call(stream: bool, asynchronous: bool, **kwargs: Any) -> None:
    if stream:
        kwargs |= {"stream": True, "stream_options": {"include_usage": True}}
    if not asynchronous:
        answer = litellm.completion(**kwargs)
        if stream:
            list(answer)
        return

    async def work() -> None:
        answer = await litellm.acompletion(**kwargs)
        if stream:
            async for _ in answer:
                pass

    run(work)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini"])
def test_one_event_a_call_with_exact_usage(
    fake: FakeProviders, collected: Collected, provider: str, stream: bool, asynchronous: bool
) -> None:
    fake.next(Answer(usage=USAGE))
    before_ms = int(time.time() * 1000)
    with track(workspace_id="acme", user_id="u", request_type="chat"):
        call(stream, asynchronous, **at(fake, provider))
    event = collected.one()
    name, model, expected = EXPECTED[provider]
    assert counts(event) == expected
    assert (event.provider, event.operation, event.status) == (name, "chat", "ok")
    assert (event.request_model, event.response_model) == (model, model)
    assert (event.workspace_id, event.user_id, event.request_type) == ("acme", "u", "chat")
    assert event.response_id
    assert event.usage_quality == "measured"
    assert event.reported_cost_pico is None
    assert event.started_at_ms is not None
    assert event.duration_ms is not None
    assert before_ms <= event.started_at_ms <= before_ms + 5000
    assert event.duration_ms < 5000
    assert (event.time_to_first_token_ms is not None) == stream
    time.sleep(0.2)
    assert len(collected.events) == 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("provider", "usage", "expected"),
    [
        (
            "gemini",
            Usage(30, 20, web_searches=2, audio_input_tokens=5, tool_input_tokens=4),
            # Gemini 2.5 is billed for an answer that it has searched for, not for each query
            {"audio_input_tokens": 5, "tool_input_tokens": 4, "web_searches": 1},
        ),
        ("anthropic", Usage(30, 20, web_searches=2), {"web_searches": 2}),
    ],
)
def test_what_tools_used_is_the_same_of_a_stream_and_of_a_whole_answer(
    fake: FakeProviders,
    collected: Collected,
    provider: str,
    usage: Usage,
    expected: dict[str, int],
    stream: bool,
) -> None:
    fake.next(Answer(usage=usage))
    with track(workspace_id="acme"):
        call(stream, False, **at(fake, provider))
    event = collected.one()
    assert counts(event) == {"input_tokens": 30, "output_tokens": 20, **expected}
    assert event.usage_quality == "measured"


def test_a_stream_that_was_not_asked_for_its_usage_is_estimated(
    fake: FakeProviders, collected: Collected
) -> None:
    fake.next(Answer(usage=USAGE))
    with track(workspace_id="acme"):
        list(litellm.completion(stream=True, **at(fake, "openai")))
    event = collected.one()
    assert event.usage_quality == "estimated"
    assert 0 < counts(event)["output_tokens"] < 50


def test_an_answer_without_usage_is_unknown_and_not_zero(
    fake: FakeProviders, collected: Collected
) -> None:
    fake.next(Answer(usage=None))
    with track(workspace_id="acme"):
        call(False, False, **at(fake, "openai"))
    assert collected.one().usage is None


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_refused_call_is_an_error(
    fake: FakeProviders, collected: Collected, provider: str, asynchronous: bool
) -> None:
    fake.next(Fails(400))
    with track(workspace_id="acme"), pytest.raises(litellm.exceptions.BadRequestError):
        call(False, asynchronous, **at(fake, provider))
    event = collected.one()
    assert (event.status, event.usage, event.request_model) == (
        "error",
        None,
        EXPECTED[provider][1],
    )


@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_litellm_tries_again_is_a_call_each(
    fake: FakeProviders, collected: Collected, asynchronous: bool
) -> None:
    """Of an asynchronous one LiteLLM reports the failure alone, of the other the success."""
    fake.next(Fails(500), Answer(usage=USAGE))
    with track(workspace_id="acme"):
        call(False, asynchronous, **at(fake, "anthropic", num_retries=1))
    gc.collect()
    until(lambda: len(collected.events) == 2, 10)
    assert [event.status for event in collected.events] == ["error", "ok"]
    assert counts(collected.events[1]) == EXPECTED["anthropic"][2]


def test_what_the_sdk_tries_again_is_one(fake: FakeProviders, collected: Collected) -> None:
    fake.next(Fails(500), Answer(usage=USAGE))
    with track(workspace_id="acme"):
        call(False, False, **at(fake, "openai", max_retries=1))
    assert counts(collected.one()) == ALL


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_router_that_falls_back_leaves_an_event_a_provider(
    fake: FakeProviders, collected: Collected, asynchronous: bool
) -> None:
    def of(name: str, provider: str) -> dict[str, Any]:
        params = at(fake, provider, max_retries=0)
        del params["messages"]
        return {"model_name": name, "litellm_params": params}

    router = litellm.router.Router(
        model_list=[of("a", "openai"), of("b", "anthropic")],
        fallbacks=[{"a": ["b"]}],
        num_retries=0,
    )
    fake.next(Fails(500), Answer(usage=USAGE))
    with track(workspace_id="acme"):
        if asynchronous:
            run(lambda: router.acompletion(model="a", messages=MESSAGES))
        else:
            router.completion(model="a", messages=MESSAGES)
    until(lambda: len(collected.events) == 2, 10)
    found = [(event.provider, event.status) for event in collected.events]
    assert found == [("openai", "error"), ("anthropic", "ok")]


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_stream_that_is_dropped_half_read_is_cancelled(
    fake: FakeProviders, collected: Collected, provider: str
) -> None:
    with track(workspace_id="acme"):
        stream = litellm.completion(stream=True, **at(fake, provider))
        next(stream)
        del stream

    def forgotten() -> bool:
        gc.collect()
        return bool(collected.events)

    until(forgotten, 10)
    assert collected.one().status == "cancelled"


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_an_asynchronous_stream_that_is_closed_is_cancelled(
    fake: FakeProviders, collected: Collected, provider: str
) -> None:
    async def work() -> None:
        stream: Any = await litellm.acompletion(stream=True, **at(fake, provider))
        await anext(stream)
        await stream.aclose()

    with track(workspace_id="acme"):
        run(work)
    gc.collect()
    event = collected.one()
    assert (event.status, event.workspace_id) == ("cancelled", "acme")


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_cancelled_task_is_cancelled(
    fake: FakeProviders, collected: Collected, provider: str
) -> None:
    async def work() -> None:
        fake.next(Hangs())
        task = asyncio.create_task(litellm.acompletion(**at(fake, provider)))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with track(workspace_id="acme"):
        run(work)
    gc.collect()
    event = collected.one()
    assert (event.status, event.usage) == ("cancelled", None)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_stream_that_breaks_is_an_error(
    fake: FakeProviders, collected: Collected, asynchronous: bool
) -> None:
    fake.next(Answer(fault=Cuts(after=4)))
    with track(workspace_id="acme"), pytest.raises(litellm.exceptions.MidStreamFallbackError):
        call(True, asynchronous, **at(fake, "openai"))
    event = collected.one()
    assert event.status == "error"
    assert event.usage is None or event.usage_quality == "estimated"


def test_who_it_is_for_is_what_track_says_where_the_call_begins(
    fake: FakeProviders, collected: Collected
) -> None:
    """Many at once, some in threads of LiteLLM's own, callbacks in one worker."""

    async def one(number: int) -> None:
        with track(workspace_id=f"ws-{number}"):
            await asyncio.sleep(0.01 * (number % 3))
            if number % 2:
                await litellm.acompletion(**at(fake, "openai", user=f"{number}"))
            else:
                await litellm.aembedding(
                    model="openai/text-embedding-3-small",
                    api_base=fake.openai_url,
                    api_key="k",
                    input=[f"{number}"],
                )

    async def work() -> None:
        await asyncio.gather(*(one(number) for number in range(20)))

    run(work)
    until(lambda: len(collected.events) == 20, 10)
    assert {event.workspace_id: event.operation for event in collected.events} == {
        f"ws-{number}": "chat" if number % 2 else "embeddings" for number in range(20)
    }


def test_metadata_says_it_where_track_does_not(fake: FakeProviders, collected: Collected) -> None:
    said = {"spendstream_workspace_id": "other", "spendstream_request_type": "grading"}
    with track(workspace_id="acme"):
        call(False, False, **at(fake, "openai", metadata=said))
    event = collected.one()
    assert (event.workspace_id, event.request_type) == ("acme", "grading")
    call(False, False, **at(fake, "openai", metadata=said))
    until(lambda: len(collected.events) == 2, 10)
    assert collected.events[1].workspace_id == "other"


def test_behind_the_proxy_it_is_whom_the_proxy_has_authenticated(
    fake: FakeProviders, collected: Collected
) -> None:
    by_proxy = {
        "user_api_key_hash": "9f86d081",
        "user_api_key_team_id": "team-1",
        "user_api_key_user_id": "u-1",
        "spendstream_workspace_id": "what a client writes",
        "spendstream_task_id": "t-1",
    }
    call(False, False, **at(fake, "openai", metadata=by_proxy))
    event = collected.one()
    assert (event.workspace_id, event.user_id, event.api_key_id, event.task_id) == (
        "team-1",
        "u-1",
        "9f86d081",
        "t-1",
    )


def test_nobody_named_is_counted_as_untracked(fake: FakeProviders, collected: Collected) -> None:
    call(False, False, **at(fake, "openai"))
    until(lambda: bool(collected.dropped), 10)
    assert (collected.dropped, collected.events) == ([Drop.UNTRACKED], [])


def test_what_asks_no_provider_is_no_call(fake: FakeProviders, collected: Collected) -> None:
    with track(workspace_id="acme"):
        litellm.completion(model="gpt-4o", messages=MESSAGES, mock_response="made up")
        with pytest.raises(litellm.exceptions.BadRequestError):
            litellm.completion(model="nobody/knows-it", messages=MESSAGES)
        litellm.moderation(input="hi", api_base=fake.openai_url, api_key="k")
        # as LiteLLM reports an answer from its cache
        cached = {"call_type": "completion", "cache_hit": True, "custom_llm_provider": "openai"}
        callback.SpendstreamLogger(collected.emitter).log_success_event(
            cached, litellm.ModelResponse(), None, None
        )
        time.sleep(0.3)
    assert (collected.events, collected.dropped) == ([], [])


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_from_the_cache_costs_nothing(
    fake: FakeProviders,
    collected: Collected,
    monkeypatch: pytest.MonkeyPatch,
    stream: bool,
    asynchronous: bool,
) -> None:
    imported = "litellm.llms.anthropic.messages.native.response_cache"
    pytest.importorskip(imported, reason="LiteLLM's cache needs its proxy", exc_type=ImportError)
    monkeypatch.setattr(litellm, "cache", Cache())
    with track(workspace_id="acme"):
        for _ in range(2):
            call(stream, asynchronous, **at(fake, "openai"))
            time.sleep(0.3)
    assert len(fake.requests) == 1
    collected.one()


def test_images_and_speech_are_billed_by_what_was_asked_for(
    fake: FakeProviders, collected: Collected
) -> None:
    there: Any = {"api_base": fake.openai_url, "api_key": "k"}
    with track(workspace_id="acme"):
        litellm.speech(model="openai/tts-1", input="hello", voice="alloy", **there)
        until(lambda: len(collected.events) == 1, 10)
        fake.next(Answer(usage=None))
        litellm.image_generation(model="openai/dall-e-3", prompt="x", size="1024x1024", **there)
        until(lambda: len(collected.events) == 2, 10)
    speech, image = collected.events
    assert (speech.operation, counts(speech)) == ("speech", {"input_characters": 5})
    assert (image.operation, counts(image)["images"]) == ("image_generation", 1)


@pytest.fixture
def instrumented() -> Iterator[Collected]:
    collected = Collected()
    instrument(emitter=collected.emitter)
    yield collected
    uninstrument()
    for name in (*LISTS, *ASYNC_LISTS):
        getattr(litellm, name).clear()


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("stream", [False, True])
def test_the_sdk_beneath_does_not_count_it_again(
    fake: FakeProviders, instrumented: Collected, stream: bool, asynchronous: bool
) -> None:
    fake.next(Answer(usage=USAGE))
    with track(workspace_id="acme"):
        call(stream, asynchronous, **at(fake, "openai"))
        assert counts(instrumented.one()) == ALL
        client = openai.OpenAI(base_url=fake.openai_url, api_key="k")
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hi"}])
        time.sleep(0.3)
    assert len(instrumented.events) == 2  # the service's own is counted


def test_nor_does_a_client_of_the_services_own(
    fake: FakeProviders, instrumented: Collected
) -> None:
    client = instrument(
        openai.OpenAI(base_url=fake.openai_url, api_key="k"), emitter=instrumented.emitter
    )
    with track(workspace_id="acme"):
        call(False, False, **at(fake, "openai", client=client))
        instrumented.one()
        time.sleep(0.3)
    assert len(instrumented.events) == 1


def test_two_callbacks_count_once(fake: FakeProviders, collected: Collected) -> None:
    litellm.callbacks.append(callback.SpendstreamLogger(collected.emitter))
    with track(workspace_id="acme"):
        call(False, False, **at(fake, "openai"))
        collected.one()
        time.sleep(0.3)
    assert len(collected.events) == 1


def test_in_the_proxy_the_environment_says_where_to(
    fake: FakeProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Collected()
    monkeypatch.setattr(
        callback, "UsageEmitter", lambda servers: made if servers == "kafka:9" else None
    )
    monkeypatch.setenv("SPENDSTREAM_BOOTSTRAP_SERVERS", "kafka:9")
    use(None)
    litellm.callbacks = [callback.logger]
    call(False, False, **at(fake, "openai", metadata={"spendstream_workspace_id": "acme"}))
    made.one()
    use(None)
    for name in (*LISTS, *ASYNC_LISTS):
        getattr(litellm, name).clear()


def test_instrument_registers_it_and_uninstrument_removes_it_alone(fake: FakeProviders) -> None:
    collected = Collected()
    theirs: list[str] = []

    def their_callback(*_: Any) -> None:
        theirs.append("called")

    litellm.success_callback = [their_callback]
    instrument(emitter=collected.emitter)
    with track(workspace_id="acme"):
        call(False, False, **at(fake, "openai"))
        collected.one()
        uninstrument()
        call(False, False, **at(fake, "openai"))
        until(lambda: len(theirs) == 2, 10)
        time.sleep(0.2)
    assert len(collected.events) == 1
    assert not listening()
    assert litellm.success_callback == [their_callback]
    litellm.success_callback = []


def test_the_path_that_the_proxy_is_configured_with() -> None:
    from litellm.proxy.types_utils.utils import get_instance_fn

    found = get_instance_fn("spendstream.producers.wrap.litellm.logger", "/etc/litellm/config.yaml")
    assert found is callback.logger

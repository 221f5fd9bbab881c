"""Anthropic's own SDK finds in the fake what a test chose."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic

from spendstream.producers.extract import usage_from
from tests.fakes import Answer, FakeProviders, Usage

ASKED: Any = {
    "model": "claude-fable-5",
    "max_tokens": 9,
    "messages": [{"role": "user", "content": "hi"}],
}
ANSWER = Answer(
    text="hello",
    thinking="Hm.",
    usage=Usage(
        input_tokens=1000,
        output_tokens=400,
        cache_read_input_tokens=600,
        cache_write_input_tokens=100,
        cache_write_1h_input_tokens=40,
        reasoning_output_tokens=250,
        web_searches=2,
    ),
)
READ = {
    "input_tokens": 1000,
    "output_tokens": 400,
    "cache_read_input_tokens": 600,
    "cache_write_input_tokens": 100,
    "cache_write_5m_input_tokens": 60,
    "cache_write_1h_input_tokens": 40,
    "reasoning_output_tokens": 250,
    "web_searches": 2,
}


def found(payload: object) -> dict[str, Any]:
    usage = usage_from(payload, provider="anthropic")
    assert usage is not None
    named = usage.model_dump(exclude_defaults=True)
    return {name: value for name, value in named.items() if name in READ}


def test_sync(fake: FakeProviders) -> None:
    fake.default = ANSWER
    with anthropic.Anthropic(base_url=fake.anthropic_url, api_key="k") as client:
        message = client.messages.create(**ASKED)
        events = list(client.messages.create(**ASKED, stream=True))
        with client.messages.stream(**ASKED) as stream:
            gathered = stream.get_final_message()
        counted = client.messages.count_tokens(
            model=ASKED["model"], messages=ASKED["messages"]
        ).input_tokens
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert [block.type for block in gathered.content] == ["thinking", "text"]
    assert found(message) == found(events) == found(gathered) == READ
    assert counted == 1000


def test_async(fake: FakeProviders) -> None:
    async def run() -> list[object]:
        async with anthropic.AsyncAnthropic(base_url=fake.anthropic_url, api_key="k") as client:
            message = await client.messages.create(**ASKED)
            events = [event async for event in await client.messages.create(**ASKED, stream=True)]
            async with client.messages.stream(**ASKED) as stream:
                return [message, events, await stream.get_final_message()]

    fake.default = ANSWER
    assert [found(payload) for payload in asyncio.run(run())] == [READ] * 3


def test_the_first_event_has_all_of_the_input_and_one_token_of_output(fake: FakeProviders) -> None:
    fake.next(ANSWER)
    with anthropic.Anthropic(base_url=fake.anthropic_url, api_key="k") as client:
        first = next(iter(client.messages.create(**ASKED, stream=True)))
    assert isinstance(first, anthropic.types.RawMessageStartEvent)
    used = first.message.usage
    assert (used.input_tokens, used.cache_read_input_tokens, used.output_tokens) == (300, 600, 1)

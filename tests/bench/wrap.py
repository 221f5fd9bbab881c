"""Microseconds that a wrapped SDK's call takes longer than a bare one, from a local server.

python -m tests.bench.wrap BOOTSTRAP_SERVERS
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

import anthropic
import openai
from google import genai

from spendstream.producers import UsageEmitter, instrument, track, uninstrument
from tests.fakes import Answer, FakeProviders

CHUNKS = 50
LIMIT_US = 100
_MESSAGES: Any = [{"role": "user", "content": "How much is it?"}]


@dataclass(frozen=True, slots=True)
class WrapCost:
    """Medians of single calls that took turns; `more_us` of what each wrapped one took longer than
    the bare one before it. `delivered` of `calls` events reached the broker."""

    name: str
    calls: int
    delivered: int
    bare_us: float
    wrapped_us: float
    more_us: float


def measure(
    bootstrap_servers: str, calls: int = 1_000, topic: str = "usage.events"
) -> list[WrapCost]:
    with FakeProviders() as fake:
        fake.default = Answer(text="It is seven, as it has always been. " * 20, chunks=CHUNKS)
        bare, wrapped = dict(_calls(fake)), dict(_calls(fake))
        return [
            _measured(bootstrap_servers, topic, name, bare[name], wrapped[name], calls)
            for name in bare
        ]


def _measured(
    bootstrap_servers: str,
    topic: str,
    name: str,
    bare: tuple[Any, Callable[[Any], Any]],
    wrapped: tuple[Any, Callable[[Any], Any]],
    calls: int,
) -> WrapCost:
    clock = time.perf_counter_ns
    pairs = []
    with UsageEmitter(bootstrap_servers, topic=topic, spool="") as emitter:
        instrument(wrapped[0], emitter=emitter)
        gc.collect()
        with track(workspace_id="ws-1", user_id="user-1", tags={"team": "search"}):
            for _ in range(calls):
                taken = []
                for client, call in (bare, wrapped):
                    begun = clock()
                    call(client)
                    taken.append((clock() - begun) / 1000)
                pairs.append(taken)
        uninstrument(wrapped[0])
        emitter.flush(30)
        delivered = emitter.stats.delivered
    return WrapCost(
        name,
        calls,
        delivered,
        median(pair[0] for pair in pairs),
        median(pair[1] for pair in pairs),
        median(pair[1] - pair[0] for pair in pairs),
    )


def _calls(fake: FakeProviders) -> Iterator[tuple[str, tuple[Any, Callable[[Any], Any]]]]:
    yield (
        "OpenAI",
        (
            openai.OpenAI(base_url=fake.openai_url, api_key="k"),
            lambda client: client.chat.completions.create(model="gpt-4o", messages=_MESSAGES),
        ),
    )
    yield (
        f"OpenAI, stream of {CHUNKS}",
        (
            openai.OpenAI(base_url=fake.openai_url, api_key="k"),
            lambda client: list(
                client.chat.completions.create(
                    model="gpt-4o",
                    messages=_MESSAGES,
                    stream=True,
                    stream_options={"include_usage": True},
                )
            ),
        ),
    )
    yield (
        "Anthropic",
        (
            anthropic.Anthropic(base_url=fake.anthropic_url, api_key="k"),
            lambda client: client.messages.create(
                model="claude-opus-4-5", max_tokens=99, messages=_MESSAGES
            ),
        ),
    )
    yield (
        f"Anthropic, stream of {CHUNKS}",
        (
            anthropic.Anthropic(base_url=fake.anthropic_url, api_key="k"),
            lambda client: list(
                client.messages.create(
                    model="claude-opus-4-5", max_tokens=99, messages=_MESSAGES, stream=True
                )
            ),
        ),
    )
    yield (
        "Google",
        (
            genai.Client(api_key="k", http_options={"base_url": fake.google_url}),
            lambda client: client.models.generate_content(
                model="gemini-2.5-flash", contents="How much is it?"
            ),
        ),
    )
    yield (
        f"Google, stream of {CHUNKS}",
        (
            genai.Client(api_key="k", http_options={"base_url": fake.google_url}),
            lambda client: list(
                client.models.generate_content_stream(
                    model="gemini-2.5-flash", contents="How much is it?"
                )
            ),
        ),
    )


if __name__ == "__main__":
    for cost in measure(sys.argv[1]):
        print(cost)

"""Microseconds that a wrapped SDK's call takes longer than a bare one, from a local server.

The server is a process of its own, as a provider is: in this one it would share the interpreter.

python -m tests.bench.wrap BOOTSTRAP_SERVERS
"""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    with _server() as url:
        bare, wrapped = dict(_calls(url)), dict(_calls(url))
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
            for number in range(calls):
                taken = {}
                for client, call in (bare, wrapped) if number % 2 else (wrapped, bare):
                    begun = clock()
                    call(client)
                    taken[id(client)] = (clock() - begun) / 1000
                pairs.append((taken[id(bare[0])], taken[id(wrapped[0])]))
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


@contextmanager
def _server() -> Iterator[str]:
    command = [sys.executable, "-m", "tests.bench.wrap", "--serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as it:
        assert it.stdin is not None
        assert it.stdout is not None
        yield it.stdout.readline().strip()
        it.stdin.close()


def _serve() -> None:
    """Until standard input is closed."""
    with FakeProviders() as fake:
        fake.default = Answer(text="It is seven, as it has always been. " * 20, chunks=CHUNKS)
        print(fake.url, flush=True)
        sys.stdin.read()


def _calls(url: str) -> Iterator[tuple[str, tuple[Any, Callable[[Any], Any]]]]:
    yield (
        "OpenAI",
        (
            openai.OpenAI(base_url=f"{url}/v1", api_key="k"),
            lambda client: client.chat.completions.create(model="gpt-4o", messages=_MESSAGES),
        ),
    )
    yield (
        f"OpenAI, stream of {CHUNKS}",
        (
            openai.OpenAI(base_url=f"{url}/v1", api_key="k"),
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
            anthropic.Anthropic(base_url=url, api_key="k"),
            lambda client: client.messages.create(
                model="claude-opus-4-5", max_tokens=99, messages=_MESSAGES
            ),
        ),
    )
    yield (
        f"Anthropic, stream of {CHUNKS}",
        (
            anthropic.Anthropic(base_url=url, api_key="k"),
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
            genai.Client(api_key="k", http_options={"base_url": url}),
            lambda client: client.models.generate_content(
                model="gemini-2.5-flash", contents="How much is it?"
            ),
        ),
    )
    yield (
        f"Google, stream of {CHUNKS}",
        (
            genai.Client(api_key="k", http_options={"base_url": url}),
            lambda client: list(
                client.models.generate_content_stream(
                    model="gemini-2.5-flash", contents="How much is it?"
                )
            ),
        ),
    )


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        _serve()
        sys.exit()
    for cost in measure(sys.argv[1]):
        print(cost)

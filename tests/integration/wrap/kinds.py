"""The SDKs' clients and how each is called, in one form: a test is written once for all of them.

The synchronous ones are called in a coroutine, too; their server has threads of its own.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import anthropic
import openai
import pytest
from google import genai

from tests.fakes import Answer, FakeProviders, Usage
from tests.support.recording import Json

SAYS: Final[Any] = [{"role": "user", "content": "hi"}]
USAGE: Final = Usage(
    input_tokens=120, output_tokens=41, cache_read_input_tokens=30, reasoning_output_tokens=11
)
USED: Final = {
    "input_tokens": 120,
    "output_tokens": 41,
    "cache_read_input_tokens": 30,
    "reasoning_output_tokens": 11,
}
ANSWER: Final = Answer(usage=USAGE)


@dataclass(frozen=True)
class Kind:
    """`create` is the method that is called, `streamed` its twin or what makes a stream of it."""

    name: str
    provider: str
    model: str
    make: Callable[..., Any]
    create: Callable[[Any], Callable[..., Any]]
    arguments: Json
    streamed: Callable[[Any], Callable[..., Any]] | None = None
    operation: str = "chat"
    measured: bool = True
    """Whether a stream tells its usage unasked."""

    def __str__(self) -> str:
        return self.name

    @property
    def is_async(self) -> bool:
        return "async" in self.name

    @property
    def sdk(self) -> str:
        return {"anthropic": "anthropic", "gcp": "google"}.get(
            self.provider.split(".")[0], "openai"
        )

    async def whole(self, client: Any, **more: Any) -> Any:
        return await awaited(self.create(client)(**self.arguments, **more))

    async def stream(self, client: Any, **more: Any) -> Any:
        """The SDK's own stream."""
        if self.streamed is not None:
            return await awaited(self.streamed(client)(**self.arguments, **more))
        return await self.whole(client, stream=True, **more)


async def awaited(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


async def items(stream: Any) -> AsyncIterator[Any]:
    """Of a stream of either kind; it is closed only by whoever closes it."""
    if hasattr(stream, "__aiter__"):
        async for item in stream:
            yield item
    else:
        for item in stream:
            yield item


async def close(client: Any) -> None:
    """A client or a stream of any SDK."""
    aio = getattr(client, "aio", None)
    if aio is not None:
        await aio.aclose()
    closing = getattr(client, "close", None) or client.aclose
    await awaited(closing())


def _stainless(kind: type[Any], http: type[Any]) -> Callable[..., Any]:
    """Without the system's certificates, which take longer to load than a test to run."""

    def make(fake: FakeProviders, **options: Any) -> Any:
        if "Azure" in kind.__name__:
            where = {"azure_endpoint": fake.azure_url, "api_version": "2025-04-01-preview"}
        else:
            url = fake.openai_url if kind.__module__.startswith("openai") else fake.anthropic_url
            where = {"base_url": url}
        common = {"api_key": "k", "timeout": 10, "http_client": http(verify=False)}
        return kind(**{**where, **common, **options})

    return make


def _google(vertexai: bool = False) -> Callable[..., Any]:
    def make(fake: FakeProviders, *, max_retries: int = 2, timeout: float = 10) -> Any:
        retries = genai.types.HttpRetryOptions(
            attempts=max_retries + 1, initial_delay=0.01, max_delay=0.02
        )
        options = genai.types.HttpOptions(
            base_url=fake.google_url,
            retry_options=retries,
            timeout=int(timeout * 1000),
            client_args={"verify": False},
            async_client_args={"verify": False},
        )
        return genai.Client(api_key="k", http_options=options, vertexai=vertexai)

    return make


def _chat(client: Any) -> Any:
    return client.chat.completions.create


def _responses(client: Any) -> Any:
    return client.responses.create


def _messages(client: Any) -> Any:
    return client.messages.create


_CHAT: Final[Json] = {"model": "gpt-4o", "messages": SAYS}
_RESPONSES: Final[Json] = {"model": "gpt-4o", "input": "hi"}
_MESSAGES: Final[Json] = {"model": "claude-sonnet-5", "max_tokens": 99, "messages": SAYS}
_CONTENT: Final[Json] = {"model": "gemini-2.5-flash", "contents": "hi"}


def _of_openai(name: str, make: Callable[..., Any], provider: str = "openai") -> list[Kind]:
    return [
        Kind(f"{name}-chat", provider, "gpt-4o", make, _chat, _CHAT, measured=False),
        Kind(f"{name}-responses", provider, "gpt-4o", make, _responses, _RESPONSES),
    ]


def _of_google(name: str, provider: str, make: Callable[..., Any]) -> list[Kind]:
    def kind(name: str, models: Callable[[Any], Any]) -> Kind:
        return Kind(
            name,
            provider,
            "gemini-2.5-flash",
            make,
            lambda client: models(client).generate_content,
            _CONTENT,
            lambda client: models(client).generate_content_stream,
            "generate_content",
        )

    return [
        kind(name, lambda client: client.models),
        kind(f"{name}-async", lambda client: client.aio.models),
    ]


KINDS: Final = [
    *_of_openai("openai", _stainless(openai.OpenAI, openai.DefaultHttpxClient)),
    *_of_openai("openai-async", _stainless(openai.AsyncOpenAI, openai.DefaultAsyncHttpxClient)),
    *_of_openai(
        "azure", _stainless(openai.AzureOpenAI, openai.DefaultHttpxClient), "azure.ai.openai"
    ),
    *_of_openai(
        "azure-async",
        _stainless(openai.AsyncAzureOpenAI, openai.DefaultAsyncHttpxClient),
        "azure.ai.openai",
    ),
    *(
        Kind(name, "anthropic", "claude-sonnet-5", _stainless(*kinds), _messages, _MESSAGES)
        for name, *kinds in (
            ("anthropic", anthropic.Anthropic, anthropic.DefaultHttpxClient),
            ("anthropic-async", anthropic.AsyncAnthropic, anthropic.DefaultAsyncHttpxClient),
        )
    ),
    *_of_google("gemini", "gcp.gemini", _google()),
    *_of_google("vertex", "gcp.vertex_ai", _google(vertexai=True)),
]

BY_NAME: Final = {kind.name: kind for kind in KINDS}


MOST: Final = ("openai", "azure-async-chat", "anthropic", "gemini")
"""What differs in its code; Azure's and Vertex AI's are subclasses and settings of these."""


def each(*names: str, **where: Any) -> pytest.MarkDecorator:
    """Every kind, or those whose name begins so, and with such attributes."""
    chosen = [
        kind
        for kind in KINDS
        if (not names or kind.name.startswith(names))
        and all(getattr(kind, name) == value for name, value in where.items())
    ]
    return pytest.mark.parametrize("kind", chosen, ids=str)


class Part(NamedTuple):
    """A stream of which two of three pieces of text have come.

    Attributes:
        sent: chunks that the server sends.
        told: items that the SDK makes of them.
        used: what is known of the usage then, at least.
    """

    sent: int
    told: int
    used: Json


def part(kind: Kind) -> Part:
    """Four characters a token: 13 of them are 4. Gemini says in each chunk what it has used so far,
    Anthropic in the first what it has read."""
    if kind.name.endswith("chat"):
        return Part(3, 3, {"input_tokens": 0, "output_tokens": 4})
    if kind.name.endswith("responses"):
        return Part(6, 6, {"input_tokens": 0, "output_tokens": 4})
    if kind.provider == "anthropic":  # a ping is among what is sent
        return Part(5, 4, {**_READ, "output_tokens": 4})
    return Part(2, 2, {**_READ, "output_tokens": 27, "reasoning_output_tokens": 7})


_READ: Final = {"input_tokens": 120, "cache_read_input_tokens": 30}

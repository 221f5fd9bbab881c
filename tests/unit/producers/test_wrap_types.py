"""What a type checker sees: a client, or whatever else is instrumented, keeps its type. The check
is mypy's, which reads the tests too."""

from __future__ import annotations

from typing import assert_type

import anthropic
import openai
from google import genai

from spendstream.producers import instrument, uninstrument
from spendstream.producers.wrap.call import Extractor


class Model:
    def generate(self) -> str:
        return ""


def types(
    gpt: openai.OpenAI,
    gpt_async: openai.AsyncOpenAI,
    azure: openai.AzureOpenAI,
    claude: anthropic.Anthropic,
    claude_async: anthropic.AsyncAnthropic,
    gemini: genai.Client,
    model: Model,
    read: Extractor,
) -> None:
    assert_type(instrument(gpt), openai.OpenAI)
    assert_type(instrument(gpt_async, include_usage=True), openai.AsyncOpenAI)
    assert_type(instrument(azure, provider="azure.ai.openai"), openai.AzureOpenAI)
    assert_type(instrument(claude), anthropic.Anthropic)
    assert_type(instrument(claude_async), anthropic.AsyncAnthropic)
    assert_type(instrument(gemini), genai.Client)
    assert_type(instrument(model, "generate", read, provider="vllm"), Model)
    assert_type(instrument(Model, "generate", provider="vllm"), type[Model])
    instrument()
    uninstrument(gpt)
    uninstrument(model, "generate")
    instrument(model, "generate")  # type: ignore[call-overload]  # nobody says who answers


def test_it_is_for_the_type_checker_alone() -> None:
    assert callable(types)

"""What a stream that was cut off has used at least: a rule of thumb, or tiktoken where it is
loaded. A download is never begun."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final, NoReturn

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from spendstream.producers.extract import ExtractedUsage, usage_from
from spendstream.producers.extract.estimate import tokens

MODEL: Final = "gpt-4o-2024-08-06"
ENCODING: Final = "o200k_base"  # its encoding
TEXT: Final = "tokens, tokens!"  # of 15 characters

RANKS: Final = {bytes([byte]): byte for byte in range(256)} | {
    b"to": 256,
    b"ken": 257,
    b"token": 258,
    b"tokens": 259,
    b"ke": 260,
}


def tiny(name: str = ENCODING) -> tiktoken.Encoding:
    """Every byte a token, but for a few longer ones: `TEXT` has 5, `tokens` twice and `, ` `!`."""
    return tiktoken.Encoding(
        name=name,
        pat_str=r"\w+|[^\w]",
        mergeable_ranks=RANKS,
        special_tokens={"<|endoftext|>": 300},
    )


@pytest.fixture(autouse=True)
def _nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever loads an encoding, which would download it, fails."""

    def load(*_: object, **__: object) -> NoReturn:
        pytest.fail("an encoding was loaded")

    for module in (tiktoken, tiktoken.registry):
        monkeypatch.setattr(module, "get_encoding", load)
    monkeypatch.setattr(tiktoken, "encoding_for_model", load)
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """As a service does at start: `tiktoken.get_encoding("o200k_base")`."""

    def load(name: str) -> None:
        monkeypatch.setitem(tiktoken.registry.ENCODINGS, name, tiny(name))

    return load


def delta(text: str) -> dict[str, Any]:
    return {"model": MODEL, "choices": [{"index": 0, "delta": {"content": text}}], "usage": None}


def cut_off(*texts: str, **fields: Any) -> ExtractedUsage:
    usage = usage_from([{**delta(text), **fields} for text in texts], provider="openai")
    assert usage is not None
    assert usage.quality == "estimated"
    return usage


@pytest.mark.parametrize(
    ("characters", "expected"), [(0, 0), (1, 1), (3, 1), (4, 1), (5, 2), (8, 2), (4001, 1001)]
)
def test_four_characters_are_a_token_and_a_part_of_it_is_one(
    characters: int, expected: int
) -> None:
    assert tokens([delta("x" * characters)], None) == expected
    assert cut_off("x" * characters).output_tokens == expected


def test_chunks_are_counted_together_and_not_one_by_one() -> None:
    assert cut_off(*("a" * 9)).output_tokens == 3


@given(st.lists(st.text(max_size=9), max_size=9))
def test_characters_not_bytes_are_counted(texts: list[str]) -> None:
    length = sum(len(text) for text in texts)
    assert tokens([delta(text) for text in texts], None) == (length + 3) // 4


STREAMS: Final[dict[str, list[dict[str, Any]]]] = {
    "openai chat, content and a tool's arguments": [
        {"choices": [{"delta": {"role": "assistant", "content": "1234"}}]},
        {"choices": [{"delta": {"refusal": "5678", "reasoning_content": "9012"}}]},
        {
            "choices": [
                {
                    "delta": {
                        "tool_calls": [
                            {"id": "call_1", "function": {"name": "f", "arguments": "3456"}}
                        ]
                    }
                }
            ]
        },
    ],
    "openai responses, whose later events say the same again": [
        {"type": "response.created", "response": {"id": "resp_1", "output": []}},
        {"type": "response.output_text.delta", "delta": "12345678"},
        {"type": "response.function_call_arguments.delta", "delta": "12345678"},
        {"type": "response.output_text.done", "text": "12345678"},
        {
            "type": "response.output_item.done",
            "item": {"content": [{"type": "output_text", "text": "12345678"}]},
        },
    ],
    "anthropic, text, thinking and a tool's input": [
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "12345678"}},
        {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "1234"}},
        {
            "type": "content_block_delta",
            "delta": {"type": "input_json_delta", "partial_json": "1234"},
        },
    ],
    "gemini": [
        {"candidates": [{"content": {"role": "model", "parts": [{"text": "12345678"}]}}]},
        {"candidates": [{"content": {"role": "model", "parts": [{"text": "12345678"}]}}]},
    ],
    "bedrock": [
        {"messageStart": {"role": "assistant"}},
        {"contentBlockDelta": {"delta": {"text": "12345678"}, "contentBlockIndex": 0}},
        {"contentBlockDelta": {"delta": {"reasoningContent": {"text": "12345678"}}}},
    ],
    "cohere": [
        {"type": "content-delta", "delta": {"message": {"content": {"text": "12345678"}}}},
        {"type": "content-delta", "delta": {"message": {"content": {"thinking": "12345678"}}}},
    ],
}


@pytest.mark.parametrize("parts", STREAMS.values(), ids=STREAMS)
def test_of_a_stream_the_text_counts_and_neither_names_nor_repeats_do(
    parts: list[dict[str, Any]],
) -> None:
    assert tokens(parts, None) == 4  # 16 characters


def test_what_the_loaded_encoding_counts_is_the_estimate(loaded: Callable[[str], None]) -> None:
    loaded(ENCODING)
    assert tiny().encode_ordinary(TEXT) == [259, ord(","), ord(" "), 259, ord("!")]
    assert cut_off(TEXT[:9], TEXT[9:]).output_tokens == 5
    assert tokens([delta(TEXT)], MODEL) == 5


def test_an_encoding_that_is_not_loaded_is_not_loaded_for_it() -> None:
    assert tokens([delta(TEXT)], MODEL) == 4
    assert cut_off(TEXT).output_tokens == 4
    assert tiktoken.registry.ENCODINGS == {}


@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "gpt-4-0613", "", None])
def test_an_encoding_of_other_models_is_not_used(
    model: str | None, loaded: Callable[[str], None]
) -> None:
    loaded(ENCODING)
    assert tokens([delta(TEXT)], model) == 4


def test_every_model_has_the_encoding_that_tiktoken_names(loaded: Callable[[str], None]) -> None:
    loaded("cl100k_base")
    assert tokens([delta(TEXT)], "gpt-4-0613") == 5
    assert tokens([delta(TEXT)], MODEL) == 4
    assert cut_off(TEXT, model="gpt-4-0613").output_tokens == 5


def test_text_that_looks_like_a_special_token_is_text(loaded: Callable[[str], None]) -> None:
    loaded(ENCODING)
    assert tokens([delta("<|endoftext|>")], MODEL) == len("<|endoftext|>")


def test_half_a_surrogate_pair_is_counted_and_raises_nothing(
    loaded: Callable[[str], None],
) -> None:
    loaded(ENCODING)
    assert cut_off("to", "\ud83d").output_tokens == 1 + len("\N{REPLACEMENT CHARACTER}".encode())


def test_a_service_without_tiktoken_has_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tiktoken")
    assert tokens([delta(TEXT)], MODEL) == 4
    assert "tiktoken" not in sys.modules


def test_a_stream_that_says_its_usage_is_not_estimated(loaded: Callable[[str], None]) -> None:
    loaded(ENCODING)
    last = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}
    usage = usage_from([delta(TEXT), last], provider="openai")
    assert usage is not None
    assert (usage.quality, usage.input_tokens, usage.output_tokens) == ("measured", 7, 3)


def test_text_that_is_nested_too_deep_raises_nothing() -> None:
    nested: list[Any] = []
    for _ in range(2_000):
        nested = [0, nested]
    stream = [{**delta(TEXT), "content": nested}]
    usage = usage_from(stream, provider="openai")
    assert usage is None or usage.quality == "estimated"

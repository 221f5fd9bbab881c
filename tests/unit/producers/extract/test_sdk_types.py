"""Every row of the table of payloads, as the providers' own SDKs hand it to their callers."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import pytest
from pydantic import BaseModel

from spendstream.producers.extract import ExtractedUsage, usage_from
from tests.unit.producers.extract.sdk import (
    anthropic_cases,
    bedrock_cases,
    google_cases,
    openai_cases,
    other_cases,
)
from tests.unit.producers.extract.sdk.case import Case, sdk_objects, unknown_names

CASES: Final = [
    *openai_cases.CASES,
    *anthropic_cases.CASES,
    *google_cases.CASES,
    *bedrock_cases.CASES,
    *other_cases.CASES,
]

ROWS: Final = {
    "OpenAI chat",
    "OpenAI stream",
    "OpenAI responses",
    "embeddings",
    "images",
    "transcription",
    "batch",
    "Azure OpenAI",
    "Anthropic",
    "Anthropic stream",
    "Gemini",
    "Bedrock Converse",
    "Mistral",
    "Cohere",
    "DeepSeek",
    "xAI",
    "Groq",
    "OpenRouter",
}
"""Of the table "Provider usage payloads" in FIELD.md."""
MORE: Final = {"OpenAI realtime", "OpenAI live", "OpenAI decisions", "OpenAI speech"}
"""Interfaces that the table has no row for."""
DOCUMENTED_ONLY: Final = {"Azure OpenAI", "DeepSeek", "xAI", "OpenRouter", "OpenAI speech"}
"""Rows without types in an SDK that is installed."""


def said(usage: ExtractedUsage | None) -> dict[str, Any] | None:
    if usage is None:
        return None
    return usage.model_dump(exclude_defaults=True, exclude={"conflicts", "provider_usage"})


@pytest.mark.parametrize("told", [True, False], ids=["api", "shape"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_figures(case: Case, told: bool) -> None:
    """Once with the interface named, once told by the payload's shape."""
    usage = usage_from(case.payload, provider=case.provider, api=case.api if told else None)
    assert said(usage) == case.expected


def test_every_row_of_the_table_has_a_fixture() -> None:
    assert {case.row for case in CASES} == ROWS | MORE


def test_what_streams_has_fixtures_of_both_kinds() -> None:
    """The table has two rows of OpenAI's chat and of Anthropic, one for each kind."""
    kinds = {(case.row.removesuffix(" stream"), isinstance(case.payload, list)) for case in CASES}
    rows = {row.removesuffix(" stream").replace("OpenAI chat", "OpenAI") for row in ROWS}
    kinds |= {("OpenAI", streamed) for row, streamed in kinds if row == "OpenAI chat"}
    assert {(row, False) for row in rows} <= kinds
    assert {(row, True) for row in rows - {"embeddings"}} <= kinds


def test_rows_without_an_sdk_are_counted_apart() -> None:
    built = Counter(case.row for case in CASES if not case.documented)
    documented = Counter(case.row for case in CASES if case.documented)
    assert built.keys() == (ROWS | MORE) - DOCUMENTED_ONLY
    assert documented.keys() == DOCUMENTED_ONLY


BUILT: Final = [case for case in CASES if not case.documented]


@pytest.mark.parametrize("case", BUILT, ids=str)
def test_a_fixture_is_the_sdks_own_and_has_no_name_that_it_does_not_know(case: Case) -> None:
    if case not in bedrock_cases.CASES:  # dicts, checked where they are built
        assert list(sdk_objects(case.payload))
    assert not list(unknown_names(case.payload))


def test_a_slip_of_the_pen_in_a_fixture_is_found() -> None:
    wrong = openai_cases.chat({**openai_cases.USED, "promt_tokens": 1})
    assert list(unknown_names([{"body": wrong}])) == ["CompletionUsage.promt_tokens"]
    with pytest.raises(AssertionError, match="cacheReadTokens"):
        bedrock_cases.conversed({**bedrock_cases.USED, "cacheReadTokens": 1})
    with pytest.raises(AssertionError, match="outputTokens"):
        bedrock_cases.conversed({**bedrock_cases.USED, "outputTokens": 1.0})


def dumped(value: Any) -> Any:
    """As a caller's queue may have it: by the names of the SDK, not always those of the wire."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_unset=True)
    if isinstance(value, dict):
        return {name: dumped(item) for name, item in value.items()}
    return [dumped(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_the_sdk_dumps_is_read_as_the_object_is(case: Case) -> None:
    usage = usage_from(dumped(case.payload), provider=case.provider, api=case.api)
    assert said(usage) == case.expected

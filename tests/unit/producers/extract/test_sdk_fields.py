"""Every field of the SDKs' usage types is known: read, and where to, or left out, and why.

A field that a new release adds makes this fail, as does a usage type that it adds. That a field is
read is shown: it is raised, or changed, and the figure that it goes into must follow.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Final

import pytest
from openai.types.completion_usage import CompletionUsage, PromptTokensDetails

from spendstream.producers.extract import ExtractedUsage, read_usage
from tests.unit.producers.extract.sdk import openai_blocks, other_blocks
from tests.unit.producers.extract.sdk.bedrock_cases import conversed, service
from tests.unit.producers.extract.sdk.block import (
    CHECKED,
    MORE,
    Block,
    Json,
    changed,
    holder,
    value_at,
)
from tests.unit.producers.extract.sdk.case import unknown_names
from tests.unit.producers.extract.sdk.fields import leaves, shape_leaves, usage_types, within

BLOCKS: Final = [*openai_blocks.BLOCKS, *other_blocks.BLOCKS]
ELSEWHERE: Final = frozenset(block.model for block in BLOCKS)


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_field_is_known(block: Block) -> None:
    assert not block.read.keys() & block.left_out.keys()
    assert leaves(block.model, ELSEWHERE) == block.read.keys() | block.left_out.keys()


def test_a_field_that_a_release_adds_is_found() -> None:
    class Later(CompletionUsage):
        prompt_tokens_by_hour: list[PromptTokensDetails] | None = None

    assert leaves(Later, ELSEWHERE) - leaves(CompletionUsage, ELSEWHERE) == {
        f"prompt_tokens_by_hour[].{name}" for name in PromptTokensDetails.model_fields
    }


def probes(which: Callable[[Block], dict[str, str]]) -> list[Any]:
    return [
        pytest.param(block, path, to, id=f"{block} {path}")
        for block in BLOCKS
        for path, to in which(block).items()
    ]


@pytest.mark.parametrize(("block", "path", "into"), probes(lambda block: block.read))
def test_a_figure_follows_the_field_that_it_is_read_from(
    block: Block, path: str, into: str
) -> None:
    before = copy.deepcopy(block.usage)
    for other in block.instead_of.get(path, ()):
        holder(before, other).pop(other.rpartition(".")[2])
    after = changed(before, path)
    was, now = figure(used(block, before), into), figure(used(block, after), into)
    if into == CHECKED:
        assert len(now) > len(was)
    elif isinstance(value_at(before, path), str):
        assert now != was
    else:
        assert now - was == MORE * (1000 if into.endswith("_ms") else 1)


@pytest.mark.parametrize(("block", "path", "why"), probes(lambda block: block.left_out))
def test_what_is_left_out_changes_nothing(block: Block, path: str, why: str) -> None:
    assert used(block, changed(block.usage, path)) == used(block, block.usage), why


def used(block: Block, usage: Json) -> ExtractedUsage:
    """Of the SDK's own object, whose names are all known to it."""
    sdk = block.model.model_validate(usage)
    assert not list(unknown_names(sdk))
    found = read_usage(block.wrap(sdk), provider=block.provider)
    assert found is not None
    return found.model_copy(update={"provider_usage": None})


def figure(usage: ExtractedUsage, path: str) -> Any:
    value: Any = usage
    for name in path.split("."):
        value = value[int(name)] if name.isdecimal() else getattr(value, name)
    return value


BEDROCK: Final = {
    "inputTokens": "input_tokens",
    "outputTokens": "output_tokens",
    "totalTokens": CHECKED,
    "cacheReadInputTokens": "cache_read_input_tokens",
    "cacheWriteInputTokens": "cache_write_input_tokens",
    "cacheDetails[].ttl": "cache_write_5m_input_tokens",
    "cacheDetails[].inputTokens": "cache_write_1h_input_tokens",
}
"""Of the shape `TokenUsage` in the service's model."""


def test_every_member_of_bedrocks_shape_is_known() -> None:
    assert set(shape_leaves(service().shape_for("TokenUsage"))) == BEDROCK.keys()


@pytest.mark.parametrize(("path", "into"), BEDROCK.items())
def test_a_figure_follows_the_member_that_it_is_read_from(path: str, into: str) -> None:
    before = {
        "inputTokens": 100,
        "outputTokens": 100,
        "totalTokens": 450,
        "cacheReadInputTokens": 50,
        "cacheWriteInputTokens": 200,
        "cacheDetails": [{"ttl": "1h", "inputTokens": 10}, {"ttl": "5m", "inputTokens": 10}],
    }
    after = changed(before, path)
    if path.endswith("ttl"):
        after["cacheDetails"][0]["ttl"] = "5m"
    was, now = (
        figure(usage, into)
        for payload in (before, after)
        if (usage := read_usage(conversed(payload), provider="aws.bedrock")) is not None
    )
    if into == CHECKED:
        assert len(now) > len(was)
    else:
        assert now - was == (10 if path.endswith("ttl") else MORE)


REPORTS: Final = "reports of the organization's usage, not of a call"
AGENTS: Final = "sessions of hosted agents, not of a call"
ITEMS: Final = "an item of an earlier response, handed back"
OLD: Final = "the Assistants API and the first Realtime API, which are gone"
NO_RESPONSE: Final = {
    "openai.types": {
        "admin/": REPORTS,
        "evals/": "runs of evaluations, not of a call",
        "beta/threads/": OLD,
        "beta/realtime/": OLD,
        "beta/token_usage.py:": AGENTS,
        "beta/beta_response_input_item.py:": ITEMS,
        "beta/beta_response_item.py:": ITEMS,
        "beta/beta_response_output_item.py:": "as in `responses`",
        "conversations/": ITEMS,
        "responses/response_input_item.py:": ITEMS,
        "responses/response_item.py:": ITEMS,
        "live/session_usage_updated_event.py:": "the event around SessionUsage",
    },
    "anthropic.types": {
        "beta/organization/": REPORTS,
        "organization/": REPORTS,
        "beta/beta_managed_agents_": AGENTS,
        "beta/sessions/": AGENTS,
        "beta/beta_dream_usage.py:": AGENTS,
    },
    "google.genai": {
        "types.py:CachedContentUsageMetadata": "of a cache when it is made; billed as it is used",
    },
    "cohere": {"datasets/": REPORTS},
    "mistralai.client.models": {},
    "groq.types": {},
}
"""Usage types that no response of a call has, by the beginning of their place, and why."""


@pytest.mark.parametrize("package", NO_RESPONSE)
def test_every_usage_type_of_an_sdk_is_known(package: str) -> None:
    known = {
        f"{model.__module__.removeprefix(package + '.').replace('.', '/')}.py:{model.__name__}"
        for block in BLOCKS
        for model in within(block.model)
    }
    found = set(usage_types(package)) - known
    left_out = tuple(NO_RESPONSE[package])
    assert not sorted(name for name in found if not name.startswith(left_out))
    assert not [place for place in left_out if not any(name.startswith(place) for name in found)]

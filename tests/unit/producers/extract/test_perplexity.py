"""Perplexity: Sonar and deep research, the Agent API, embeddings."""

from __future__ import annotations

from typing import Any

import pytest

from spendstream.producers.extract import ExtractedUsage, Unreadable, read_usage, usage_from


def used(payload: object) -> ExtractedUsage:
    usage = usage_from(payload, provider="perplexity")
    assert usage is not None
    return usage


def said(usage: ExtractedUsage) -> dict[str, Any]:
    """The counts that are not 0."""
    counts = usage.model_dump(exclude_defaults=True)
    return {name: n for name, n in counts.items() if n and type(n) is int}


def sonar(**usage: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}
    return {"id": "p-1", "model": "sonar-deep-research", "choices": [choice], "usage": usage}


@pytest.mark.parametrize("total", [130, 1030, 3030])
def test_deep_research_bills_reasoning_and_citations_on_top_whatever_its_total_knows(
    total: int,
) -> None:
    usage = used(
        sonar(
            prompt_tokens=30,
            completion_tokens=100,
            total_tokens=total,
            reasoning_tokens=900,
            citation_tokens=2000,
            num_search_queries=18,
            search_context_size="low",
            cost={"input_tokens_cost": 0.0001, "total_cost": 0.127},
        )
    )
    assert said(usage) == {
        "input_tokens": 30,
        "output_tokens": 1000,
        "reasoning_output_tokens": 900,
        "citation_tokens": 2000,
        "web_searches": 18,
    }
    assert usage.quality == "measured"
    assert usage.reported_cost_pico == "127000000000"
    assert (usage.model, usage.response_id) == ("sonar-deep-research", "p-1")


def test_another_total_is_a_conflict() -> None:
    usage = used(sonar(prompt_tokens=30, completion_tokens=100, total_tokens=131))
    assert said(usage) == {"input_tokens": 30, "output_tokens": 100}
    assert usage.quality == "conflicting"


def chunk(content: str, so_far: str, finish: str | None, completion: int) -> dict[str, Any]:
    choice = {
        "index": 0,
        "delta": {"content": content},
        "message": {"content": so_far},
        "finish_reason": finish,
    }
    usage = {
        "prompt_tokens": 5,
        "completion_tokens": completion,
        "total_tokens": 5 + completion,
    }
    return {"id": "p-2", "model": "sonar", "choices": [choice], "usage": usage}


def test_every_chunk_has_the_usage_so_far_and_without_an_end_it_is_a_lower_bound() -> None:
    first, second = "x" * 40, "y" * 40
    stream = [chunk(first, first, None, 1), chunk(second, first + second, None, 2)]
    cut = used(stream)
    assert (said(cut), cut.quality) == ({"input_tokens": 5, "output_tokens": 20}, "estimated")
    whole = used([*stream, chunk("", first + second, "stop", 21)])
    assert (said(whole), whole.quality) == ({"input_tokens": 5, "output_tokens": 21}, "measured")


def test_an_agents_details_are_inside_its_totals() -> None:
    body = {
        "id": "resp_1",
        "object": "response",
        "model": "openai/gpt-5.2",
        "status": "completed",
        "usage": {
            "input_tokens": 500,
            "input_tokens_details": {
                "cache_read_input_tokens": 300,
                "cache_creation_input_tokens": 100,
            },
            "output_tokens": 60,
            "output_tokens_details": {"reasoning_tokens": 40},
            "total_tokens": 560,
            "tool_calls_details": {
                "search_web": {"invocation": 3},
                "fetch_url": {"invocation": 2},
            },
            "cost": {"currency": "USD", "total_cost": 0.0151},
        },
    }
    for payload in (body, [{"type": "response.completed", "response": body}]):
        usage = used(payload)
        assert said(usage) == {
            "input_tokens": 500,
            "cache_read_input_tokens": 300,
            "cache_write_input_tokens": 100,
            "output_tokens": 60,
            "reasoning_output_tokens": 40,
            "web_searches": 3,
            "web_fetches": 2,
        }
        assert usage.reported_cost_pico == "15100000000"
        assert (usage.model, usage.response_id) == ("openai/gpt-5.2", "resp_1")


def test_embeddings_have_no_output() -> None:
    usage = {"prompt_tokens": 12, "total_tokens": 12, "cost": {"total_cost": 4.8e-8}}
    found = used({"object": "list", "data": [], "model": "pplx-embed-v1-4b", "usage": usage})
    assert said(found) == {"input_tokens": 12}
    assert found.reported_cost_pico == "48000"


def test_no_usage_is_unknown_and_a_broken_one_unreadable() -> None:
    assert read_usage({"results": []}, provider="perplexity") is None
    for broken in ({"citation_tokens": "9"}, {"reasoning_tokens": -1}, {"cost": [1]}):
        usage = {"prompt_tokens": 1, "completion_tokens": 1} | broken
        with pytest.raises(Unreadable):
            read_usage({"usage": usage}, provider="perplexity")

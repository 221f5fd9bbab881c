"""Perplexity: Sonar, the Agent API and embeddings, in OpenAI's shapes with more beside them.

Deep research bills reasoning and citation tokens on top of `completion_tokens`, and `total_tokens`
knows of neither ("Pricing", "Sonar deep research"). Every chunk of a stream has the usage so far.
`cost.total_cost` is what the request was charged, in USD (SDK types `UsageInfo`, `ResponsesUsage`).
"""

from __future__ import annotations

from collections.abc import Sequence

from spendstream.producers.extract import estimate, openai
from spendstream.producers.extract.counts import block, count, number, objects, pico
from spendstream.producers.extract.ending import cut_off
from spendstream.producers.extract.found import Found
from spendstream.producers.extract.plain import Object


def read(parts: Sequence[Object], api: str | None = None) -> Found | None:
    """`api` changes nothing: every shape says what it is."""
    found = openai.read(parts, api)
    if found is None:
        return None
    if "prompt_tokens" in found.block:
        _sonar(found)
    else:
        _agent(found)
    found.cost_pico = pico(block(found.block, "cost").get("total_cost"))
    choices = [choice for part in parts for choice in objects(part, "choices")]
    if cut_off(choices):
        # a choice's `message` repeats what its deltas have said so far
        deltas = [block(choice, "delta") for choice in choices]
        seen = estimate.tokens(deltas, found.model)
        found.counts["output_tokens"] = max(found.counts["output_tokens"], seen)
        found.estimated = True
    return found


def _sonar(found: Found) -> None:
    usage, counts = found.block, found.counts
    said = counts["input_tokens"] + counts["output_tokens"]
    reasoning = number(usage, "reasoning_tokens")
    citations = number(usage, "citation_tokens")
    if count(usage, "total_tokens") in (said + reasoning, said + reasoning + citations):
        found.conflicts.clear()  # where it does know of them
    counts["output_tokens"] += reasoning
    counts["citation_tokens"] = citations
    counts["web_searches"] = number(usage, "num_search_queries")


def _agent(found: Found) -> None:
    """A response of the Agent API: the details are parts of the totals."""
    usage, counts = found.block, found.counts
    details = block(usage, "input_tokens_details")
    tools = block(usage, "tool_calls_details")
    counts["cache_read_input_tokens"] = number(details, "cache_read_input_tokens", "cached_tokens")
    counts["cache_write_input_tokens"] = number(details, "cache_creation_input_tokens")
    # the tool is called `web_search`, its steps `search_web`
    counts["web_searches"] = number(block(tools, "web_search"), "invocation") + number(
        block(tools, "search_web"), "invocation"
    )
    counts["web_fetches"] = number(block(tools, "fetch_url"), "invocation")

"""OpenRouter: OpenAI's shapes, with what the call cost.

`cost` is what OpenRouter charges. With the caller's own key (`is_byok`) that is its fee alone, and
`cost_details.upstream_inference_cost` comes on top from the provider. Source: OpenRouter's
documentation, "usage accounting".
"""

from __future__ import annotations

from collections.abc import Sequence

from spendstream.producers.extract import openai
from spendstream.producers.extract.counts import block, pico
from spendstream.producers.extract.found import Found
from spendstream.producers.extract.plain import Object


def read(parts: Sequence[Object], api: str | None = None) -> Found | None:
    found = openai.read(parts, api)
    if found is None:
        return None
    cost = pico(found.block.get("cost"))
    if cost is not None and found.block.get("is_byok") is True:
        upstream = block(found.block, "cost_details").get("upstream_inference_cost")
        cost += pico(upstream) or 0
    found.cost_pico = cost
    return found

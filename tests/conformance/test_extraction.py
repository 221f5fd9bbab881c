"""Recorded responses of all providers, with the figures that public projects assert for them.

The cases stay outside the repository (their README says where they are from); without them this is
skipped. `DIFFERS` names every case where ours is another figure, and why: an unlisted difference
fails, and so does a listed one that is none any more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from spendstream.producers.extract import ExtractedUsage, usage_from
from spendstream.schemas.prices.calc import FIELDS as COUNTS

CASES: Final = Path(__file__).parents[3] / "shared/data/conformance/extraction.jsonl"

FIELDS: Final = {
    # as `prices calc` reads them; what is counted in seconds there is looked at apart
    **{name: field for name, field in COUNTS.items() if not field.endswith("_ms")},
    "billed_input_tokens": "input_tokens",
    "billed_output_tokens": "output_tokens",
    "service_tier": "service_tier",
}
NOT_KEPT: Final = frozenset(
    {
        # Cohere bills units; what its model saw is not billed
        "model_input_tokens",
        "model_output_tokens",
        "model_cached_tokens",
        # calls and sources without a price of their own
        "server_tool_calls",
        "num_sources_used",
    }
)
DIFFERS: Final = {
    "pydai-openrouter-test_openrouter_stream_error-0": (
        "11 reasoning tokens of a completion of 10: OpenRouter documents them as part of the"
        " completion, so 10 stand, the usage is `conflicting` and the block is kept"
    ),
    "vercel-anthropic-programmatic-tool-calling.1-stream": (
        "fifteen messages with an id each in one list, of which the source keeps the last one's"
        " figures: every message is charged (Anthropic, Messages API), so they add up, and the"
        " usage is `conflicting`"
    ),
    "pydai-aws.bedrock-TestBedrock.test_cohere_v3_with_base_truncate-0": (
        "the count is in a header of the answer and not in the payload (Bedrock, InvokeModel:"
        " x-amzn-bedrock-input-token-count); it is read where boto3's ResponseMetadata is handed in"
    ),
}


def cases() -> Iterator[Any]:
    if CASES.exists():
        with CASES.open() as lines:
            for line in lines:
                case = json.loads(line)
                yield pytest.param(case, id=case["id"])
    else:
        why = f"the conformance cases are not there: {CASES.name}"
        yield pytest.param({}, marks=pytest.mark.skip(reason=why))


@pytest.mark.parametrize("case", tuple(cases()))
@pytest.mark.parametrize("told", [True, False], ids=["api", "shape"])
def test_recorded(case: dict[str, Any], told: bool) -> None:
    """Once with the interface named, once told by the payload's shape."""
    usage = usage_from(
        case["payload"], provider=case["provider"], api=case["api"] if told else None
    )
    differs = differences(case, usage)
    if case["id"] in DIFFERS:
        assert differs, "it is listed as one that differs"
        assert usage is None or usage.quality == "conflicting"
    else:
        assert not differs


def test_few_differ() -> None:
    assert len(DIFFERS) * 100 <= sum(1 for _ in cases()) or not CASES.exists()


def differences(case: dict[str, Any], usage: ExtractedUsage | None) -> list[str]:
    readings = [case["expected"]]
    if case.get("ambiguous"):
        # a source that reads zeros where all counts are null, or a fraction of a token, is no
        # more right than unknown
        readings.append(case.get("alternative") if "alternative" in case else None)
    found = [_differences(case, reading, usage) for reading in readings]
    return [] if not all(found) else found[0]


def _differences(case: dict[str, Any], expected: Any, usage: ExtractedUsage | None) -> list[str]:
    if expected is None or expected == "reject":
        # of a stream that was cut off before its usage, a lower bound that says so may be known
        cut = case["streaming"] and usage is not None and usage.quality == "estimated"
        return [] if usage is None or cut else [f"expected none, found {usage!r}"]
    if usage is None:
        return ["expected a usage, found none"]
    if expected.get("complete") is False and usage.quality != "estimated":
        return ["cut off, and not marked as estimated"]
    return [
        f"{name}: expected {value}, found {got}"
        for name, value in expected.items()
        if name not in NOT_KEPT and (got := _got(usage, name, value)) != value
    ]


def _got(usage: ExtractedUsage, name: str, value: Any) -> Any:
    if name in FIELDS:
        return getattr(usage, FIELDS[name])
    cost = Decimal(usage.reported_cost_pico or -1)
    if name == "provider_cost_usd":
        return value if cost == (Decimal(value) * 10**12).to_integral_value() else str(cost)
    if name == "provider_cost_usd_ticks":
        return cost / 100
    if name == "audio_seconds":
        return usage.audio_input_ms / 1000
    if name == "complete":
        return usage.quality != "estimated"
    if name == "output_tokens_lower_bound":
        return min(usage.output_tokens, value)
    if name == "other_model_iterations":
        # the answering model's own pass is in the totals, and not another model's
        others = [one for one in value if one["model"] != usage.model]
        found = [
            (
                other.model,
                other.input_tokens,
                other.output_tokens,
                other.cache_read_input_tokens,
                other.cache_write_input_tokens,
            )
            for other in usage.other_models
        ]
        wanted = [
            (
                one["model"],
                one["input_tokens_total"],
                one["output_tokens_total"],
                one["cache_read_tokens"],
                one["cache_write_tokens"],
            )
            for one in others
        ]
        return value if found == wanted else found
    raise AssertionError(f"a figure that this test does not know: {name}")

"""Terms of providers that genai-prices' data does not hold, each with its source.

They apply to the provider's own list, not to another provider's who sells the same model.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from spendstream.schemas.prices.book import Context
from spendstream.schemas.prices.context import says
from spendstream.schemas.prices.published import Terms

WHISPER: Final = frozenset({"whisper-large-v3", "whisper-large-v3-turbo"})
"""Groq charges a request for 10 seconds at least (console.groq.com/docs/speech-to-text; it is in
genai-prices' code and not in its data)."""

US_INFERENCE: Final = Decimal("1.1")
"""Anthropic's `inference_geo: us` costs 1.1 times as much in all token prices, on top of batch and
fast mode, from Claude Opus 4.6 on; older models cost the same everywhere
(platform.claude.com/docs/en/build-with-claude/data-residency)."""
_WITH_REGIONS: Final = (4, 6)
_CLAUDE: Final = re.compile(r"claude-[a-z]+-(\d{1,2})(?:-(\d{1,2}))?(?!\d)")

FETCHES_ARE_FREE: Final = {"web_fetches": 0}
"""Anthropic's web fetch costs its tokens alone
(platform.claude.com/docs/en/agents-and-tools/tool-use/web-fetch-tool)."""


def terms_of(provider: str, model: str, context: Context) -> Terms:
    """`provider` and `model` are genai-prices' ids of the list and of the model in it."""
    if provider == "anthropic":
        times = US_INFERENCE if says(context, "region", "us") and _has_regions(model) else None
        return Terms(times=times, beside=FETCHES_ARE_FREE)
    if provider == "groq" and model in WHISPER:
        return Terms(minimum_audio_ms=10_000)
    return Terms()


def _has_regions(model: str) -> bool:
    found = _CLAUDE.match(model)
    return found is not None and (int(found[1]), int(found[2] or 0)) >= _WITH_REGIONS


def has_regions(provider: str) -> bool:
    """Whether a provider charges by region. Of others a region says where a call ran, and not that
    it cost more."""
    return provider == "anthropic"


def knows_region(provider: str, region: str) -> bool:
    """Whether what the region adds to the price is known."""
    return region == "us" or not has_regions(provider)

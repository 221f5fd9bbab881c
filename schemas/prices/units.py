"""What is sold, and by how much of it: every leaf that usage is split into, with its price's unit.

A *leaf* is a part of a call's usage with one price; no token is in two. Prices are published in
USD a million tokens, a thousand searches, an hour of audio; in here they are integers of atto-USD
(10⁻¹⁸), a token, a search, an hour.

Source of the names of published prices: genai-prices' units (`input_mtok`, `requests_kcount`, …).
It has none for cache writes that are kept 30 minutes or 12 hours, for images by number and for web
fetches: those have prices from the operator only, or from `extras`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, get_args

LeafName = Literal[
    "input",
    "input_audio",
    "input_image",
    "input_video",
    "cache_read",
    "cache_read_audio",
    "cache_read_image",
    "cache_read_video",
    "cache_write",
    "cache_write_5m",
    "cache_write_30m",
    "cache_write_1h",
    "cache_write_12h",
    "output",
    "output_reasoning",
    "output_audio",
    "output_image",
    "output_video",
    "output_citation",
    "input_audio_time",
    "output_audio_time",
    "input_characters",
    "images",
    "pages",
    "web_searches",
    "web_fetches",
    "search_units",
    "requests",
]
LEAVES: Final[tuple[str, ...]] = get_args(LeafName)

ATTO_A_MILLIONTH: Final = 10**12
ATTO_A_THOUSANDTH: Final = 10**15
ATTO_A_USD: Final = 10**18

MS_AN_HOUR: Final = 3_600_000
"""Audio by time: the quantity is milliseconds, the price that of an hour. A price a millisecond
would not be a whole number of atto-USD."""


class Unit(NamedTuple):
    """How a leaf's price is published.

    Attributes:
        keys: genai-prices' names of it; the first one that has a price counts.
        atto: atto-USD of one USD of the published price, for a token, search, hour, …
        field: of `Usage`, where it stands beside the tokens; empty for tokens and `requests`.
    """

    keys: tuple[str, ...]
    atto: int
    field: str = ""


TOKENS: Final[Mapping[str, Unit]] = {
    "input": Unit(("input_mtok",), ATTO_A_MILLIONTH),
    "input_audio": Unit(("input_audio_mtok",), ATTO_A_MILLIONTH),
    "input_image": Unit(("input_image_mtok",), ATTO_A_MILLIONTH),
    "input_video": Unit(("input_video_mtok",), ATTO_A_MILLIONTH),
    "cache_read": Unit(("cache_read_mtok",), ATTO_A_MILLIONTH),
    "cache_read_audio": Unit(("cache_audio_read_mtok",), ATTO_A_MILLIONTH),
    "cache_read_image": Unit(("cache_image_read_mtok",), ATTO_A_MILLIONTH),
    "cache_read_video": Unit(("cache_video_read_mtok",), ATTO_A_MILLIONTH),
    "cache_write": Unit(("cache_write_mtok",), ATTO_A_MILLIONTH),
    "cache_write_5m": Unit(("cache_write_5m_mtok",), ATTO_A_MILLIONTH),
    "cache_write_30m": Unit((), ATTO_A_MILLIONTH),
    "cache_write_1h": Unit(("cache_write_1h_mtok",), ATTO_A_MILLIONTH),
    "cache_write_12h": Unit((), ATTO_A_MILLIONTH),
    "output": Unit(("output_mtok",), ATTO_A_MILLIONTH),
    "output_reasoning": Unit(("output_reasoning_mtok",), ATTO_A_MILLIONTH),
    "output_audio": Unit(("output_audio_mtok",), ATTO_A_MILLIONTH),
    "output_image": Unit(("output_image_mtok",), ATTO_A_MILLIONTH),
    "output_video": Unit(("output_video_mtok",), ATTO_A_MILLIONTH),
    "output_citation": Unit(("output_citation_mtok",), ATTO_A_MILLIONTH),
}
"""Prices of tokens: these may depend on the size of the call's input."""

BESIDE: Final[Mapping[str, Unit]] = {
    "input_audio_time": Unit(("input_audio_hours", "audio_hours"), ATTO_A_USD, "audio_input_ms"),
    "output_audio_time": Unit(("output_audio_hours", "audio_hours"), ATTO_A_USD, "audio_output_ms"),
    "input_characters": Unit(("input_mchars",), ATTO_A_MILLIONTH, "input_characters"),
    "images": Unit((), ATTO_A_USD, "images"),
    "pages": Unit(("input_document_kpages",), ATTO_A_THOUSANDTH, "pages"),
    "web_searches": Unit(("web_searches_kcount",), ATTO_A_THOUSANDTH, "web_searches"),
    "web_fetches": Unit((), ATTO_A_THOUSANDTH, "web_fetches"),
    "search_units": Unit(("rerank_searches_kcount",), ATTO_A_THOUSANDTH, "search_units"),
    "requests": Unit(("requests_kcount",), ATTO_A_THOUSANDTH),
}
"""Prices of what is counted beside the tokens."""

UNITS: Final[Mapping[str, Unit]] = {**TOKENS, **BESIDE}

PER: Final[Mapping[str, int]] = {
    "input_audio_time": MS_AN_HOUR,
    "output_audio_time": MS_AN_HOUR,
}
"""What a leaf's quantity is divided by before it meets its price; 1 where a leaf is not named."""

SIDES: Final[Mapping[str, Literal["input", "output"]]] = {
    **{name: "input" for name in LEAVES if name.startswith(("input", "cache")) or name == "pages"},
    **{name: "output" for name in LEAVES if name.startswith("output") or name == "images"},
}
"""A call's input cost and output cost apart; searches, fetches and fees are neither's."""

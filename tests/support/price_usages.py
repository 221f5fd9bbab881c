"""Generated usage, as spendstream's events say it and as genai-prices does: built from parts that
do not overlap, so that every subset of either form fits."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Any

import genai_prices
from genai_prices.types import ModelPrice

from spendstream.schemas.usage import Usage

INPUT = (
    "text", "audio", "image", "video",
    "read_text", "read_audio", "read_image", "read_video",
    "write_5m", "write_1h",
)  # fmt: skip
OUTPUT = ("text", "reasoning", "audio", "image", "video")


@dataclass(frozen=True)
class Parts:
    """Tokens by part, and what is counted beside them."""

    input: dict[str, int]
    output: dict[str, int]
    citations: int = 0
    audio_ms: int = 0
    characters: int = 0
    pages: int = 0
    searches: int = 0

    @property
    def input_tokens(self) -> int:
        return sum(self.input.values())

    @property
    def output_tokens(self) -> int:
        return sum(self.output.values())

    def ours(self) -> Usage:
        i, o = self.input, self.output
        return Usage(
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cache_read_input_tokens=sum(n for name, n in i.items() if name.startswith("read")),
            cache_write_input_tokens=i["write_5m"] + i["write_1h"],
            cache_write_5m_input_tokens=i["write_5m"],
            cache_write_1h_input_tokens=i["write_1h"],
            audio_input_tokens=i["audio"] + i["read_audio"],
            image_input_tokens=i["image"] + i["read_image"],
            video_input_tokens=i["video"] + i["read_video"],
            cache_read_audio_input_tokens=i["read_audio"],
            cache_read_image_input_tokens=i["read_image"],
            cache_read_video_input_tokens=i["read_video"],
            reasoning_output_tokens=o["reasoning"],
            audio_output_tokens=o["audio"],
            image_output_tokens=o["image"],
            video_output_tokens=o["video"],
            citation_tokens=self.citations,
            audio_input_ms=self.audio_ms,
            input_characters=self.characters,
            pages=self.pages,
            web_searches=self.searches,
        )

    def theirs(self) -> genai_prices.Usage:
        ours = self.ours()
        seconds = Decimal(self.audio_ms) / 1000
        said: dict[str, Any] = {
            "input_tokens": ours.input_tokens,
            "output_tokens": ours.output_tokens + ours.citation_tokens,
            "cache_read_tokens": ours.cache_read_input_tokens,
            "cache_write_tokens": ours.cache_write_input_tokens,
            "cache_write_5m_tokens": ours.cache_write_5m_input_tokens,
            "cache_write_1h_tokens": ours.cache_write_1h_input_tokens,
            "output_reasoning_tokens": ours.reasoning_output_tokens,
            "output_citation_tokens": ours.citation_tokens,
            "audio_seconds": seconds,
            "input_audio_seconds": seconds,
            "input_characters": ours.input_characters,
            "input_document_pages": ours.pages,
            "web_searches": ours.web_searches,
        }
        for kind in ("audio", "image", "video"):
            said[f"input_{kind}_tokens"] = getattr(ours, f"{kind}_input_tokens")
            said[f"cache_{kind}_read_tokens"] = getattr(ours, f"cache_read_{kind}_input_tokens")
            said[f"output_{kind}_tokens"] = getattr(ours, f"{kind}_output_tokens")
        return genai_prices.Usage(**said)


def parts_of(prices: ModelPrice, random: Random, input_tokens: int) -> Parts:
    """Usage of so many input tokens, with what the model has prices for beside them."""
    sold = {name for name, price in vars(prices).items() if price is not None}
    plain = random.random() < 0.3
    return Parts(
        _shared_out(random, input_tokens, INPUT, plain),
        _shared_out(random, random.choice([0, 1, 777, 65_537]), OUTPUT, plain),
        citations=random.randint(0, 99) if "output_citation_mtok" in sold else 0,
        audio_ms=random.randint(10_000, 9_999_999) if "audio_hours" in sold else 0,
        characters=random.randint(1, 9999) if "input_mchars" in sold else 0,
        pages=random.randint(1, 99) if "input_document_kpages" in sold else 0,
        searches=random.randint(0, 9) if "web_searches_kcount" in sold else 0,
    )


def _shared_out(random: Random, total: int, names: tuple[str, ...], plain: bool) -> dict[str, int]:
    parts = dict.fromkeys(names, 0)
    if not plain:
        for name in random.sample(names[1:], len(names) // 2):
            parts[name] = random.randint(0, total // len(names))
    parts["text"] = total - sum(parts.values())
    return parts

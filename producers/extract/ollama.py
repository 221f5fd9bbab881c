"""Ollama: its own API counts `prompt_eval_count` and `eval_count`, in a stream with the last line;
its compatible API speaks OpenAI's shapes. Source: Ollama's API documentation.

A prompt that was still in memory has no `prompt_eval_count`: the input is then known to be at least
nothing, and the usage is `estimated`.
"""

from __future__ import annotations

from collections.abc import Sequence

from spendstream.producers.extract import openai
from spendstream.producers.extract.counts import count
from spendstream.producers.extract.found import Found
from spendstream.producers.extract.plain import Object


def read(parts: Sequence[Object], api: str | None = None) -> Found | None:
    for part in reversed(parts):
        inputs, outputs = count(part, "prompt_eval_count"), count(part, "eval_count")
        if inputs is not None or outputs is not None:
            counts = {"input_tokens": inputs or 0, "output_tokens": outputs or 0}
            names = ("prompt_eval_count", "eval_count")
            found = Found(counts, {name: part[name] for name in names if name in part})
            found.estimated = inputs is None
            found.model = part["model"] if isinstance(part.get("model"), str) else None
            return found
    return openai.read(parts, api)

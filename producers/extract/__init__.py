"""From a provider's response, or the chunks of a stream, to its usage: once, and all of it.

    usage_from(response, provider="anthropic")              # an SDK's object, a dict, JSON
    usage_from(chunks, provider="openai", api="responses")  # a stream, whole or cut off

A file a provider. Each says what its provider documents about totals and subsets; what all have in
common is in `plain` (what a caller may hand in), `counts` (what a count is) and `found` (sums that
do not add up).
"""

from __future__ import annotations

import logging
from typing import Final

from spendstream.producers.extract import estimate
from spendstream.producers.extract.counts import named
from spendstream.producers.extract.ending import finished
from spendstream.producers.extract.found import ExtractedUsage, Found, settled
from spendstream.producers.extract.plain import Unreadable, parts_of
from spendstream.producers.extract.providers import reader_of

__all__ = ["ExtractedUsage", "Unreadable", "read_usage", "usage_from"]

log: Final = logging.getLogger("spendstream.extract")


def usage_from(
    payload_or_chunks: object, *, provider: str, api: str | None = None
) -> ExtractedUsage | None:
    """The usage of a response; None: there is none in it, which is unknown and not zero.

    Never raises for what a payload holds: where its usage cannot be trusted the answer is None, and
    the logger `spendstream.extract` says why (`read_usage` raises instead).

    Args:
        payload_or_chunks: an SDK's object, a mapping, JSON as text or bytes; or the chunks of a
            stream as any iterable of these, or as the text of server-sent events. A stream that was
            cut off before its usage gives what was seen of it, as `estimated`.
        provider: `gen_ai.provider.name` of OpenTelemetry (`openai`, `anthropic`, `gcp.gemini`,
            `aws.bedrock`, …), or a usual other name of it (`bedrock`, `gemini`). One that is not
            known is read as compatible with OpenAI's or, where that is its shape, Anthropic's.
        api: which of the provider's interfaces (`chat`, `responses`, `messages`, `converse`, …);
            where it is not given it is told by the payload's shape.
    """
    try:
        return read_usage(payload_or_chunks, provider=provider, api=api)
    except Unreadable as error:
        log.warning("no usage taken from a response of %s: %s", provider, error)
        return None


def read_usage(
    payload_or_chunks: object, *, provider: str, api: str | None = None
) -> ExtractedUsage | None:
    """As `usage_from`; raises Unreadable where a usage is there and cannot be trusted."""
    parts, streamed = parts_of(payload_or_chunks)
    read = reader_of(provider, parts)
    found = read(parts, api) if parts else None
    if found is None and streamed and parts and not finished(parts):
        model = named(parts, "model")
        seen = estimate.tokens(parts, model)
        found = Found({"input_tokens": 0, "output_tokens": seen}, estimated=True, model=model)
        found.response_id = named(parts, "id")
        found.service_tier = named(parts, "service_tier")
    return None if found is None else settled(found)

"""Anthropic's SDK: `Anthropic`, `AsyncAnthropic`, and their twins on Bedrock and Vertex."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from spendstream.producers.wrap.call import Called
from spendstream.producers.wrap.stainless import Asked, Stainless
from spendstream.producers.wrap.switch import Watch

_OPERATIONS: Final = {"/v1/messages": "chat", "/v1/complete": "text_completion"}


class Anthropic(Stainless):
    module = "anthropic"

    def asked(self, client: Any, options: Any, watch: Watch, *, stream: bool) -> Asked | None:
        operation = _OPERATIONS.get(options.url.partition("?")[0])
        if operation is None or options.method.lower() != "post":
            return None
        body = options.json_data if isinstance(options.json_data, Mapping) else {}
        # `extra_body`, whose fields stand above the others
        model = {**body, **(options.extra_json or {})}.get("model")
        called = Called(
            watch.provider or _provider(client),
            operation,
            model if isinstance(model, str) and model else None,
        )
        return Asked(called, options)


def _provider(client: Any) -> str:
    """By the kind of client."""
    kind = type(client).__name__
    if "Bedrock" in kind:
        return "aws.bedrock"
    return "gcp.vertex_ai" if "Vertex" in kind else "anthropic"

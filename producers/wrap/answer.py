"""What an SDK hands back: an object of its own, or something around a response of httpx."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from spendstream.producers.wrap.body import end_with
from spendstream.producers.wrap.call import Call
from spendstream.producers.wrap.follow import follow

log: Final = logging.getLogger("spendstream.wrap")


def answered(call: Call, answer: Any, *, hide_usage: bool = False) -> None:
    """Read now what is there, else along with the caller."""
    try:
        if isinstance(answer, BaseModel):
            end_with(call, {**vars(answer), **(answer.model_extra or {})})
            return
        if isinstance(answer, Mapping):  # of `client.post(…, cast_to=object)`
            end_with(call, answer)
            return
        response = _http_response(answer)
        if response is None:  # a transcription as text
            call.ended({})
        elif response.status_code >= 400:  # which the SDK is still to raise
            call.failed(RuntimeError(f"status {response.status_code}"))
        # a stream that a hook or a cache has read already: the SDK reads it still
        elif not response.is_closed or "event-stream" in response.headers.get("content-type", ""):
            follow(response, call, hide_usage=hide_usage)
        elif "json" in response.headers.get("content-type", ""):
            end_with(call, json.loads(response.content))
        else:  # speech
            call.ended({})
    except Exception:  # it is the watching that failed, not the call
        log.exception("what a call used could not be read")
        call.ended(None)


def _http_response(answer: Any) -> Any:
    """Of a raw response, of a stream or of binary content; None: it is something else."""
    for name in ("http_response", "response"):
        if (response := getattr(answer, name, None)) is not None:
            return response
    return answer if hasattr(answer, "aiter_bytes") else None

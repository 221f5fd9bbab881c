"""What is sent to a request: its endpoint's answer, and what a fault makes of its content."""

from __future__ import annotations

from tests.fakes.answer import Answer, MissingError, Received
from tests.fakes.faults import Empty, Fails, Malformed
from tests.fakes.provider import Endpoint, Provider
from tests.fakes.reply import JSON, Reply, Streamed, Whole, encoded, whole


def reply_of(provider: Provider, endpoint: Endpoint, request: Received, answer: Answer) -> Reply:
    fault = answer.fault
    if isinstance(fault, Fails) and fault.after is None:
        # whatever else is wrong with the request: a provider that is down does not look
        return _failure(provider, fault)
    try:
        reply = endpoint(request, answer)
    except MissingError as error:
        return whole(provider.error(400, str(error), error.name), 400)
    match fault:
        case Empty():
            return Whole(b"", content_type=reply.content_type)
        case Malformed():
            return _malformed(reply, fault.after)
        case Fails() if isinstance(reply, Streamed):
            sent = reply.chunks[: fault.after]
            last = provider.error_chunk(request, fault.message, len(sent))
            return Streamed([*sent, last], reply.content_type)
        case Fails():
            return _failure(provider, fault)
    return reply


def _failure(provider: Provider, fault: Fails) -> Whole:
    ms, headers = fault.retry_after_ms, {}
    if ms is not None:
        headers = {"retry-after": str(ms // 1000), "retry-after-ms": str(ms)}
    body = encoded(provider.error(fault.status, fault.message))
    return Whole(body, fault.status, JSON, headers)


def _malformed(reply: Reply, after: int) -> Reply:
    """JSON without its last brace, in the answer or in the chunk after so many."""
    if isinstance(reply, Whole):
        return Whole(reply.body[:-1], reply.status, reply.content_type)
    chunks = list(reply.chunks)
    broken = min(after, len(chunks) - 1)
    chunks[broken] = chunks[broken].rstrip()[:-1] + b"\n\n"
    return Streamed(chunks, reply.content_type)

"""The same use of a client twice: of a bare one, and of one that is watched. Whatever a caller or
the server can see is the same."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from pydantic import BaseModel

from spendstream.producers import instrument, uninstrument
from tests.fakes import Answer, FakeProviders, Received
from tests.fakes.faults import Fault
from tests.integration.wrap.kinds import Kind, close
from tests.support.recording import Workspace

Request = tuple[str, str, bytes, dict[str, str]]
Use = Callable[[Any, FakeProviders], Awaitable[object]]


_NOWHERE: Final = re.compile("(?!)")


class Outcome(NamedTuple):
    told: object
    sent: list[Request]


async def beside(
    workspace: Workspace,
    kind: Kind,
    use: Use,
    *answers: Answer | Fault,
    default: Answer | Fault | None = None,
    **options: Any,
) -> Outcome:
    """Returns what the watched one was told, which is what the bare one was told."""

    async def once() -> Outcome:
        with FakeProviders() as fake:
            if default is not None:
                fake.default = default if isinstance(default, Answer) else Answer(fault=default)
            fake.next(*answers)
            client = kind.make(fake, **options)
            try:
                told: object = await use(client, fake)
            except Exception as error:
                told = error
            fake.release()
            await close(client)
            address = re.compile(re.escape(fake.url.removeprefix("http://")))
            return Outcome(
                seen(told, address),
                [_request(r, address) for r in fake.requests],
            )

    bare = await once()
    instrument()
    with workspace.track():
        watched = await once()
    uninstrument()
    assert watched.told == bare.told
    assert watched.sent == bare.sent
    return watched


def seen(value: object, address: re.Pattern[str] = _NOWHERE) -> object:
    """All that can be compared of it."""
    if isinstance(value, BaseModel):
        to_json: Any = getattr(value, "to_json", value.model_dump_json)
        return type(value), value.model_dump(), value.model_dump(exclude_unset=True), to_json()
    if isinstance(value, BaseException):
        inner = value.__cause__
        return (
            type(value),
            address.sub("-", str(value)),
            None if inner is None else seen(inner, address),
        )
    if isinstance(value, list | tuple):
        return [seen(item, address) for item in value]
    return value


_OF_ITS_OWN: Final = frozenset({"idempotency-key", "content-type"})


def _request(request: Received, address: re.Pattern[str]) -> Request:
    """But for what differs from one call to the next."""
    headers = {
        name: address.sub("-", value)
        for name, value in request.headers.items()
        if name not in _OF_ITS_OWN
    }
    form = request.headers.get("content-type", "").startswith("multipart")
    # a form's parts have a random text between them
    return (
        request.method,
        request.path,
        str(request.body).encode() if form else request.raw,
        headers,
    )

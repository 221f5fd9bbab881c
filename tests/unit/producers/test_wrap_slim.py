"""Wrappers look at a part of an answer, and at few of a stream's events: the usage is the same."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from spendstream.producers.extract import usage_from
from spendstream.producers.wrap.answer import answered
from spendstream.producers.wrap.call import Call, Called
from spendstream.producers.wrap.seen import Seen
from tests.unit.producers.extract.sdk import anthropic_cases, openai_cases, other_cases
from tests.unit.producers.extract.sdk.case import Case

CASES = [*openai_cases.CASES, *anthropic_cases.CASES, *other_cases.CASES]
WHOLE = [case for case in CASES if isinstance(case.payload, BaseModel)]
STREAMS = [
    case
    for case in CASES
    if isinstance(case.payload, list)
    and case.payload
    and all(isinstance(chunk, BaseModel) for chunk in case.payload)
]


class Looking(Call):
    """A call that keeps what it ends with."""

    __slots__ = ("payload",)

    def ended(self, payload: object, status: Any = "ok", **_: Any) -> None:
        self.payload = payload


def test_there_are_such_cases() -> None:
    assert len(WHOLE) > 30
    assert len(STREAMS) > 10


@pytest.mark.parametrize("case", WHOLE, ids=str)
def test_a_whole_answer(case: Case) -> None:
    call = Looking(Called(case.provider, "chat", None), None)
    answered(call, case.payload)
    slim = usage_from(call.payload, provider=case.provider, api=case.api)
    assert slim == usage_from(case.payload, provider=case.provider, api=case.api)


@pytest.mark.parametrize("case", STREAMS, ids=str)
@pytest.mark.parametrize("size", [7, 1 << 20])
def test_a_stream(case: Case, size: int) -> None:
    """Cut into reads of any size, with the names of events and the end as its provider has them."""
    sent = b""
    assert isinstance(case.payload, list)
    for chunk in case.payload:
        kind = getattr(chunk, "type", None)
        name = f"event: {kind}\n" if isinstance(kind, str) else ""
        sent += (
            f"{name}data: {chunk.model_dump_json(exclude_unset=True, by_alias=True)}\n\n".encode()
        )
    seen = Seen()
    for start in range(0, len(sent), size):
        assert seen.feed(sent[start : start + size]) == sent[start : start + size]
    seen.flush()
    whole = usage_from(case.payload, provider=case.provider, api=case.api)
    assert usage_from(seen.all(), provider=case.provider, api=case.api) == whole
    if seen.finished and whole is not None and whole.quality == "measured":
        assert usage_from(seen.telling(), provider=case.provider, api=case.api) == whole

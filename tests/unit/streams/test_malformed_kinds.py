"""Each kind of malformed record, and strings that only look like an attack, through the core."""

from __future__ import annotations

import json
from base64 import b64decode
from urllib.parse import unquote_to_bytes

import pytest

from spendstream.schemas import Reason
from spendstream.schemas.topics import USAGE_DEAD, USAGE_EVENTS, USAGE_PRICED
from tests.support.core import Driver
from tests.support.header_names import in_bytes
from tests.support.malformed import HOSTILE, Malformed, kinds, structured
from tests.support.records import NOON, Call, Record

KINDS = kinds(Call("e1", NOON, "ws-1"))


def record(kind: Malformed) -> Record:
    return Record(USAGE_EVENTS, 0, 7, NOON, kind.key, kind.value, kind.headers)


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_refused_verbatim_with_its_reason(kind: Malformed) -> None:
    driver = Driver().run([record(kind)])
    (letter,) = driver.decoded(USAGE_DEAD)
    assert (letter["reason"], bool(letter["detail"])) == (kind.reason, True), letter["detail"]
    assert (letter["seq"], letter["offset"], letter["arrival_ms"]) == (1, 7, NOON)
    assert unbase(letter["key_base64"]) == kind.key
    assert unbase(letter["value_base64"]) == kind.value
    headers = [(unquote_to_bytes(h["name"]), unbase(h["value_base64"])) for h in letter["headers"]]
    assert headers == in_bytes(kind.headers)
    assert not driver.state.workspaces
    assert driver.state.checkpoint.outcomes[USAGE_EVENTS]["dead"] == 1


def test_every_reason_that_an_event_can_have_is_among_them() -> None:
    reasons = {kind.reason for kind in KINDS}
    assert reasons == set(Reason) - {Reason.INVALID_COMMAND, Reason.PROCESSING_FAILED}
    assert len({kind.name for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_strings_are_names(text: str) -> None:
    call = Call(
        text, NOON, text, more={"user_id": text, "tags": {text: text}, "metadata": {text: text}}
    )
    driver = Driver().run([call.record()])
    (row,) = driver.decoded(USAGE_PRICED)
    assert row["event"] == call.data()
    assert (row["event_id"], set(driver.state.workspaces)) == (text, {text})


def test_structured_mode_is_accepted() -> None:
    call = Call("e1", NOON + 123)
    key, value, headers = structured(call)
    driver = Driver().run([Record(USAGE_EVENTS, 0, 0, NOON + 200, key, value, headers)])
    (row,) = driver.decoded(USAGE_PRICED)
    binary = Driver().run([call.record(0, NOON + 200)])
    assert driver.rows[USAGE_PRICED] == binary.rows[USAGE_PRICED]
    assert row["event"] == json.loads(call.value())


def unbase(text: str | None) -> bytes | None:
    return None if text is None else b64decode(text)

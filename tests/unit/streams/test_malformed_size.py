"""A dead letter must itself be a record that the broker takes, whatever it is about."""

from __future__ import annotations

import json
from base64 import b64decode
from hashlib import sha256
from typing import Any

from spendstream.schemas.partition import partition_of
from spendstream.schemas.topics import BY_NAME, USAGE_DEAD, WORKSPACE_COMMANDS
from spendstream.streams.core.dead_letters import KEEP_VALUE_BYTES
from spendstream.streams.core.input_record import Origin
from spendstream.streams.core.outputs import Batch
from spendstream.streams.core.process import process
from spendstream.streams.core.state import PartitionState
from tests.support.core import BOOK, Driver
from tests.support.records import NOON, Call

BOMB = bytes(20_000_000)


def process_one(key: bytes, value: bytes, headers: Any, partition: int = 0) -> Batch:
    state, batch = PartitionState(partition, 4), Batch()
    record = Origin("usage.events", partition, 7, NOON, key, value, headers)
    process(state, batch, "usage.events", [record], BOOK, Driver().plans)
    return batch


def test_a_decompression_bomb_is_cut_and_named() -> None:
    batch = process_one(b"k", BOMB, Call("e", NOON).headers())
    ((_, letter),) = batch.rows[USAGE_DEAD]
    assert len(letter) < BY_NAME[USAGE_DEAD].max_message_bytes
    row = json.loads(letter)
    assert b64decode(row["value_base64"]) == BOMB[:KEEP_VALUE_BYTES]
    assert f"{len(BOMB)} with SHA-256 {sha256(BOMB).hexdigest()}" in row["detail"]
    assert row["reason"] == "too_large"


def test_a_header_that_grows_in_json_is_left_out() -> None:
    batch = process_one(b"k", b"{", [("\x01" * 900_000, b"")])
    ((_, letter),) = batch.rows[USAGE_DEAD]
    assert len(letter) < BY_NAME[USAGE_DEAD].max_message_bytes
    assert json.loads(letter)["headers"] == []


def test_what_cannot_be_forwarded_is_dead() -> None:
    call = Call("e", NOON)
    elsewhere = (partition_of("ws-1", 4) + 1) % 4
    headers = [*call.headers(), ("\x01" * 900_000, b"")]
    batch = process_one(b"ws-1", call.value(), headers, elsewhere)
    assert not batch.forwarded
    assert json.loads(batch.rows[USAGE_DEAD][0][1])["reason"] == "too_large"
    assert BY_NAME[WORKSPACE_COMMANDS].max_message_bytes > 4_000_000

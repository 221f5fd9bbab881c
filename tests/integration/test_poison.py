"""Records that the core fails on, and failures that no record is to blame for, on a real Kafka."""

from __future__ import annotations

import time
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.kafka import KafkaServer
from tests.support.exact import check_exact
from tests.support.records import Call, calls_of_now
from tests.support.rig import SESSION_S, Rig
from tests.support.waiting import until
from tests.support.workers import Worker

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("poison")]

_WORKER = """
import sys
from pathlib import Path
import spendstream.streams.core.incoming as incoming
import spendstream.streams.core.process as core
import spendstream.streams.stream_task as task
from spendstream.streams.worker import WorkerConfig, run
ready, bootstrap, group, session, kind = sys.argv[1:]
price, decode, finish, left = core.price_event, incoming.decode_event, task.finish, [5]
errors = {"MemoryError": MemoryError, "BufferError": BufferError, "OSError": OSError}

def price_event(book, event, time_ms):
    if event.user_id == "poison":
        if kind == "poison":
            raise ZeroDivisionError("a price of nothing")
        if kind in errors and left[0]:
            left[0] -= 1
            raise errors[kind]()
    return price(book, event, time_ms)

def decode_event(data):
    if b'"unreadable"' in data:
        raise LookupError("a price of nothing")
    return decode(data)

def finishing(state, batch):
    if kind == "finish" and state.checkpoint.outcomes["usage.events"]["read"]:
        raise LookupError("nothing can be finished")
    return finish(state, batch)

core.price_event, incoming.decode_event, task.finish = price_event, decode_event, finishing
run(WorkerConfig(bootstrap, group, Path(ready), session_timeout_s=float(session)))
"""


@pytest.fixture
def rig(apache_broker: KafkaServer, tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(apache_broker.bootstrap_servers, tmp_path)
    yield rig
    rig.close()


def failing_worker(rig: Rig, kind: str) -> Worker:
    name = f"worker-{len(rig.workers)}"
    arguments = (rig.bootstrap, rig.group, str(SESSION_S), kind)
    worker = Worker(_WORKER, rig.directory, name, *arguments)
    rig.workers.append(worker)
    return worker


def poison(name: str, workspace: str, user: str = "poison") -> Call:
    return Call(name, time.time_ns() // 1_000_000, workspace, more={"user_id": user})


def test_poison_is_found_and_kept_and_all_else_is_counted(rig: Rig) -> None:
    good = calls_of_now(0, 5_000)
    bad = [poison("bad-0", "ws-1"), poison("bad-1", "ws-4", "unreadable")]
    rig.send([*good[:1_500], bad[0], *good[1_500:3_900], bad[1], *good[3_900:]])
    first = failing_worker(rig, "poison")
    until(lambda: "core_failed" in first.log, 40, lambda: first.log[-3000:])
    rig.kill_all()  # in the middle of the search: the next one starts over

    second = failing_worker(rig, "poison")
    outcomes = rig.wait_settled()["usage.events"]
    assert (outcomes["dead"], outcomes["priced"], outcomes["duplicate"]) == (2, 5_000, 0)
    letters = check_exact(rig, good)["usage.dead"]
    values = {b64decode(letter["value_base64"]) for letter in letters}
    assert values == {call.value() for call in bad}
    for letter in letters:
        assert letter["reason"] == "processing_failed"
        at_decoding = b"unreadable" in b64decode(letter["value_base64"])
        name, function = (
            ("LookupError", "decode_event") if at_decoding else ("ZeroDivisionError", "price_event")
        )
        assert letter["detail"].startswith(f"{name}: a price of nothing\n")
        assert f"in {function}" in letter["detail"]
    assert second.running()
    assert "record_dead_lettered" in first.log + second.log
    assert "a price of nothing" not in second.log  # an error's message may quote an event

    more = calls_of_now(5_000, 100)
    rig.send(more)
    rig.wait_settled()
    check_exact(rig, good + more)


@pytest.mark.parametrize("kind", ["MemoryError", "BufferError", "OSError"])
def test_what_is_no_records_fault_sends_none_to_the_dead(rig: Rig, kind: str) -> None:
    good = [*calls_of_now(0, 300), poison("not-bad", "ws-1"), *calls_of_now(300, 300)]
    rig.send(good)
    worker = failing_worker(rig, kind)
    outcomes = rig.wait_settled()["usage.events"]
    assert (outcomes["dead"], outcomes["priced"]) == (0, len(good))
    check_exact(rig, good)
    assert worker.log.count("partition_recovers") == 5


def test_a_core_that_fails_without_any_record_halts_and_skips_nothing(rig: Rig) -> None:
    good = calls_of_now(0, 300, workspaces=1)
    rig.send(good)
    worker = failing_worker(rig, "finish")
    until(lambda: "WorkerAtFault" in worker.log, 40, lambda: worker.log[-3000:])
    assert "not the record's fault. Nothing was skipped" in worker.log
    assert rig.rows("usage.dead") == []
    rig.kill_all()
    rig.worker()
    rig.wait_settled()
    check_exact(rig, good)

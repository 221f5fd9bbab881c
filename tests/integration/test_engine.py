"""The worker on a real Kafka: what it writes, after whatever has happened to it."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spendstream.schemas.partition import partition_of
from tests.servers.kafka import KafkaServer
from tests.support.exact import check_exact, check_rows, plan_versions
from tests.support.header_names import send_in_one_batch
from tests.support.oracle import USD, LimitFact, PlanFact
from tests.support.records import Call, Headers, calls_of_now
from tests.support.rig import PARTITIONS, Rig
from tests.support.waiting import until
from tests.support.workers import Worker

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("engine")]


@pytest.fixture
def rig(apache_broker: KafkaServer, tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(apache_broker.bootstrap_servers, tmp_path)
    yield rig
    rig.close()


def test_what_is_sent_is_counted_and_a_restart_repeats_nothing(rig: Rig) -> None:
    sent = calls_of_now(0, 3_000)
    rig.send(sent)
    worker = rig.worker().wait_ready()
    rig.wait_settled()
    rows = check_exact(rig, sent)
    assert {row["kind"] for row in rows["usage.alerts"]} == {"credit_threshold"}
    assert worker.stop() == 0

    again = calls_of_now(3_000, 500)
    rig.worker().wait_ready()
    rig.send(sent[:1_000] + again)
    outcomes = rig.wait_settled()
    assert outcomes["usage.events"]["duplicate"] == 1_000
    check_exact(rig, sent + again)
    state = {r["workspace_id"]: r for r in rig.rows("workspace.state") if "workspace_id" in r}
    assert set(state) == {call.workspace_id for call in sent}


def test_events_in_the_wrong_partition_are_counted_at_home(rig: Rig) -> None:
    rig.worker().wait_ready()
    sent = calls_of_now(0, 900)
    for i in range(3):
        # everything to one partition, by the right key, by none, and by somebody else's
        keys = [(call.workspace_id.encode(), None, b"ws-0")[i] for call in sent]
        records = [(k, c.value(), c.headers()) for k, c in zip(keys, sent, strict=True)]
        rig.send_raw(records[i * 300 : (i + 1) * 300], partition=i)
    rig.send_raw((None, c.value(), c.headers()) for c in sent)
    outcomes = rig.wait_settled()
    check_exact(rig, sent)
    away = sum(partition_of(c.workspace_id, PARTITIONS) != i // 300 for i, c in enumerate(sent))
    assert outcomes["usage.events"]["forwarded"] >= away > 0
    both = [outcomes[topic]["duplicate"] for topic in outcomes]
    assert sum(both) == 900


def test_a_header_whose_name_is_not_utf8_stops_nothing(rig: Rig) -> None:
    sent = calls_of_now(0, 900)
    records: list[tuple[bytes, bytes, Headers]] = [
        (c.workspace_id.encode(), c.value(), c.headers()) for c in sent
    ]
    poison: tuple[bytes, bytes, Headers] = (b"k", b"{}", [("caf\udce9", b"\xff")])
    for partition in range(PARTITIONS):
        rig.send_raw([poison], partition)  # a batch of its own, the first that is read
    rig.send_raw(records[:300])
    worker = rig.worker().wait_ready()
    for partition in range(PARTITIONS):
        good = records[300 + partition * 100 : 400 + partition * 100]
        mixed = [*good[:50], poison, *good[50:], poison]
        send_in_one_batch(rig.bootstrap, partition, mixed)
    rig.wait_settled()
    assert worker.stop() == 0

    again = rig.worker().wait_ready()
    rig.send_raw(records[600:])
    outcomes = rig.wait_settled()["usage.events"]
    rows = check_exact(rig, sent)
    dead = PARTITIONS * 3
    assert (outcomes["dead"], outcomes["duplicate"]) == (dead, 0)
    letters = [(r["reason"], r["key_base64"], r["value_base64"]) for r in rows["usage.dead"]]
    assert letters == [("invalid_header", "aw==", "e30=")] * dead
    assert all(
        row["headers"] == [{"name": "caf%E9", "value_base64": "/w=="}] for row in rows["usage.dead"]
    )
    assert again.running()
    assert "partition_recovers" not in worker.log + again.log


def test_workers_come_and_go(rig: Rig) -> None:
    sent = calls_of_now(0, 12_000, workspaces=60)
    steady = threading.Thread(target=trickle, args=(rig, sent))
    first, second = rig.worker(), rig.worker()
    for worker in (first, second):
        worker.wait_ready()
    steady.start()
    rig.wait_taken(1_000)
    rig.worker().wait_ready()
    rig.wait_taken(4_000)
    first.kill()
    steady.join()
    rig.wait_settled()
    check_exact(rig, sent)
    assert "partition_torn" not in "".join(worker.log for worker in rig.workers)


def test_after_a_rebalance_a_worker_goes_on_from_memory_with_what_it_keeps(rig: Rig) -> None:
    sent = calls_of_now(0, 9_000, workspaces=60)
    steady = threading.Thread(target=trickle, args=(rig, sent))
    first = rig.worker().wait_ready()
    steady.start()
    rig.wait_taken(1_000)
    second = rig.worker().wait_ready()
    moved = set(starts(second))
    kept = set(range(PARTITIONS)) - moved
    assert moved
    assert kept
    until(lambda: all(starts(first)[p] for p in kept), 30, lambda: str(starts(first)))
    rig.wait_taken(4_000)
    second.stop()
    steady.join()
    rig.wait_settled()
    check_exact(rig, sent)
    # nobody had committed to those; what comes home was another's meanwhile, and is read anew
    assert all(starts(first)[p] for p in kept)
    assert not any(starts(first)[p] for p in moved)


def starts(worker: Worker) -> dict[int, bool]:
    """Of each partition, whether the worker went on from memory when it last began."""
    lines = [json.loads(line) for line in worker.log.splitlines() if "partition_runs" in line]
    return {line["partition"]: line["resumed"] for line in lines}


def trickle(rig: Rig, sent: list[Call], size: int = 200, pause_s: float = 0.25) -> None:
    for start in range(0, len(sent), size):
        rig.send(sent[start : start + size])
        time.sleep(pause_s)


def test_a_zombie_is_fenced_and_doubles_nothing(rig: Rig) -> None:
    sent = calls_of_now(0, 9_000, workspaces=60)
    zombie = rig.worker().wait_ready()
    steady = threading.Thread(target=trickle, args=(rig, sent[:6_000], 200, 0.4))
    steady.start()
    rig.wait_taken(500)
    zombie.pause()
    rig.worker().wait_ready()
    rig.wait_taken(3_000)
    zombie.resume()
    steady.join()
    rig.send(sent[6_000:])
    rig.wait_settled()
    check_exact(rig, sent)
    # it comes back as an ordinary member
    until(lambda: zombie.log.count("partition_runs") > PARTITIONS, 40, lambda: zombie.log[-3000:])
    last = calls_of_now(9_000, 600, workspaces=60)
    rig.send(last)
    rig.wait_settled()
    check_exact(rig, sent + last)


def test_a_plan_takes_effect_while_the_worker_runs(rig: Rig) -> None:
    rig.worker().wait_ready()
    first = calls_of_now(0, 40, workspaces=2)
    rig.send(first)
    rig.wait_settled()
    limits = (LimitFact("cap", "requests", "month", 10, "block"),)
    plan_versions(rig, [PlanFact(1, "ws-1", 0, USD, limits, overage=True)])
    until(lambda: decision(rig, "ws-1") == "block", 20, lambda: str(rig.rows("workspace.state")))
    second = calls_of_now(40, 40, workspaces=2)
    rig.send(second)
    rig.wait_settled()
    rows = check_rows(rig)
    versions = {
        (row["event"]["workspace_id"], int(row["event_id"][1:]) >= 40, row["plan_version"])
        for row in rows["usage.priced"]
    }
    assert versions == {
        ("ws-0", False, 0), ("ws-0", True, 0), ("ws-1", False, 0), ("ws-1", True, 1),
    }  # fmt: skip
    assert [(a["limit"], a["used"]) for a in rows["usage.alerts"] if a["limit"] == "cap"] == [
        ("cap", "21")
    ]


def decision(rig: Rig, workspace: str) -> str | None:
    states = [r for r in rig.rows("workspace.state") if r.get("workspace_id") == workspace]
    return states[-1]["decision"] if states else None


@pytest.mark.parametrize("ending", ["commit", "abort"])
def test_a_hanging_transaction_of_a_stranger_delays_but_loses_nothing(
    rig: Rig, ending: str
) -> None:
    rig.worker().wait_ready()
    home = partition_of("ws-1", PARTITIONS)
    before, inside, after = (Call(n, time.time_ns() // 10**6, "ws-1") for n in ("a", "b", "c"))
    rig.send([before])
    stranger = rig.producer(**{"transactional.id": "stranger", "transaction.timeout.ms": 60_000})
    stranger.init_transactions(30)
    stranger.begin_transaction()
    stranger.produce("usage.events", inside.value(), b"ws-1", home, headers=list(inside.headers()))
    stranger.flush(10)
    rig.send([after])
    rig.wait_taken(1)
    time.sleep(7)  # a heartbeat passes: it must not take the position past what is hidden
    assert rig.outcomes()["usage.events"]["read"] == 1
    if ending == "commit":
        stranger.commit_transaction(30)
    else:
        stranger.abort_transaction(30)
    rig.wait_settled()
    check_exact(rig, [before, inside, after] if ending == "commit" else [before, after])


def test_a_checkpoint_that_a_hanging_transaction_hides_is_waited_for(rig: Rig) -> None:
    """Were the end that shows taken for the end of the log, all since would be priced again."""
    home = partition_of("ws-1", PARTITIONS)
    rig.worker().wait_ready()
    stranger = rig.producer(**{"transactional.id": "stranger", "transaction.timeout.ms": 60_000})
    stranger.init_transactions(30)
    stranger.begin_transaction()
    stranger.produce("workspace.checkpoint", None, b'["","stranger"]', home)
    stranger.flush(10)
    sent = [Call(f"a{n}", time.time_ns() // 10**6, "ws-1") for n in range(10)]
    rig.send(sent)
    until(lambda: len(rig.rows("usage.priced")) == 10, 30)
    rig.kill_all()
    again = rig.worker()
    until(lambda: "HangingTransaction" in again.log, 40, lambda: again.log[-3000:])
    stranger.abort_transaction(30)
    sent.append(Call("after", time.time_ns() // 10**6, "ws-1"))
    rig.send(sent[-1:])
    rig.wait_settled()
    check_exact(rig, sent)


def test_a_topic_made_anew_stops_its_partitions(rig: Rig) -> None:
    worker = rig.worker().wait_ready()
    rig.send(calls_of_now(0, 50))
    rig.wait_settled()
    worker.stop()
    rig.make_anew("usage.events")
    rig.send(calls_of_now(50, 100))
    again = rig.worker()
    until(lambda: again.log.count("EpochChanged") >= PARTITIONS, 40, lambda: again.log[-3000:])
    assert "deleted and created again" in again.log
    assert again.running()
    assert not again.ready_file.exists()
    assert len(rig.rows("usage.priced")) == 50


def test_idle_partitions_never_take_the_position_past_a_batch_on_its_way(rig: Rig) -> None:
    # One partition is busy, so that batches of the others wait behind its own; each checkpoint that
    # was ever written must have taken as many records as lie below its position.
    busy = [w for w in (f"busy-{i}" for i in range(99)) if partition_of(w, PARTITIONS) == 0][:20]
    idle = [w for w in (f"idle-{i}" for i in range(99)) if partition_of(w, PARTITIONS) == 1][:20]
    now = time.time_ns() // 1_000_000
    rig.send(Call(f"b{i}", now, busy[i % 20]) for i in range(40_000))
    rig.worker().wait_ready()
    trickle(rig, [Call(f"i{i}", now, idle[i % 20]) for i in range(12)], 1, 0.6)
    rig.wait_settled()
    offsets: dict[int, list[int]] = {p: [] for p in range(PARTITIONS)}
    for message in rig.read("usage.events"):
        offsets[message.partition() or 0].append(message.offset() or 0)
    for partition, checkpoint in rig.all_checkpoints():
        upto = checkpoint["inputs"]["usage.events"]["upto"]
        below = sum(offset < upto for offset in offsets[partition])
        assert checkpoint["outcomes"]["usage.events"]["read"] == below, checkpoint["batch"]


def test_an_idle_partition_says_every_five_seconds_how_far_it_is(rig: Rig) -> None:
    rig.worker().wait_ready()
    rig.send([Call("one", time.time_ns() // 1_000_000)])
    rig.wait_settled()

    def beats(partition: int) -> list[tuple[int, int]]:
        """Of the batches without an event: when they were written, and up to when they are."""
        return [
            (message.timestamp()[1], json.loads(message.value() or b"")["as_of_ms"])
            for message in rig.read("workspace.state")
            if message.key() == b"" and message.partition() == partition
        ]

    until(lambda: all(len(beats(p)) >= 4 for p in range(PARTITIONS)), 40)
    for partition in range(PARTITIONS):
        written, as_of = zip(*beats(partition), strict=True)
        assert max(after - before for before, after in itertools.pairwise(written)) < 7_000
        assert max(at - time_ms for at, time_ms in zip(written[1:], as_of[1:], strict=True)) < 3_000
    checkpoints = rig.checkpoints().values()
    assert min(checkpoint["time_ms"] for checkpoint in checkpoints) > time.time() * 1_000 - 9_000

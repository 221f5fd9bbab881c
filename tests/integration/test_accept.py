"""Halted partitions, seen and accepted by the command; and that their worker goes on by itself."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource

from spendstream.deploy import failures
from spendstream.schemas.partition import partition_of
from spendstream.schemas.topics import CONTROL, DAY_MS, INPUTS
from spendstream.streams.accept import OtherLosses, accept, look
from spendstream.streams.core.forwarding import forward
from spendstream.streams.core.outputs import Batch
from tests.integration.test_late_workers import calls, check_once, resolved
from tests.servers.apache import ApacheKafka
from tests.servers.clickhouse import ClickHouseServer
from tests.servers.kafka import KafkaServer
from tests.support.command_line import Runs, ask, run, run_here
from tests.support.exact import check_counted, check_exact, check_seq
from tests.support.records import Call, calls_of_now
from tests.support.rig import PARTITIONS, Rig
from tests.support.topics import delete_records
from tests.support.waiting import until

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("accept")]

LOOKS_AGAIN_S = 90
"""More than it takes until a halted worker looks again."""


@pytest.fixture
def rig(apache_broker: KafkaServer, tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(apache_broker.bootstrap_servers, tmp_path)
    yield rig
    rig.close()


def partitions(rig: Rig, *arguments: str, by: Runs = run_here) -> tuple[int, Any, str]:
    """Exit code, JSON and sentences of `spendstream partitions`."""
    return ask(
        "partitions",
        *arguments,
        by=by,
        SPENDSTREAM_BOOTSTRAP_SERVERS=rig.bootstrap,
        SPENDSTREAM_WORKER_GROUP=rig.group,
    )


def halt(rig: Rig, kind: str) -> None:
    """Start a worker and wait until all partitions have halted, and the command says so."""
    worker = rig.worker()
    until(lambda: worker.log.count(f'"{kind}"') >= PARTITIONS, 60, lambda: worker.log[-3000:])
    code, found, _ = partitions(rig, "show")
    assert code == failures.NOT_RIGHT
    assert [one["halted"] for one in found] == [kind] * PARTITIONS
    assert not worker.ready_file.exists()


def accept_all(rig: Rig, topic: str) -> None:
    """Accept on each partition; the worker, which nobody tells, runs again, and nothing is left."""
    before = rig.checkpoints()
    for partition in range(PARTITIONS):
        code, done, told = partitions(rig, "accept", str(partition), "--yes", "--reason", "a test")
        assert code == failures.OK, told
        assert [one["topic"] for one in done["accepted"]] == [topic]
        assert "lost: " in told
    worker = rig.workers[-1].wait_ready(LOOKS_AGAIN_S)
    assert worker.running()
    code, found, told = partitions(rig, "show")
    assert code == failures.OK, told
    for partition, checkpoint in rig.checkpoints().items():
        assert found[partition]["accepted"] == checkpoint["accepted"]
        (audit,) = checkpoint["accepted"]
        (moved,) = audit["moved"]
        assert audit["reason"] == "a test"
        assert audit["by"]
        assert moved["topic"] == topic
        upto = {name: at["upto"] for name, at in before[partition]["inputs"].items()}
        assert audit["upto"] == list(upto.values())
        if topic in upto:
            assert moved["from_offset"] == upto[topic]


def check_went_on(rig: Rig, sent: list[Call]) -> None:
    """All that was not lost is counted once, and `seq` runs on; the inputs hold other records."""
    check_counted(rig, check_seq(rig), sent)


def send(rig: Rig, topic: str, sent: list[Call]) -> None:
    """As events, or as the commands by which another partition forwards them."""
    if topic == "usage.events":
        rig.send(sent)
        return
    batch = Batch()
    for call in sent:
        home = partition_of(call.workspace_id, PARTITIONS)
        forward(batch, call.record(partition=(home + 1) % PARTITIONS), home, call.workspace_id)
    producer = rig.producer()
    for home, key, value in batch.forwarded:
        producer.produce(topic, value, key, home)
    assert producer.flush(60) == 0


@pytest.mark.parametrize("topic", INPUTS)
def test_an_input_made_anew(rig: Rig, topic: str) -> None:
    first, again = calls_of_now(0, 900), calls_of_now(900, 600)
    worker = rig.worker().wait_ready()
    send(rig, topic, first)
    rig.wait_taken(900, topic=topic)
    worker.stop()
    rig.make_anew(topic)
    # fewer than before, so that their batches are tagged lower; and repeats, which it must know
    send(rig, topic, first[:100] + again[:200])
    halt(rig, "EpochChanged")
    assert len(rig.rows("usage.priced")) == 900
    accept_all(rig, topic)
    rig.wait_taken(1_200, topic=topic)
    check_went_on(rig, first + again[:200])
    rig.kill_all()
    rig.worker().wait_ready()
    send(rig, topic, again[200:])
    rig.wait_taken(1_600, topic=topic)
    check_went_on(rig, first + again)
    assert rig.outcomes()[topic]["duplicate"] == 100


@pytest.mark.parametrize("topic", INPUTS)
def test_what_retention_deleted_before_it_was_read(rig: Rig, topic: str) -> None:
    first, gone, after = calls_of_now(0, 300), calls_of_now(300, 300), calls_of_now(600, 300)
    worker = rig.worker().wait_ready()
    send(rig, topic, first)
    rig.wait_taken(300, topic=topic)
    worker.stop()
    send(rig, topic, gone)
    delete_records(rig.bootstrap, topic)
    send(rig, topic, after)
    halt(rig, "RetentionOvertook")
    _, found, _ = partitions(rig, "show")
    lost = sum(one["losses"][0]["to_offset"] - one["losses"][0]["from_offset"] for one in found)
    assert lost >= 300
    accept_all(rig, topic)
    rig.wait_taken(600, topic=topic)
    check_went_on(rig, first + after)


def test_what_is_lost_after_the_question_is_not_accepted(rig: Rig) -> None:
    first, gone, more, after = (calls_of_now(start, 300) for start in (0, 300, 600, 900))
    worker = rig.worker().wait_ready()
    rig.send(first)
    rig.wait_settled()
    worker.stop()
    rig.send(gone)
    delete_records(rig.bootstrap, "usage.events")
    shown = [look(rig.bootstrap, partition).losses for partition in range(PARTITIONS)]
    rig.send(more)
    delete_records(rig.bootstrap, "usage.events")
    for partition, losses in enumerate(shown):
        with pytest.raises(OtherLosses, match="nothing was written: usage"):
            accept(rig.bootstrap, rig.group, partition, "a test", "", losses)
    assert all(not one["accepted"] for one in rig.checkpoints().values())
    for number in range(PARTITIONS):
        code, done, told = partitions(rig, "accept", str(number), "--yes", "--group", rig.group)
        assert (code, len(done["accepted"])) == (failures.OK, 1), told
    rig.worker()
    rig.send(after)
    rig.wait_taken(600)
    check_went_on(rig, first + after)


@pytest.mark.parametrize("topic", [*CONTROL, "workspace.checkpoint"])
def test_what_was_deleted_although_it_is_kept_for_ever(rig: Rig, topic: str) -> None:
    first, after = calls_of_now(0, 300), calls_of_now(300, 300)
    producer = rig.producer()
    for name in CONTROL:
        producer.produce(name, b"what was a plan or a price")
    assert producer.flush(60) == 0
    worker = rig.worker().wait_ready()
    rig.send(first)
    rig.wait_settled()
    worker.stop()
    delete_first(rig, topic)
    halt(rig, "RetentionOvertook")
    accept_all(rig, topic)
    rig.kill_all()
    rig.worker().wait_ready()  # it is not asked about again
    rig.send(after)
    rig.wait_taken(600)
    check_went_on(rig, first + after)


@pytest.mark.parametrize("topic", INPUTS)
@pytest.mark.parametrize("what", ["deleted from", "made anew"])
def test_what_a_running_worker_has_not_read_is_not_skipped(rig: Rig, topic: str, what: str) -> None:
    first, gone, after = calls_of_now(0, 300), calls_of_now(300, 300), calls_of_now(600, 30)
    worker = rig.worker(session_s=30).wait_ready()
    send(rig, topic, first)
    rig.wait_taken(300, topic=topic)
    worker.pause()
    send(rig, topic, gone)
    if what == "deleted from":
        delete_records(rig.bootstrap, topic)
    else:
        rig.make_anew(topic)
    send(rig, topic, after)
    worker.resume()
    kind = "RetentionOvertook" if what == "deleted from" else "EpochChanged"
    until(lambda: worker.log.count(f'"{kind}"') >= PARTITIONS, 60, lambda: worker.log[-3000:])
    assert worker.running()
    assert len(rig.rows("usage.priced")) == 300


def test_an_input_made_anew_and_filled_while_the_worker_slept(rig: Rig) -> None:
    """The new topic has the offset that is next to be read, so no fetch tells."""
    topic = "workspace.commands"
    first, after = calls_of_now(0, 300), calls_of_now(300, 900)
    worker = rig.worker(session_s=30).wait_ready()
    send(rig, topic, first)
    rig.wait_taken(300, topic=topic)
    worker.pause()
    rig.make_anew(topic)
    send(rig, topic, after)
    worker.resume()
    until(lambda: worker.log.count('"EpochChanged"') >= PARTITIONS, 60, lambda: worker.log[-3000:])
    accept_all(rig, topic)
    until(lambda: len(rig.rows("usage.priced")) == 1_200, 60, lambda: worker.log[-3000:])
    check_went_on(rig, first + after)


@pytest.mark.clickhouse
def test_what_became_of_late_events_is_sent_again(
    rig: Rig, clickhouse: ClickHouseServer, clickhouse_database: str
) -> None:
    worker = rig.worker().wait_ready()
    # two heartbeats instead of a minute: here somebody waits for it
    sink = rig.sink(clickhouse.url, clickhouse_database, session_s=40, resend_s=10).wait_ready()
    rig.send(calls(1, 30, 2 * DAY_MS))
    until(lambda: resolved(rig) == 30, 60)
    sink.pause()
    rig.send(calls(31, 60, 2 * DAY_MS))
    rig.wait_taken(60)
    worker.stop()
    sink.resume()
    until(lambda: len(rig.read("workspace.commands")) == 60, 60)
    rig.make_anew("workspace.commands")
    halt(rig, "EpochChanged")
    accept_all(rig, "workspace.commands")
    until(lambda: resolved(rig) == 60, 120)
    check_once(rig, 60)
    assert sink.log.count("late rows are sent again") > 0


@pytest.mark.parametrize("topic", ["workspace.ids", *CONTROL])
def test_a_topic_made_anew_halts_a_worker_that_is_idle(rig: Rig, topic: str) -> None:
    worker = rig.worker().wait_ready()
    rig.send(calls_of_now(0, 300))
    rig.wait_settled()
    rig.make_anew(topic)
    until(lambda: worker.log.count('"EpochChanged"') >= PARTITIONS, 60, lambda: worker.log[-3000:])


def test_ids_made_anew(rig: Rig) -> None:
    first, after = calls_of_now(0, 300), calls_of_now(300, 300)
    worker = rig.worker().wait_ready()
    rig.send(first)
    rig.wait_settled()
    worker.stop()
    rig.make_anew("workspace.ids")
    halt(rig, "EpochChanged")
    accept_all(rig, "workspace.ids")
    rig.send(after)
    rig.wait_taken(600)
    rig.kill_all()
    rig.worker().wait_ready()
    rig.send(after[:50])  # ids that were written since are known to whoever reads them again
    rig.wait_taken(650)
    check_went_on(rig, first + after)
    assert rig.outcomes()["usage.events"]["duplicate"] == 50


@pytest.mark.parametrize("topic", ["usage.events", "workspace.ids"])
def test_a_disk_that_was_replaced(
    kafka_server: Callable[[], KafkaServer], tmp_path: Path, topic: str
) -> None:
    """The topic's id stays, and its log grows past the old position before anybody accepts it."""
    server = kafka_server()
    if not isinstance(server, ApacheKafka):
        pytest.skip("only a broker from jars has its log where the test can lose it")
    rig = Rig(server.bootstrap_servers, tmp_path)
    try:
        first, again = calls_of_now(0, 300), calls_of_now(300, 600)
        worker = rig.worker().wait_ready()
        rig.send(first)
        rig.wait_settled()
        # a batch's own ids are only known to the next checkpoint, at the latest a heartbeat
        until(lambda: all(one["ids_upto"] for one in rig.checkpoints().values()), 20)
        worker.stop()
        server.stop()
        for partition in server.partition_directories(topic):
            shutil.rmtree(partition)
        server.start()
        if topic == "usage.events":
            rig.send(first[:100])
        halt(rig, "LogTruncated")
        rig.kill_all()
        rig.send(again)
        halt(rig, "LogTruncated")
        assert len(rig.rows("usage.priced")) == 300
        accept_all(rig, topic)
        rig.wait_taken(1_000 if topic == "usage.events" else 900)
        rig.kill_all()
        rig.worker().wait_ready()
        rig.send(again[:50])
        rig.wait_settled()
        check_went_on(rig, first + again)
    finally:
        rig.close()


@pytest.mark.parametrize("topic", CONTROL)
def test_plans_and_prices_made_anew(rig: Rig, topic: str) -> None:
    worker = rig.worker().wait_ready()
    sent = calls_of_now(0, 300)
    rig.send(sent)
    rig.wait_settled()
    worker.stop()
    rig.make_anew(topic)
    halt(rig, "EpochChanged")
    accept_all(rig, topic)
    rig.send(sent[:10] + calls_of_now(300, 10))
    rig.wait_taken(320)
    check_went_on(rig, calls_of_now(0, 300) + calls_of_now(300, 10))


@pytest.mark.parametrize("ran_on", [False, True])
def test_a_checkpoint_that_is_gone_is_never_taken_for_a_first_start(rig: Rig, ran_on: bool) -> None:
    """`ran_on`: a worker wrote on into the new topic, so that it holds some of the states."""
    first = calls_of_now(0, 300)
    worker = rig.worker().wait_ready()
    rig.send(first)
    rig.wait_settled()
    if not ran_on:
        worker.stop()
    rig.make_anew("workspace.checkpoint")
    if ran_on:
        until(lambda: len(rig.checkpoints()) == PARTITIONS, 40, lambda: worker.log[-3000:])
        rig.kill_all()
    halt(rig, "EpochChanged" if ran_on else "CheckpointLost")
    assert len(rig.rows("usage.priced")) == 300
    if not ran_on:
        code, _, told = partitions(rig, "accept", "0", "--yes")
        assert code == failures.UNAVAILABLE
        assert "Restore it from a backup" in told
        assert not rig.checkpoints()


def test_a_checkpoint_topic_that_was_restored_whole(rig: Rig) -> None:
    first, after = calls_of_now(0, 300), calls_of_now(300, 300)
    worker = rig.worker().wait_ready()
    rig.send(first)
    rig.wait_settled()
    worker.stop()
    backup = rig.read("workspace.checkpoint")
    rig.make_anew("workspace.checkpoint")
    producer = rig.producer()
    for message in backup:
        where = message.partition()
        assert where is not None
        producer.produce("workspace.checkpoint", message.value(), message.key(), where)
    assert producer.flush(60) == 0
    halt(rig, "EpochChanged")
    accept_all(rig, "workspace.checkpoint")
    rig.send(after)
    rig.wait_taken(600)
    check_exact(rig, first + after)


def test_where_nothing_is_lost_nothing_is_written_and_nobody_disturbed(rig: Rig) -> None:
    worker = rig.worker().wait_ready()
    sent = calls_of_now(0, 300)
    rig.send(sent)
    rig.wait_settled()
    code, done, told = partitions(rig, "accept", "1", "--yes", by=run)
    assert (code, done) == (failures.OK, {"partition": 1, "accepted": []}), told
    assert partitions(rig, "accept", str(PARTITIONS), "--yes")[0] == failures.WRONG_INPUT
    assert all(not one["accepted"] for one in rig.checkpoints().values())
    more = calls_of_now(300, 300)
    rig.send(more)
    rig.wait_settled()
    check_exact(rig, sent + more)
    assert "partition_fenced" not in worker.log
    assert "partition_recovers" not in worker.log


def test_a_partition_that_cannot_be_looked_at_hides_no_other(rig: Rig) -> None:
    worker = rig.worker().wait_ready()
    rig.send(calls_of_now(0, 30))
    rig.wait_settled()
    worker.stop()
    stranger = rig.producer(**{"transactional.id": "stranger", "transaction.timeout.ms": 60_000})
    stranger.init_transactions(30)
    stranger.begin_transaction()
    stranger.produce("workspace.checkpoint", None, b'["","stranger"]', 0)
    assert stranger.flush(10) == 0
    code, found, _ = partitions(rig, "show", by=run)
    assert code == failures.UNAVAILABLE
    assert [one["halted"] for one in found] == [None] * PARTITIONS
    assert "committed records end at" in found[0]["why"][0]
    assert all(one["batch"] and not one["why"] for one in found[1:])
    rig.make_anew("usage.events")
    assert partitions(rig, "show")[0] == failures.NOT_RIGHT  # that which is known counts more
    stranger.abort_transaction(30)


def test_nobody_is_asked_where_nobody_can_answer(rig: Rig) -> None:
    worker = rig.worker().wait_ready()
    rig.send(calls_of_now(0, 30))
    rig.wait_settled()
    worker.stop()
    rig.make_anew("usage.events")
    code, _, told = partitions(rig, "accept", "0", by=run)
    assert code == failures.WRONG_INPUT
    assert "--yes" in told
    assert not rig.checkpoints()[0]["accepted"]


def delete_first(rig: Rig, topic: str) -> None:
    """The first record of each partition, as a policy does that somebody else has set."""
    admin = AdminClient({"bootstrap.servers": rig.bootstrap, "log_level": 3})
    policy = ConfigEntry(
        "cleanup.policy", "compact,delete", incremental_operation=AlterConfigOpType.SET
    )
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[policy])
    for altered in admin.incremental_alter_configs([resource]).values():
        altered.result()
    delete_records(rig.bootstrap, topic, upto=1)

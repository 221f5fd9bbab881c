"""Operators' mistakes on a real Kafka: nothing is skipped, the log says what to do, and once that
is done the worker goes on by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.cimpl import NewPartitions, NewTopic

from spendstream.deploy import failures, topics_admin
from spendstream.schemas.topics import BY_NAME, INPUTS
from tests.servers.kafka import KafkaServer
from tests.support import topics
from tests.support.command_line import run_here
from tests.support.exact import check_exact
from tests.support.records import calls_of_now
from tests.support.rig import PARTITIONS, Rig
from tests.support.waiting import until
from tests.support.watched import Watched

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("engine")]

SET_PRICE = ("prices", "set", "openai", "gpt-4o", "input=1", "output=2")


@pytest.fixture
def rig(apache_broker: KafkaServer, tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(apache_broker.bootstrap_servers, tmp_path)
    yield rig
    rig.close()


@pytest.fixture
def admin(rig: Rig) -> AdminClient:
    return AdminClient({"bootstrap.servers": rig.bootstrap, "log_level": 3})


@pytest.mark.parametrize("made", ["not at all", "with one partition"])
def test_an_output_topic_that_is_not_as_it_should_be_holds_everything_up(
    rig: Rig, admin: AdminClient, made: str
) -> None:
    topics.remove(rig.bootstrap, "usage.overage")
    if made == "with one partition":
        new = NewTopic("usage.overage", num_partitions=1, replication_factor=1)
        admin.create_topics([new])["usage.overage"].result(30)
        said = "usage.overage has 1 partitions instead of 3"
    else:
        said = "usage.overage is missing"
    sent = calls_of_now(0, 300)
    rig.send(sent)
    worker = rig.worker()
    until(lambda: worker.log.count(said) >= PARTITIONS, 40, lambda: worker.log[-3000:])
    assert "`spendstream topics create`" in worker.log
    assert rig.rows("usage.priced") == []

    if made == "with one partition":
        grown = NewPartitions("usage.overage", PARTITIONS)
        admin.create_partitions([grown])["usage.overage"].result(30)
    topics_admin.create(rig.bootstrap, PARTITIONS, 1)
    rig.wait_settled()
    check_exact(rig, sent)


def test_a_cluster_from_before_control_prices_is_told_what_to_do(rig: Rig) -> None:
    """Worker, doctor and `prices` name the topic and the command; once it is there all goes on."""
    topics.remove(rig.bootstrap, "control.prices")
    sent = calls_of_now(0, 300)
    rig.send(sent)
    worker = rig.worker()
    told = '"error": "control.prices is missing: `spendstream topics create`"'
    until(lambda: worker.log.count(told) >= PARTITIONS, 40, lambda: worker.log[-3000:])
    until(lambda: "control_follower_retries" in worker.log, 20)
    for line in worker.log.splitlines():
        if "control_follower_retries" in line:
            assert '"topic": "control.prices"' in line
            assert "`spendstream topics create`" in line
    for arguments, code in (
        (("doctor", "--json"), failures.NOT_RIGHT),
        (("topics", "check"), failures.NOT_RIGHT),
        (SET_PRICE, failures.UNAVAILABLE),
        (("prices", "history"), failures.UNAVAILABLE),
    ):
        done = run_here(*arguments, SPENDSTREAM_BOOTSTRAP_SERVERS=rig.bootstrap)
        said = done.stdout + done.stderr
        assert done.returncode == code, said
        assert "control.prices is missing: " in said
        assert "`spendstream topics create`" in said
    # it tries each second, for some seconds by now, and says so once a minute
    assert worker.log.count("control_follower_retries") == 1

    assert topics_admin.create(rig.bootstrap, PARTITIONS, 1) == ["control.prices"]
    rig.wait_settled()
    check_exact(rig, sent)
    done = run_here(*SET_PRICE, SPENDSTREAM_BOOTSTRAP_SERVERS=rig.bootstrap)
    assert done.returncode == failures.OK, done.stderr


@pytest.mark.parametrize("topic", ["usage.priced", "workspace.checkpoint", "workspace.ids"])
def test_a_topic_that_takes_only_small_messages_is_named(
    rig: Rig, admin: AdminClient, topic: str
) -> None:
    set_max_message_bytes(admin, topic, 1_000)
    sent = calls_of_now(0, 600)
    rig.send(sent)
    worker = rig.worker()
    until(lambda: "`spendstream topics check`" in worker.log, 40, lambda: worker.log[-3000:])
    [said, *_] = [line for line in worker.log.splitlines() if "`spendstream topics check`" in line]
    assert f"{topic} [" in said
    assert "max.message.bytes is too small" in said
    [mismatch] = topics_admin.check(rig.bootstrap)
    declared = BY_NAME[topic].max_message_bytes
    assert mismatch == f"{topic}: max.message.bytes is 1000, should be {declared}"

    set_max_message_bytes(admin, topic, declared)
    rig.wait_settled()
    check_exact(rig, sent)


@pytest.mark.parametrize("topic", INPUTS)
def test_an_input_that_is_deleted_while_the_worker_runs(rig: Rig, topic: str) -> None:
    watched = Watched(rig, "worker", "http://127.0.0.1:9", "none")
    sent = calls_of_now(0, 300)
    rig.send(sent)
    watched.worker.wait_ready()
    rig.wait_settled()
    topics.remove(rig.bootstrap, topic)
    said = f"{topic} is missing"
    until(lambda: said in str(watched.health()[1]), 60, lambda: watched.worker.log[-3000:])
    assert watched.health()[0] == 503
    assert said in watched.worker.log
    assert "`spendstream topics check`" in watched.worker.log

    topics_admin.create(rig.bootstrap, PARTITIONS, 1)
    halted = '"kind": "EpochChanged"'
    until(lambda: watched.worker.log.count(halted) >= PARTITIONS, 60, lambda: watched.worker.log)
    assert "`spendstream partitions accept 0`" in watched.worker.log
    assert len(rig.rows("usage.priced")) == 300


def set_max_message_bytes(admin: AdminClient, topic: str, count: int) -> None:
    setting = ConfigEntry(
        "max.message.bytes", str(count), incremental_operation=AlterConfigOpType.SET
    )
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[setting])
    admin.incremental_alter_configs([resource])[resource].result(30)

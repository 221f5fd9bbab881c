"""The mirrors on the embedded broker, which forgets everything when it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer

from spendstream.schemas.topics import CONTROL_PLANS, USAGE_PRICED, WORKSPACE_CHECKPOINT
from spendstream.sinks.clickhouse import intents
from spendstream.sinks.clickhouse.holdback import CHECKPOINT_KEY
from tests.integration.loader_rig import PARTITIONS, Rig, priced, rig
from tests.servers.clickhouse import ClickHouseServer
from tests.servers.kafka import KafkaServer
from tests.support.topics import make_anew

pytestmark = [pytest.mark.kafka, pytest.mark.clickhouse, pytest.mark.xdist_group("loader")]


@pytest.fixture
def loading(
    embedded_broker: KafkaServer,
    clickhouse: ClickHouseServer,
    clickhouse_database: str,
    tmp_path: Path,
) -> Iterator[Rig]:
    with rig(embedded_broker, clickhouse, clickhouse_database, tmp_path) as made:
        yield made


def batch(producer: Producer, first: int, last: int, number: int, told: int | None = None) -> None:
    """A worker's batch in partition 0: rows, two states, a checkpoint that tells of `told` rows."""
    producer.begin_transaction()
    for seq in range(first, last + 1):
        producer.produce(USAGE_PRICED, priced(seq).model_dump_json().encode(), b"k", 0)
    for workspace in ("a", f"only-{number}"):
        key = json.dumps([workspace, "workspace"], separators=(",", ":")).encode()
        value = {"upto": [number, 0], "workspace_id": workspace, "state": {"batch": number}}
        producer.produce(WORKSPACE_CHECKPOINT, json.dumps(value).encode(), key, 0)
    checkpoint = {
        "partition": 0,
        "batch": number,
        "inputs": {
            "usage.events": {"epoch": "x", "upto": number},
            "workspace.commands": {"epoch": "y", "upto": 0},
        },
        "seq": {USAGE_PRICED: last if told is None else told},
    }
    producer.produce(
        WORKSPACE_CHECKPOINT, json.dumps(checkpoint).encode(), CHECKPOINT_KEY.encode(), 0
    )
    producer.commit_transaction(30)


def mirrored(loading: Rig) -> dict[str, int]:
    """Key → the batch it is of."""
    if not loading.client.command("EXISTS TABLE mirror_checkpoint"):
        return {}
    rows = loading.client.query("SELECT key, value FROM mirror_checkpoint FINAL").result_rows
    found = {}
    for key, value in rows:
        decoded = json.loads(value)
        found[key] = decoded["batch"] if key == CHECKPOINT_KEY else decoded["state"]["batch"]
    return found


def state_of(number: int, *batches: int) -> dict[str, int]:
    only = {f'["only-{each}","workspace"]': each for each in (*batches, number)}
    return {CHECKPOINT_KEY: number, '["a","workspace"]': number, **only}


def plans(loading: Rig) -> list[tuple[str, str]]:
    rows = loading.client.query(
        "SELECT key, value FROM mirror_control FINAL ORDER BY JSONExtractUInt(value, 'version')"
    ).result_rows
    return [(str(key), str(value)) for key, value in rows]


def plan(producer: Producer, version: int) -> None:
    producer.begin_transaction()
    producer.produce(CONTROL_PLANS, b'{"version":%d}' % version, b"ws", 0)
    producer.commit_transaction(30)


def test_mirrors_follow_their_rows_and_a_new_epoch_wins(loading: Rig) -> None:
    loader = loading.start(mirror=True)
    batch(loading.producer, 1, 100, 1)
    batch(loading.producer, 101, 200, 2)
    plan(loading.producer, 1)
    loading.wait(lambda: mirrored(loading) == state_of(2, 1), "the second batch's state")
    # a checkpoint that tells of rows which are not there yet stays out
    batch(loading.producer, 201, 250, 3, told=300)
    loading.wait_loaded(250)
    assert mirrored(loading) == state_of(2, 1)
    batch(loading.producer, 251, 300, 4)
    loading.wait(lambda: mirrored(loading) == state_of(4, 1, 2, 3), "the rows of the third")
    loading.wait(lambda: plans(loading) == [("ws", '{"version":1}')], "the plan")
    # SIGTERM loads what the topics hold, all of it
    batch(loading.producer, 301, 400, 5)
    assert loader.stop() == 0
    assert mirrored(loading) == state_of(5, 1, 2, 3, 4)
    loading.check_exact(400)

    # the broker forgets; a start fills it from the mirror, and its offsets begin again
    loading.kafka.kill()
    loading.kafka.start()
    make_anew(loading.kafka.bootstrap_servers, PARTITIONS)
    loading.producer = loading.new_producer()
    plan(loading.producer, 1)
    plan(loading.producer, 2)
    batch(loading.producer, 390, 450, 6)
    again = loading.start(mirror=True)
    loading.wait(lambda: mirrored(loading) == state_of(6, 1, 2, 3, 4, 5), "the new epoch's state")
    loading.wait(lambda: len(plans(loading)) == 2, "the second plan")
    assert again.stop() == 0
    loading.check_exact(450)
    assert plans(loading) == [("ws", '{"version":1}'), ("ws", '{"version":2}')]


def test_a_restart_in_the_same_epoch_goes_on(loading: Rig) -> None:
    first = loading.start(mirror=True)
    batch(loading.producer, 1, 100, 1)
    loading.wait(lambda: mirrored(loading) == state_of(1), "the first batch's state")
    first.kill()
    batch(loading.producer, 101, 200, 2)
    loading.start(mirror=True)
    loading.wait(lambda: mirrored(loading) == state_of(2, 1), "the second batch's state")
    loading.check_exact(200)


def test_views_are_completed_though_the_broker_forgot_the_intent(loading: Rig) -> None:
    """Engine, broker and loader died between the raw rows and a view's."""
    for statement in (
        "CREATE TABLE fuse (seq UInt64) ENGINE = MergeTree ORDER BY seq",
        "CREATE TABLE fused (seq UInt64) ENGINE = MergeTree ORDER BY seq"
        " SETTINGS non_replicated_deduplication_window = 100",
    ):
        loading.client.command(statement)
    loader = loading.start(mirror=True)
    loading.wait(lambda: loader.ready, "the loader")
    loading.client.command(
        "CREATE MATERIALIZED VIEW fused_view TO fused AS"
        " SELECT seq FROM usage_raw WHERE throwIf(seq IN (SELECT seq FROM fuse)) = 0"
    )
    loading.client.command("INSERT INTO fuse VALUES (50)")
    batch(loading.producer, 1, 100, 1)
    loading.wait(lambda: loader.said("trying again"), "the view's error")
    loader.kill()
    loading.kafka.kill()
    loading.client.command("TRUNCATE TABLE fuse")
    assert loading.client.command("SELECT count() FROM usage_raw") == 100
    assert loading.client.command("SELECT count() FROM fused") == 0
    loading.kafka.start()
    make_anew(loading.kafka.bootstrap_servers, PARTITIONS)
    loading.producer = loading.new_producer()
    loading.start(mirror=True)
    loading.wait(lambda: loading.client.command("SELECT count() FROM fused") == 100, "the view")
    batch(loading.producer, 101, 200, 2)
    loading.wait_loaded(200)
    loading.check_exact(200)
    kept = loading.client.query("SELECT value FROM mirror_positions FINAL").result_rows
    assert intents.decode(str(kept[0][0]).encode()).seq == 200

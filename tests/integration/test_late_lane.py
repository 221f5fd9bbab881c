"""The late lane on a real broker and a ClickHouse: what came too late is counted once, or not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from spendstream.schemas.records import LateUsage
from spendstream.schemas.topics import DAY_MS, USAGE_LATE, WORKSPACE_COMMANDS
from tests.integration.clickhouse_proxy import proxy
from tests.integration.loader_rig import Rig, late, priced, rig
from tests.integration.played_core import PlayedCore
from tests.servers.clickhouse import ClickHouseServer
from tests.servers.kafka import KafkaServer
from tests.support.clickhouse_proxy import Answer, Forward

pytestmark = [pytest.mark.kafka, pytest.mark.clickhouse, pytest.mark.xdist_group("loader")]

PlayCore = Callable[..., PlayedCore]


@pytest.fixture
def loading(
    broker: KafkaServer, clickhouse: ClickHouseServer, clickhouse_database: str, tmp_path: Path
) -> Iterator[Rig]:
    with rig(broker, clickhouse, clickhouse_database, tmp_path) as made:
        yield made


@pytest.fixture
def embedded(
    embedded_broker: KafkaServer,
    clickhouse: ClickHouseServer,
    clickhouse_database: str,
    tmp_path: Path,
) -> Iterator[Rig]:
    with rig(embedded_broker, clickhouse, clickhouse_database, tmp_path) as made:
        yield made


@pytest.fixture
def play() -> Iterator[PlayCore]:
    """Cores that end with the test."""
    cores: list[PlayedCore] = []

    def start(*arguments: Any, **options: Any) -> PlayedCore:
        cores.append(PlayedCore(*arguments, **options))
        return cores[-1]

    yield start
    for core in cores:
        core.stop()


def copy_of(
    seq: int, event_id: str, priced_seq: int, partition: int = 0, **other: Any
) -> LateUsage:
    """A late row of an event of the workspace `ws`."""
    event = priced(1).event.model_copy(update={"workspace_id": "ws"})
    fields = {"event_id": event_id, "priced_seq": priced_seq, "event": event, **other}
    return late(seq, partition).model_copy(update=fields)


def first_copy(seq: int, event_id: str, partition: int = 0, **other: Any) -> object:
    event = priced(1).event.model_copy(update={"workspace_id": "ws"})
    return priced(seq, partition, event_id=event_id, event=event, **other)


def kinds(core: PlayedCore) -> list[str]:
    return [command["kind"] for command in core.commands]


def copies(loading: Rig, event_id: str) -> int:
    return int(
        loading.client.query(
            "SELECT count() FROM usage_raw WHERE event_id = {id:String}",
            parameters={"id": event_id},
        ).result_rows[0][0]
    )


def twice_and_once_more(loading: Rig, core: PlayedCore) -> None:
    """Three copies of an event that nobody has counted, and one of an event that was."""
    loading.send([first_copy(seq, f"counted-{seq}") for seq in range(1, 21)])
    loading.send(
        [copy_of(1, "counted-7", 20), copy_of(2, "new", 20), copy_of(3, "new", 20)], USAGE_LATE
    )
    loader = loading.start(mirror=loading.kafka.kind == "tansu")
    loading.wait(lambda: core.resolved == 3, "the first three")
    assert kinds(core)[:2] == ["duplicate", "readmit"]
    loading.wait_loaded(21)
    loading.send([copy_of(4, "new", 21)], USAGE_LATE)
    loading.wait(lambda: core.resolved == 4, "one more")
    assert core.commands[-1] == {
        "kind": "duplicate", "late_seq": 4, "checked_seq": 21, "workspace_id": "ws",
        "event_id": "new",
    }  # fmt: skip
    assert set(core.keys) == {b"ws"}
    assert not core.gaps
    assert (copies(loading, "new"), copies(loading, "counted-7")) == (1, 1)
    assert loader.stop() == 0
    loading.check_exact(21)
    assert not loader.said("trying again")


def test_three_copies_of_a_late_event_are_counted_once(loading: Rig, play: PlayCore) -> None:
    twice_and_once_more(loading, play(loading, 20))


def test_the_same_on_the_embedded_broker(embedded: Rig, play: PlayCore) -> None:
    twice_and_once_more(embedded, play(embedded, 20))


def test_a_row_waits_until_what_was_priced_before_it_is_loaded(
    loading: Rig, play: PlayCore
) -> None:
    waiting, other = play(loading, 50), play(loading, 0, partition=1)
    loading.send([first_copy(seq, f"counted-{seq}") for seq in range(1, 41)])
    loading.send([copy_of(1, "counted-50", 50)], USAGE_LATE)
    loading.start()
    loading.wait_loaded(1, USAGE_LATE)
    for seq in (1, 2):  # partition 0 is looked at before partition 1, which gets on meanwhile
        loading.send([copy_of(seq, f"other-{seq}", 0, 1)], USAGE_LATE)
        loading.wait(lambda seq=seq: other.resolved == seq, "the other partition")  # type: ignore[misc]
    assert not waiting.commands
    loading.send([first_copy(seq, f"counted-{seq}") for seq in range(41, 51)])
    loading.wait(lambda: waiting.resolved == 1, "the row that waited")
    assert kinds(waiting) == ["duplicate"]


def test_a_worker_that_knows_no_late_lane_is_sent_nothing(loading: Rig, play: PlayCore) -> None:
    older, newer = play(loading, 0, takes_commands=False), play(loading, 0, partition=1)
    loading.send([copy_of(1, "old", 0)], USAGE_LATE)
    loading.start()
    loading.wait_loaded(1, USAGE_LATE)
    for seq in (1, 2, 3):
        loading.send([copy_of(seq, f"new-{seq}", 0, 1)], USAGE_LATE)
        loading.wait(lambda seq=seq: newer.resolved == seq, "the other partition")  # type: ignore[misc]
    assert not older.commands
    assert not sent(loading)


def test_ids_and_events_of_any_kind_pass_unchanged(loading: Rig, play: PlayCore) -> None:
    evil = ("'; DROP TABLE late; -- \\' {x:String}", '"}\u2028] FORMAT TSV', "\\", "\\N", "кошка")
    core = play(loading, len(evil))
    loading.send([first_copy(seq, event_id) for seq, event_id in enumerate(evil, 1)])
    event = '{ "workspace_id" : "ws",\n\t"metadata":{"a":[1, 2.50,1e3,"\\u00e9\u2028"]} }'
    loading.producer.begin_transaction()
    for seq, event_id in enumerate([*evil, *(f"{event_id} " for event_id in evil)], 1):
        row = copy_of(seq, event_id, len(evil), source=event_id)
        text = row.model_dump_json(exclude={"event"})[:-1] + f',"event":{event}}}'
        loading.producer.produce(USAGE_LATE, text.encode(), b"ws", 0)
    loading.producer.commit_transaction(30)
    loading.start()
    loading.wait(lambda: core.resolved == 2 * len(evil), "all of them")
    assert kinds(core) == ["duplicate"] * len(evil) + ["readmit"] * len(evil)
    for command, value, event_id in zip(core.commands, core.values, [*evil, *evil], strict=True):
        assert command["event_id"].rstrip(" ") == event_id
        if command["kind"] == "readmit":
            assert event.encode() in value
            assert command["source"] == command["event_id"]
            row = copy_of(command["late_seq"], "", 0)
            for name in ("topic", "offset", "arrival_ms", "time_ms"):
                assert command[name] == getattr(row, name), name


def many(loading: Rig, core: PlayedCore) -> int:
    """Late rows: each id three times, a third of the ids counted before. Returns how many ids."""
    loading.send([first_copy(seq, f"id-{seq * 3}") for seq in range(1, 501)])
    core.counted |= {("ws", f"id-{seq * 3}") for seq in range(1, 501)}
    ids = [f"id-{number}" for number in range(1, 1_501)]
    loading.send(
        [copy_of(seq, event_id, 500) for seq, event_id in enumerate([*ids, *ids[::-1], *ids], 1)],
        USAGE_LATE,
    )
    return len(ids)


def check_many(loading: Rig, core: PlayedCore, ids: int) -> None:
    assert not core.gaps
    loading.wait_loaded(ids)
    loading.check_exact(ids)
    loading.check_exact(3 * ids, USAGE_LATE)
    found = loading.client.query("SELECT count(), uniqExact(event_id) FROM usage_raw").result_rows
    assert found == [(ids, ids)]


def test_killed_whenever_it_has_sent_something(loading: Rig, play: PlayCore) -> None:
    core = play(loading, 500)
    ids = many(loading, core)
    loader = loading.start()
    for part in (1, 700, 2_100, 3_600):
        loading.wait(lambda part=part: len(core.commands) >= part, f"{part} commands")  # type: ignore[misc]
        loader.kill()
        loader = loading.start()
    loading.wait(lambda: core.resolved == 3 * ids, "all rows")
    check_many(loading, core, ids)


def test_killed_after_all_was_sent_and_before_any_of_it_was_taken(
    loading: Rig, play: PlayCore
) -> None:
    core = play(loading, 500)
    core.taking.clear()
    ids = many(loading, core)
    loader = loading.start()
    loading.wait(lambda: sent(loading) == 3 * ids, "the commands")
    loader.kill()
    loading.start()
    loading.wait(lambda: sent(loading) == 6 * ids, "the commands once more")
    core.taking.set()
    loading.wait(lambda: len(core.commands) == 6 * ids, "the worker")
    assert (core.resolved, core.repeats) == (3 * ids, 3 * ids)
    assert all(b - a == 1 for a, b in pairwise(late_seqs(core)[: 3 * ids]))
    check_many(loading, core, ids)


@pytest.mark.parametrize("table", ["late", "usage_ids"])
def test_killed_while_it_reads(loading: Rig, play: PlayCore, table: str) -> None:
    core = play(loading, 1)
    loading.send([first_copy(1, "counted")])
    loading.send([copy_of(1, "counted", 1), copy_of(2, "new", 1)], USAGE_LATE)
    with proxy(loading.clickhouse.url) as between:
        loader = loading.start(between.url)

        def kill(_: Forward) -> None:
            loader.kill()

        between.at_select(table, kill)
        assert between.tripped.wait(60)
        assert not core.commands
        loading.start(between.url)
        loading.wait(lambda: core.resolved == 2, "both rows")
    assert kinds(core) == ["duplicate", "readmit"]
    loading.wait_loaded(2)
    loading.check_exact(2)


def test_an_error_of_clickhouse_is_waited_for(loading: Rig, play: PlayCore) -> None:
    core = play(loading, 1)
    loading.send([first_copy(1, "counted")])
    loading.send([copy_of(1, "counted", 1)], USAGE_LATE)

    def fail(_: Forward) -> Answer:
        return Answer(500, [("X-ClickHouse-Exception-Code", "241")], b"Code: 241. (MEMORY_LIMIT)")

    with proxy(loading.clickhouse.url) as between:
        between.at_select("usage_ids", fail)
        loader = loading.start(between.url)
        loading.wait(lambda: core.resolved == 1, "the row")
    assert loader.said("MEMORY_LIMIT")
    assert kinds(core) == ["duplicate"]


def test_a_broker_that_dies_and_comes_back(
    kafka_server: Callable[[], KafkaServer],
    clickhouse: ClickHouseServer,
    clickhouse_database: str,
    tmp_path: Path,
    play: PlayCore,
) -> None:
    server = kafka_server()
    if server.kind == "tansu":
        pytest.skip("the embedded broker forgets everything when it dies")
    with rig(server, clickhouse, clickhouse_database, tmp_path) as loading:
        before = play(loading, 0)
        loader = loading.start()
        loading.send([copy_of(1, "first", 0)], USAGE_LATE)
        loading.wait(lambda: before.resolved == 1, "the first row")
        before.stop()
        server.kill()
        server.start()
        loading.producer = loading.new_producer()
        loading.send([copy_of(2, "first", 1), copy_of(3, "second", 1)], USAGE_LATE)
        after = play(loading, 1, before.counted, resolved=1)
        loading.wait(lambda: after.resolved == 3, "the rows from after it")
        loading.wait_loaded(2)
        loading.check_exact(2)
        assert loader.process.poll() is None


def test_clickhouse_that_was_restored_is_not_believed(loading: Rig, play: PlayCore) -> None:
    core = play(loading, 5, resolved=9)
    loading.send([first_copy(seq, f"counted-{seq}") for seq in range(1, 6)])
    loading.send([copy_of(seq, f"new-{seq}", 5) for seq in (1, 2, 3)], USAGE_LATE)
    loader = loading.start()
    loading.wait(lambda: loader.said("ClickHouse has only 3"), "the alarm")
    loading.send([copy_of(seq, f"new-{seq}", 5) for seq in range(4, 11)], USAGE_LATE)
    loading.wait(lambda: core.resolved == 10, "the row above the mark")
    assert late_seqs(core) == [10]


def test_nor_is_one_that_was_restored_under_a_running_loader(loading: Rig, play: PlayCore) -> None:
    core = play(loading, 20)
    loading.send([first_copy(seq, f"counted-{seq}") for seq in range(1, 11)])
    loader = loading.start()
    loading.wait_loaded(10)
    for table in ("usage_raw", "usage_ids", "positions"):
        loading.client.command(f"TRUNCATE TABLE {table}")
    loading.send([first_copy(seq, f"counted-{seq}") for seq in range(11, 21)])
    loading.send([copy_of(1, "counted-7", 20)], USAGE_LATE)
    loading.wait(lambda: loader.said("up to seq 20, ClickHouse has only 10 rows"), "the alarm")
    assert not core.commands


@pytest.mark.parametrize(("days", "kind"), [(36, "readmit"), (38, "duplicate")])
def test_ids_that_have_expired_are_looked_for_in_the_raw_rows(
    loading: Rig, play: PlayCore, days: int, kind: str
) -> None:
    moment = time.time_ns() // 1_000_000 - days * DAY_MS
    times = {"arrival_ms": moment, "time_ms": moment, "counted_ms": moment}
    loading.send([first_copy(1, "old", **times)])
    loading.start()
    loading.wait_loaded(1)
    loading.client.command("TRUNCATE TABLE usage_ids")
    core = play(loading, 1)
    loading.send([copy_of(1, "old", 1, arrival_ms=moment, time_ms=moment)], USAGE_LATE)
    loading.wait(lambda: core.resolved == 1, "the row")
    assert kinds(core) == [kind]


def late_seqs(core: PlayedCore) -> Sequence[int]:
    return [command["late_seq"] for command in core.commands]


def sent(loading: Rig) -> int:
    """Commands in the topic: they are not transactional, so each takes one offset."""
    reader = Consumer(
        {"bootstrap.servers": loading.kafka.bootstrap_servers, "group.id": "ends", "log_level": 2}
    )
    _, end = reader.get_watermark_offsets(TopicPartition(WORKSPACE_COMMANDS, 0), 10)
    reader.close()
    return int(end)
